//! Images, and stores founded anew from them.

use std::sync::Arc;

use bytes::Bytes;
use grid_types::{ErrorCode, ShardId, Timestamp};
use sys::{RealClock, RealRandom};

use super::fixture::{Folders, bucket, key, put_inline, put_segment, segment, version};
use crate::query::ListQuery;
use crate::root::{Expect, RecordKind, RecordWrite};
use crate::{Command, ImagePieces, MetaConfig, MetaError, MetaStore, Outcome, image_pieces};

type Images = Vec<(ShardId, Vec<Bytes>)>;

async fn images(meta: &MetaStore) -> Images {
    let mut images = Vec::new();
    for shard in meta.shards_to_back_up() {
        let mut image = meta.image(shard).await.unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = image.next_piece().await.unwrap() {
            pieces.push(piece);
        }
        assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), image.size());
        images.push((shard, pieces));
    }
    images
}

fn feed(images: Images) -> Vec<(ShardId, ImagePieces)> {
    let feed = |pieces: Vec<Bytes>| {
        let (sender, receiver) = image_pieces();
        tokio::spawn(async move {
            for piece in pieces {
                if sender.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        });
        receiver
    };
    images.into_iter().map(|(shard, pieces)| (shard, feed(pieces))).collect()
}

async fn restore(folders: &Folders, images: Vec<(ShardId, ImagePieces)>) -> Result<MetaStore, MetaError> {
    let config = MetaConfig::default();
    MetaStore::restore(folders.home(), config, Arc::new(RealClock), Arc::new(RealRandom), images).await
}

async fn keys(meta: &MetaStore, bucket: &crate::root::Bucket) -> Vec<String> {
    let query = ListQuery { limit: 100, ..Default::default() };
    let page = meta.list(bucket.id, query).await.unwrap();
    page.entries.iter().map(|entry| entry.text().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_founded_anew_from_images_goes_on() {
    let (old, new) = (Folders::new(1), Folders::new(2));
    let meta = old.found(MetaConfig::default()).await;
    let bucket = bucket(1, "one");
    meta.create_bucket(bucket.clone(), vec![9]).await.unwrap();
    let record = RecordWrite {
        kind: RecordKind::Setting,
        key: b"s".to_vec(),
        expect: Expect::Absent,
        value: Some(vec![1, 2]),
    };
    meta.write_records(vec![record]).await.unwrap();
    meta.commit(meta.new_op(), put_inline(&bucket, "a", 1, b"body")).await.unwrap();
    meta.commit(meta.new_op(), put_segment(&bucket, "b", 2, 100_000)).await.unwrap();
    let taken = images(&meta).await;
    meta.commit(meta.new_op(), put_inline(&bucket, "later", 3, b"lost")).await.unwrap();
    meta.shutdown().await;

    let meta = restore(&new, feed(taken)).await.unwrap();
    assert_eq!(keys(&meta, &bucket).await, ["a", "b"]);
    meta.commit(meta.new_op(), put_inline(&bucket, "c", 4, b"new")).await.unwrap();
    meta.shutdown().await;
    drop(meta);

    let meta = new.open(MetaConfig::default()).await;
    assert_eq!(keys(&meta, &bucket).await, ["a", "b", "c"]);
    assert_eq!(meta.bucket(&bucket.name).await.unwrap(), Some(bucket.clone()));
    assert_eq!(meta.record(RecordKind::Setting, b"s").await.unwrap().unwrap().value, [1, 2]);
    let row = meta.object(bucket.id, &key("a"), None).await.unwrap().unwrap();
    assert_eq!(row.inline.as_deref(), Some(b"body".as_slice()));
    let found = meta.find_segment(segment(2, 100_000, 1).id).await.unwrap().unwrap();
    assert_eq!(found.1, key("b"));
    meta.shutdown().await;
}

/// A grid of several nodes may be founded anew on any of them: its number votes, whoever voted before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_member_may_found_it_anew() {
    let (old, new) = (Folders::new(1), Folders::new(1));
    let meta = old.found(MetaConfig::default()).await;
    let bucket = bucket(1, "one");
    meta.create_bucket(bucket.clone(), vec![9]).await.unwrap();
    meta.commit(meta.new_op(), put_inline(&bucket, "a", 1, b"body")).await.unwrap();
    let taken = images(&meta).await;
    meta.shutdown().await;
    let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
    let (config, peers) = (MetaConfig::default(), crate::MetaPeers::lone(7));
    let meta = MetaStore::restore_as(
        peers.clone(),
        new.home(),
        config.clone(),
        clock.clone(),
        random.clone(),
        feed(taken),
    );
    let meta = meta.await.unwrap();
    assert_eq!(meta.root_voters(), (vec![7], Some(7)));
    meta.shutdown().await;
    drop(meta);
    let meta = MetaStore::open_among(new.home(), config, clock, random, peers).await.unwrap();
    meta.commit(meta.new_op(), put_inline(&bucket, "b", 2, b"new")).await.unwrap();
    assert_eq!(
        (keys(&meta, &bucket).await, meta.root_voters().0),
        (vec!["a".to_owned(), "b".to_owned()], vec![7])
    );
    meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_that_do_not_suffice_are_refused() {
    let old = Folders::new(1);
    let meta = old.found(MetaConfig::default()).await;
    meta.create_bucket(bucket(1, "one"), vec![9]).await.unwrap();
    let taken = images(&meta).await;
    meta.shutdown().await;

    let without = |shard: ShardId| taken.iter().filter(|(id, _)| *id != shard).cloned().collect::<Images>();
    for missing in [ShardId::ROOT, ShardId(1)] {
        let folders = Folders::new(1);
        let refused = restore(&folders, feed(without(missing))).await.err();
        assert!(matches!(refused, Some(MetaError::Damaged(_))), "without shard {missing}");
    }
    let mut torn = taken.clone();
    let half = torn[0].1.len() / 2;
    torn[0].1.truncate(half);
    torn[0].1.push(Bytes::from(vec![0; 10]));
    assert!(restore(&Folders::new(1), feed(torn)).await.is_err(), "half an image");
    let mut broken = feed(taken.clone());
    let (sender, receiver) = image_pieces();
    broken[0].1 = receiver;
    sender.send(Err(MetaError::Damaged("unreadable".to_owned()))).await.unwrap();
    assert!(restore(&Folders::new(1), broken).await.is_err(), "a backup that cannot be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_found_on_the_drives_never_beats_a_newer_one() {
    let folders = Folders::new(1);
    let meta = folders.found(MetaConfig::default()).await;
    let bucket = bucket(1, "one");
    meta.create_bucket(bucket.clone(), vec![9]).await.unwrap();
    let restored = async |number: u64, stamp: u64| {
        let version = crate::rows::VersionRow { stamp: Timestamp(stamp), ..version(number, 70_000) };
        let owner = grid_types::SegmentOwner { version: version.version, part: 1, number: 0 };
        let segments = vec![(owner, segment(number, 70_000, 1))];
        let command = Command::RestoreVersion { bucket: bucket.id, key: key("k"), version, segments };
        meta.commit(meta.new_op(), command).await.unwrap()
    };
    assert!(matches!(restored(1, 500).await, Outcome::Written { .. }));
    assert!(matches!(restored(2, 400).await, Outcome::Done), "older");
    assert!(matches!(restored(3, 500).await, Outcome::Done), "the same age");
    let Outcome::Written { version } = restored(4, 600).await else { panic!("newer") };
    assert_eq!(version.stamp, Timestamp(600), "its own time, not the commit's");
    meta.commit(meta.new_op(), put_inline(&bucket, "k", 5, b"now")).await.unwrap();
    assert!(matches!(restored(6, 700).await, Outcome::Done), "commits of today are newer");
    let unknown = Command::RestoreVersion {
        bucket: grid_types::BucketId::from_bytes([9; 16]),
        key: key("k"),
        version: super::fixture::version(7, 1),
        segments: Vec::new(),
    };
    let refused = meta.commit(meta.new_op(), unknown).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NoSuchBucket);
    meta.shutdown().await;
}

//! The new metadata: from a backup, or empty; then what the root bag knows beyond it.

use std::collections::BTreeMap;

use bytes::Bytes;
use grid_types::{BucketId, ErrorCode};
use keyring::{BucketKey, RootKeys, WrappedKey};
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{ImagePieces, MetaError, MetaPeers, MetaStore, image_pieces};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::located::located;
use super::{Rebuild, RebuildReport};
use crate::EngineError;
use crate::backup::{BackupList, BackupSet, RootBag, ShardCopy};
use crate::keys::record_key;
use crate::record;

/// Records in one write: far below the size limit of a command.
const RECORDS_BATCH: usize = 64;

/// Sets the old metadata aside and founds it anew: from the newest backup that can be read whole, else empty.
pub(super) async fn found_anew(
    parts: &Rebuild,
    bag: &RootBag,
    list: &BackupList,
    report: &mut RebuildReport,
) -> Result<MetaStore, EngineError> {
    set_aside(&parts.home, report).await?;
    for set in &list.sets {
        match restore(parts, bag, set).await {
            Ok(meta) => {
                report.backup = Some(set.stamp);
                return Ok(meta);
            }
            Err(error) => {
                let number = set.sequence;
                tracing::warn!(backup = number, %error, "a backup cannot be used");
                report.backups_refused.push(format!("backup {number}: {error}"));
                set_aside(&parts.home, report).await?;
            }
        }
    }
    let (home, config) = (parts.home.clone(), parts.meta_config.clone());
    let (clock, random, peers) = (parts.clock.clone(), parts.random.clone(), MetaPeers::lone(parts.number));
    Ok(MetaStore::found_among(home, config, clock, random, peers).await?)
}

/// Renames what is there to the first free `meta-set-aside-N`, on each drive.
pub(super) async fn set_aside(home: &[HomeDrive], report: &mut RebuildReport) -> Result<(), EngineError> {
    let moved = MetaStore::set_aside(home.to_vec()).await?;
    report.set_aside.extend(moved.into_iter().map(|(drive, to)| format!("drive {drive}: {to}")));
    Ok(())
}

async fn restore(parts: &Rebuild, bag: &RootBag, set: &BackupSet) -> Result<MetaStore, EngineError> {
    let keys = bucket_keys(&parts.root_keys, bag, set.bucket)?;
    let mut feeds = JoinSet::new();
    let mut images: Vec<(grid_types::ShardId, ImagePieces)> = Vec::new();
    for copy in &set.shards {
        let (sender, pieces) = image_pieces();
        images.push((copy.shard, pieces));
        let (copy, keys, chunks, segments) =
            (copy.clone(), keys.clone(), parts.chunks.clone(), parts.segments.clone());
        feeds.spawn(async move {
            if let Err(error) = feed(&copy, &keys, &chunks, &segments, &sender).await {
                // Nobody may be there to hear it: then the restore failed for another reason.
                let _ = sender.send(Err(MetaError::Damaged(error.to_string()))).await;
            }
        });
    }
    let (home, config) = (parts.home.clone(), parts.meta_config.clone());
    let (clock, random, peers) = (parts.clock.clone(), parts.random.clone(), MetaPeers::lone(parts.number));
    let meta = MetaStore::restore_as(peers, home, config, clock, random, images).await;
    feeds.shutdown().await;
    Ok(meta?)
}

async fn feed(
    copy: &ShardCopy,
    keys: &BTreeMap<u32, BucketKey>,
    chunks: &chunk_store::ChunkStore,
    segments: &segment_store::SegmentStore,
    pieces: &mpsc::Sender<Result<Bytes, MetaError>>,
) -> Result<(), EngineError> {
    let mut size = 0;
    for segment in &copy.segments {
        let key = keys.get(&segment.key_generation).ok_or_else(no_key)?;
        let segment = located(chunks, segment).await;
        let length = segment.length;
        let mut reader = segments.read(segment, key.clone(), 0..length);
        while let Some(piece) = reader.next().await {
            let piece = piece?;
            size += piece.len() as u64;
            if pieces.send(Ok(piece)).await.is_err() {
                return Ok(());
            }
        }
    }
    if size == copy.size { Ok(()) } else { Err(EngineError::damaged("an image in a backup")) }
}

fn no_key() -> EngineError {
    EngineError::refused(ErrorCode::KeyMissing, "the root bag has no key for the backup's bucket")
}

/// The keys of a bucket, by generation.
fn bucket_keys(
    root_keys: &RootKeys,
    bag: &RootBag,
    bucket: BucketId,
) -> Result<BTreeMap<u32, BucketKey>, EngineError> {
    let mut keys = BTreeMap::new();
    let wrapped = bag
        .records
        .iter()
        .filter(|record| record.kind == RecordKind::BucketKey && record.key.starts_with(bucket.as_bytes()));
    for record in wrapped {
        let wrapped: WrappedKey =
            record::decode(&record.value).ok_or_else(|| EngineError::damaged("a wrapped bucket key"))?;
        keys.insert(wrapped.generation, root_keys.unwrap(bucket, &wrapped)?);
    }
    if keys.is_empty() { Err(no_key()) } else { Ok(keys) }
}

/// Adds what the bag knows and the restored metadata does not. Records that both have are taken from the bag: it is
/// written within a minute of each change, a backup after 15.
pub(super) async fn apply_bag(
    meta: &MetaStore,
    bag: &RootBag,
    report: &mut RebuildReport,
) -> Result<(), EngineError> {
    for bucket in &bag.buckets {
        if meta.bucket(&bucket.name).await?.is_some() {
            continue;
        }
        let first = record_key(bucket.id, 1);
        let key =
            bag.records.iter().find(|record| record.kind == RecordKind::BucketKey && record.key == first);
        let Some(key) = key else {
            tracing::error!(bucket = %bucket.name, "the root bag has no key of this bucket; it is left out");
            continue;
        };
        meta.create_bucket(bucket.clone(), key.value.clone()).await?;
        report.buckets += 1;
    }
    let mut writes = Vec::new();
    for record in &bag.records {
        let known = meta.record(record.kind, &record.key).await?;
        if known.is_some_and(|known| known.value == record.value) {
            continue;
        }
        report.records += 1;
        writes.push(RecordWrite {
            kind: record.kind,
            key: record.key.clone(),
            expect: Expect::Any,
            value: Some(record.value.clone()),
        });
        if writes.len() >= RECORDS_BATCH {
            meta.write_records(std::mem::take(&mut writes)).await?;
        }
    }
    if !writes.is_empty() {
        meta.write_records(writes).await?;
    }
    Ok(())
}

//! What is sealed is sealed anew; records and files of root keys. Rotations of real nodes: tests/grid/test_keys.py.

use std::sync::Arc;

use grid_types::DriveId;
use keyring::{RootKey, RootKeys, SealedValue};
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaConfig, MetaStore};
use sys::{RealClock, RealDisk, RealRandom};

use super::reseal::{Pass, pass};
use super::state::{HOLDERS, Holder, KnownKey, ROTATION, Rotation, holder_key, setting};
use super::{note_held, put_beside};
use crate::founding::ROOT_KEY_FILE;
use crate::node::{AUTHORITY_LABEL, AUTHORITY_SETTING};

async fn metadata(folder: &std::path::Path) -> MetaStore {
    let home =
        vec![HomeDrive { id: DriveId::from_bytes([1; 16]), disk: Arc::new(RealDisk::open(folder).unwrap()) }];
    let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
    MetaStore::found(home, MetaConfig::default(), clock, random).await.unwrap()
}

fn keys() -> RootKeys {
    RootKeys::from(RootKey::generate(&RealRandom))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_seals_all_anew_and_says_what_it_cannot_open() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, keys) = (metadata(folder.path()).await, keys());
    let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
    let iam = iam::Iam::new(meta.clone(), keys.clone(), clock, random);
    let (key, secret) = iam.create("u", None).await.unwrap();
    let SealedValue(authority) = keys.seal_value(AUTHORITY_LABEL, b"authority", &RealRandom);
    let write = setting(AUTHORITY_SETTING, Expect::Absent, Some(authority));
    meta.write_records(vec![write]).await.unwrap();
    let look = async |write| pass(&meta, &keys, &RealRandom, write).await.unwrap();
    assert_eq!(look(true).await, Pass { records: 2, older: 0, stuck: 0 });

    keys.draw_next(1, &RealRandom).unwrap();
    assert_eq!(look(true).await.older, 0, "held, and not used");
    keys.seal_with(2);
    assert_eq!(look(false).await.older, 2);
    assert_eq!(look(true).await.older, 2, "looking changed nothing");
    assert_eq!(look(true).await, Pass { records: 2, older: 0, stuck: 0 });
    keys.forget_all_but(&[]);
    let again = iam::Iam::new(meta.clone(), keys.clone(), Arc::new(RealClock), Arc::new(RealRandom));
    assert_eq!(*again.lookup(&key.id).await.unwrap().1, secret);

    let damaged = RecordWrite {
        kind: RecordKind::AccessKey,
        key: b"damaged".to_vec(),
        expect: Expect::Absent,
        value: Some(vec![9; 40]),
    };
    meta.write_records(vec![damaged]).await.unwrap();
    assert_eq!(look(true).await, Pass { records: 3, older: 0, stuck: 1 });
    meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_from_a_backup_learns_of_keys_that_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, keys) = (metadata(folder.path()).await, keys());
    let rotation = async || {
        let record = meta.record(RecordKind::Setting, ROTATION).await.unwrap();
        record.map(|record| crate::records::decode::<Rotation>("root keys", &record.value).unwrap())
    };
    note_held(&meta, &keys, 4).await.unwrap();
    assert_eq!(rotation().await, None, "the first key needs no record");

    let holder = crate::records::encode(&Holder { generations: vec![1], sealing: 1, bag: 1 }).unwrap();
    let of_member = holder_key(grid_types::NodeId::from_bytes([7; 16]));
    meta.write_records(vec![setting(&of_member, Expect::Absent, Some(holder))]).await.unwrap();
    keys.draw_next(1, &RealRandom).unwrap();
    note_held(&meta, &keys, 5).await.unwrap();
    let noted = rotation().await.unwrap();
    assert_eq!((noted.active, noted.generations(), noted.resealed), (2, vec![1, 2], false));
    assert!(noted.keys.iter().all(|key| key.list_epoch == 5));
    assert_eq!(keys.generation(), 2);
    let holders = meta.records(RecordKind::Setting, Some(HOLDERS), 9).await.unwrap();
    assert!(!holders.iter().any(|record| record.key == of_member));
    meta.shutdown().await;
}

#[test]
fn one_key_at_a_time_is_handed_out() {
    let keys = keys();
    let mut rotation = Rotation::of(&keys, 1, 0);
    assert!(rotation.has_room());
    let next = |held: &RootKeys| KnownKey::of(&held.draw_next(0, &RealRandom).unwrap(), 1);
    rotation.hand_out(next(&keys));
    assert_eq!((rotation.newest(), rotation.active), (2, 1));
    // A second order meanwhile: the key that seals nothing yet gives way, its generation does not come back.
    rotation.hand_out(next(&keys));
    assert_eq!(rotation.generations(), [1, 3]);
    let rotation = rotation.with_newest_active();
    assert_eq!((rotation.active, rotation.resealed), (3, false));
    assert!(rotation.known(3).unwrap().is(&keys.get(3).unwrap()));
    assert!(!rotation.known(3).unwrap().is(&keys.get(2).unwrap()));
}

#[test]
fn a_drive_that_was_away_gets_the_newer_keys_and_keeps_those_of_another_grid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(ROOT_KEY_FILE);
    let keys = keys();
    put_beside(&keys, folder.path()).unwrap();
    keys.draw_next(1, &RealRandom).unwrap();
    put_beside(&keys, folder.path()).unwrap();
    assert_eq!(RootKeys::load(&file).unwrap().generations(), [1, 2]);
    let before = std::fs::read(&file).unwrap();
    assert!(put_beside(&self::keys(), folder.path()).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

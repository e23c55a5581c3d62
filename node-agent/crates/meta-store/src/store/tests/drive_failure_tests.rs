//! Drives that fail under the metadata: their mirrors are told, and without one to trust nothing is committed.

use std::sync::Arc;

use grid_types::{DriveId, ErrorCode};
use sys::{FaultDisk, RealClock, SeededRandom};

use super::fixture::{bucket, key, put_inline};
use crate::home::HomeDrive;
use crate::{MetaConfig, MetaStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_mirror_is_told_once_and_a_read_only_store_commits_nothing() {
    let disks: Vec<FaultDisk> = (0..2).map(FaultDisk::new).collect();
    let home = (1u8..)
        .zip(&disks)
        .map(|(number, disk)| HomeDrive {
            id: DriveId::from_bytes([number; 16]),
            disk: Arc::new(disk.clone()),
        })
        .collect();
    let random = Arc::new(SeededRandom::new(1));
    let store = MetaStore::found(home, MetaConfig::default(), Arc::new(RealClock), random).await.unwrap();
    let photos = bucket(9, "photos");
    store.create_bucket(photos.clone(), vec![1]).await.unwrap();
    assert!(store.take_failed_mirrors().is_empty());
    disks[0].fail_sync(1);
    store.commit(store.new_op(), put_inline(&photos, "a", 1, b"one")).await.unwrap();
    let failed = store.take_failed_mirrors();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, DriveId::from_bytes([1; 16]));
    assert!(store.take_failed_mirrors().is_empty());

    store.set_read_only(Some("every drive has failed".to_owned()));
    let refused = store.commit(store.new_op(), put_inline(&photos, "b", 2, b"two")).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(refused.to_string().contains("every drive has failed"), "{refused}");
    assert!(store.create_bucket(bucket(8, "more"), vec![1]).await.is_err());
    assert!(store.object(photos.id, &key("a"), None).await.unwrap().is_some());
    store.set_read_only(None);
    store.commit(store.new_op(), put_inline(&photos, "b", 2, b"two")).await.unwrap();
    store.shutdown().await;
}

//! Drives that fill up under the metadata: what grows is refused, deletes go on, no group dies, room comes back.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{DriveId, ErrorCode, ShardId};
use sys::{Disk, FaultDisk, RealClock, SeededRandom};

use super::fixture::{bucket, key, put_inline};
use crate::home::HomeDrive;
use crate::root::Bucket;
use crate::{Command, MetaConfig, MetaStore, WriteCondition};

const MIB: u64 = 1 << 20;

fn leave(disk: &FaultDisk, free: u64) {
    let space = disk.space().unwrap();
    disk.set_capacity(space.total - space.free + free);
}

fn delete(bucket: &Bucket, text: &str) -> Command {
    Command::DeleteVersion {
        bucket: bucket.id,
        key: key(text),
        bucket_generation: bucket.generation,
        version: None,
        condition: WriteCondition::None,
    }
}

async fn code(store: &MetaStore, command: Command) -> Option<ErrorCode> {
    store.commit(store.new_op(), command).await.err().map(|error| error.code())
}

/// Two looks are enough to see any change.
async fn look(config: &MetaConfig) {
    tokio::time::sleep(config.maintenance_period * 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_grows_and_takes_deletes() {
    let config = MetaConfig { maintenance_period: Duration::from_millis(10), ..Default::default() };
    let disks: Vec<FaultDisk> = (0..2).map(FaultDisk::new).collect();
    let home = (1u8..)
        .zip(&disks)
        .map(|(number, disk)| HomeDrive {
            id: DriveId::from_bytes([number; 16]),
            disk: Arc::new(disk.clone()),
        })
        .collect();
    let random = Arc::new(SeededRandom::new(1));
    let store = MetaStore::found(home, config.clone(), Arc::new(RealClock), random).await.unwrap();
    let photos = bucket(9, "photos");
    store.create_bucket(photos.clone(), vec![1]).await.unwrap();
    for number in 0..20 {
        assert_eq!(code(&store, put_inline(&photos, &format!("k{number}"), number, b"x")).await, None);
    }
    for (free, put, deletion) in [
        (100 * MIB, Some(ErrorCode::StorageFull), None),
        (10 * MIB, Some(ErrorCode::StorageFull), Some(ErrorCode::StorageFull)),
        (50 * MIB, Some(ErrorCode::StorageFull), None),
        (1 << 30, None, None),
    ] {
        // One mirror without room is enough.
        leave(&disks[1], free);
        look(&config).await;
        assert_eq!(code(&store, put_inline(&photos, "new", 100, b"x")).await, put, "{free} bytes free");
        assert_eq!(code(&store, delete(&photos, "k1")).await, deletion, "{free} bytes free");
        assert_eq!(store.full().is_some(), put.is_some());
        assert!(store.object(photos.id, &key("k2"), None).await.unwrap().is_some());
        assert_eq!(store.ready(), Ok(()), "reads go on");
    }
    let stats = store.stats();
    let of_shard = stats.shards.iter().find(|stats| stats.shard == ShardId(1)).unwrap();
    assert_eq!(of_shard.restarts, 0, "a group met the full disk");
    assert_eq!(store.usage(photos.id).await.unwrap().objects, 20);
    store.shutdown().await;
}

//! What a restart makes of files that are old, damaged or gone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fixture::{Folders, bucket, key, put_inline, runtime};
use crate::root::Bucket;
use crate::{MetaConfig, MetaStore};

fn sqlite(folders: &Folders, shard: u64) -> PathBuf {
    folders.dirs[0].path().join(format!("meta/sqlite/shard-{shard}.db"))
}

/// Numbers in one body: 2 KiB.
const BODY: usize = 256;

/// Snapshots and purging often.
fn eager() -> MetaConfig {
    MetaConfig {
        checkpoint_tail_bytes: 20 << 10,
        log_entries_kept: 10,
        maintenance_period: Duration::from_millis(20),
        ..MetaConfig::default()
    }
}

async fn put(store: &MetaStore, bucket: &Bucket, from: u64, to: u64) {
    for number in from..to {
        let body = number.to_le_bytes().repeat(BODY);
        store
            .commit(store.new_op(), put_inline(bucket, &format!("k{:03}", number % 150), number, &body))
            .await
            .unwrap();
    }
}

/// `count` versions were written to 150 keys in turn; the last one of each must be there.
async fn check(store: &MetaStore, bucket: &Bucket, count: u64) {
    for slot in 0..150u64.min(count) {
        let last = (count - 1 - slot) / 150 * 150 + slot;
        let row = store.object(bucket.id, &key(&format!("k{slot:03}")), None).await.unwrap().unwrap();
        assert_eq!(row.inline.unwrap(), last.to_le_bytes().repeat(BODY), "key {slot}");
    }
    assert_eq!(store.usage(bucket.id).await.unwrap().objects, 150.min(count));
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

/// Runs `work` and ends like a killed process: nothing is shut down.
fn run_and_kill<F: Future<Output = ()>>(work: F) {
    let runtime = runtime();
    runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(10));
}

#[test]
fn any_older_copy_of_the_file_without_its_wal_leads_to_the_same_state() {
    let folders = Folders::new(2);
    let photos = bucket(9, "photos");
    let copies = tempfile::tempdir().unwrap();
    let mut taken = 0;
    run_and_kill(async {
        let store = folders.found(eager()).await;
        store.create_bucket(photos.clone(), vec![1]).await.unwrap();
        for round in 0..6 {
            put(&store, &photos, round * 100, round * 100 + 100).await;
            // The main file alone, as a power cut may leave it: at its last checkpoint.
            copy(&sqlite(&folders, 1), &copies.path().join(format!("{taken}")));
            taken += 1;
            let (file, _) = store.inner.group(grid_types::ShardId(1)).unwrap().file().unwrap();
            tokio::task::spawn_blocking(move || file.checkpoint().unwrap()).await.unwrap();
            copy(&sqlite(&folders, 1), &copies.path().join(format!("{taken}")));
            taken += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let status = store.inner.log.group(grid_types::ShardId(1)).state();
        assert!(status.purged.is_some(), "the log must have been purged, or old copies prove little");
    });
    for number in 0..taken {
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", sqlite(&folders, 1).display()));
        }
        copy(&copies.path().join(format!("{number}")), &sqlite(&folders, 1));
        run_and_kill(async {
            let store = folders.open(MetaConfig::default()).await;
            check(&store, &photos, 600).await;
        });
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let folders = Folders::new(2);
    let photos = bucket(9, "photos");
    run_and_kill(async {
        let store = folders.found(eager()).await;
        store.create_bucket(photos.clone(), vec![1]).await.unwrap();
    });
    let mut count = 0;
    for round in 1..6 {
        run_and_kill(async {
            let store = folders.open(eager()).await;
            check(&store, &photos, count).await;
            put(&store, &photos, count, count + 37 * round).await;
        });
        count += 37 * round;
    }
    run_and_kill(async {
        check(&folders.open(eager()).await, &photos, count).await;
    });
}

#[test]
fn damaged_and_missing_files_are_rebuilt_from_snapshot_and_log() {
    let folders = Folders::new(2);
    let photos = bucket(9, "photos");
    run_and_kill(async {
        let store = folders.found(eager()).await;
        store.create_bucket(photos.clone(), vec![1]).await.unwrap();
        put(&store, &photos, 0, 400).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        put(&store, &photos, 400, 450).await;
        store.shutdown().await;
    });
    let damages: [fn(&Path); 5] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, b"this is no SQLite file").unwrap(),
        |path| std::fs::write(path, b"").unwrap(),
        |path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(20_480).unwrap();
        },
        |path| {
            // Every page but the first.
            let mut bytes = std::fs::read(path).unwrap();
            for page in bytes.chunks_mut(4_096).skip(1) {
                page[0] ^= 0x5a;
                page[100] ^= 0xff;
            }
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        for shard in [0, 1] {
            damage(&sqlite(&folders, shard));
            run_and_kill(async {
                let store = folders.open(MetaConfig::default()).await;
                assert_eq!(store.ready(), Ok(()), "damage {number} of shard {shard}");
                check(&store, &photos, 450).await;
                assert!(store.bucket(&photos.name).await.unwrap().is_some());
                store.shutdown().await;
            });
        }
    }
}

#[test]
fn damage_that_shows_while_reading_is_never_answered_and_is_mended() {
    let folders = Folders::new(1);
    let photos = bucket(9, "photos");
    run_and_kill(async {
        let store = folders.found(MetaConfig::default()).await;
        store.create_bucket(photos.clone(), vec![1]).await.unwrap();
        put(&store, &photos, 0, 150).await;
        store.shutdown().await;
    });
    // A flipped bit inside bodies: SQLite's own check does not see it.
    let path = sqlite(&folders, 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let body = 77u64.to_le_bytes().repeat(BODY);
    let places: Vec<usize> = bytes
        .windows(body.len())
        .enumerate()
        .filter(|(_, window)| *window == body)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at + 9] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    run_and_kill(async {
        let store = folders.open(MetaConfig::default()).await;
        check(&store, &photos, 150).await;
        assert_eq!(store.ready(), Ok(()));
        store.shutdown().await;
    });
}

#[test]
fn losing_either_drive_of_the_home_loses_nothing() {
    for lost in [0, 1, 2] {
        let folders = Folders::new(3);
        let photos = bucket(9, "photos");
        run_and_kill(async {
            let store = folders.found(eager()).await;
            store.create_bucket(photos.clone(), vec![1]).await.unwrap();
            put(&store, &photos, 0, 300).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            put(&store, &photos, 300, 320).await;
        });
        runtime().block_on(async {
            let mut home = folders.home();
            home.remove(lost);
            let store = MetaStore::open(
                home,
                MetaConfig::default(),
                std::sync::Arc::new(sys::RealClock),
                std::sync::Arc::new(sys::RealRandom),
            )
            .await
            .unwrap();
            check(&store, &photos, 320).await;
            store.shutdown().await;
        });
    }
}

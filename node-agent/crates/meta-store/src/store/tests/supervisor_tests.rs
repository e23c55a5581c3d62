//! Groups that die inside a live process.

use grid_types::ShardId;

use super::fixture::{Folders, bucket, key, put_inline};
use crate::MetaConfig;

const SHARD: ShardId = ShardId(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_dies_is_restarted_and_a_commit_under_way_is_retried() {
    let folders = Folders::new(1);
    let store = folders.found(MetaConfig::default()).await;
    let photos = bucket(9, "photos");
    store.create_bucket(photos.clone(), vec![1]).await.unwrap();
    store.commit(store.new_op(), put_inline(&photos, "a", 1, b"one")).await.unwrap();
    for round in 1..3u64 {
        // The next apply fails, which ends the group.
        let (file, _) = store.inner.group(SHARD).unwrap().file().unwrap();
        file.retire();
        let text = format!("b{round}");
        store.commit(store.new_op(), put_inline(&photos, &text, 1 + round, b"two")).await.unwrap();
        assert_eq!(store.ready(), Ok(()));
        let stats = store.stats();
        let of_shard = stats.shards.iter().find(|stats| stats.shard == SHARD).unwrap();
        assert_eq!((of_shard.serving, of_shard.restarts), (true, round));
        assert!(of_shard.file_bytes + of_shard.wal_bytes > 0 && of_shard.applied > 0);
    }
    for text in ["a", "b1", "b2"] {
        assert!(store.object(photos.id, &key(text), None).await.unwrap().is_some(), "{text}");
    }
    assert_eq!(store.usage(photos.id).await.unwrap().objects, 3, "a retry must not count twice");
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_rebuilt_is_not_ready_and_reads_wait_for_it() {
    let folders = Folders::new(1);
    let store = folders.found(MetaConfig::default()).await;
    let photos = bucket(9, "photos");
    store.create_bucket(photos.clone(), vec![1]).await.unwrap();
    for number in 0..20 {
        store.commit(store.new_op(), put_inline(&photos, &format!("k{number}"), number, b"x")).await.unwrap();
    }
    store.inner.group(SHARD).unwrap().report_damage("a test says so");
    assert!(store.ready().unwrap_err().contains("shard 1"), "a dead group must not look ready");
    for number in 0..20 {
        assert!(store.object(photos.id, &key(&format!("k{number}")), None).await.unwrap().is_some());
    }
    assert_eq!(store.ready(), Ok(()));
    store.shutdown().await;
    let refused = store.object(photos.id, &key("k1"), None).await;
    assert_eq!(refused.unwrap_err().code(), grid_types::ErrorCode::Unavailable);
}

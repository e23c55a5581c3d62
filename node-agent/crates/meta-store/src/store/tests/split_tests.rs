//! Splits under load, and cut short at every step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use grid_types::ShardId;

use super::fixture::{Folders, bucket, key, put_inline, put_segment, runtime};
use crate::query::{ListEntry, ListQuery};
use crate::root::Bucket;
use crate::{Command, MetaConfig, MetaStore};

fn small_shards() -> MetaConfig {
    MetaConfig {
        shard_bytes_max: 400 << 10,
        checkpoint_tail_bytes: 200 << 10,
        log_entries_kept: 10,
        maintenance_period: Duration::from_millis(50),
        ..MetaConfig::default()
    }
}

async fn list_all(store: &MetaStore, bucket: &Bucket) -> Vec<String> {
    let mut query = ListQuery { limit: 100, ..ListQuery::default() };
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = store.list(bucket.id, query.clone()).await.unwrap();
        all.extend(page.entries.iter().map(|entry| entry.text().to_owned()));
        if !page.truncated {
            return all;
        }
        query.after = all.last().cloned();
    }
}

#[test]
fn shards_split_while_clients_write_and_list() {
    let folders = Folders::new(1);
    runtime().block_on(async {
        let store = folders.found(small_shards()).await;
        let photos = bucket(9, "photos");
        store.create_bucket(photos.clone(), vec![1]).await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let mut writers = Vec::new();
        for writer in 0..4u64 {
            let (store, photos, written) = (store.clone(), photos.clone(), written.clone());
            writers.push(tokio::spawn(async move {
                for number in 0..250 {
                    let id = writer * 10_000 + number;
                    let text = format!("{:03}/{id}", (number * 7919) % 500);
                    let command = if number % 3 == 0 {
                        put_segment(&photos, &text, id, 1_000 + id)
                    } else {
                        put_inline(&photos, &text, id, &vec![b'x'; 700 + usize::try_from(id % 500).unwrap()])
                    };
                    store.commit(store.new_op(), command).await.unwrap();
                    written.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        let lister = {
            let (store, photos, done, written) =
                (store.clone(), photos.clone(), done.clone(), written.clone());
            tokio::spawn(async move {
                let mut rounds = 0;
                while !done.load(Ordering::SeqCst) {
                    let before = written.load(Ordering::SeqCst);
                    let all = list_all(&store, &photos).await;
                    assert!(all.len() as u64 >= before, "{} listed, {before} were written before", all.len());
                    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "a listing is out of order");
                    rounds += 1;
                }
                rounds
            })
        };
        for writer in writers {
            writer.await.unwrap();
        }
        // Splits go on until no shard is too large.
        tokio::time::timeout(Duration::from_secs(40), async {
            while store.shards().len() < 3 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the shards split");
        done.store(true, Ordering::SeqCst);
        assert!(lister.await.unwrap() > 0);
        check_all(&store, &photos, 1_000).await;
        store.shutdown().await;
        let store = folders.open(small_shards()).await;
        assert!(store.shards().len() >= 3);
        check_all(&store, &photos, 1_000).await;
        // The bucket's protocols reach every shard.
        let mut newer = photos.clone();
        newer = store.update_bucket(newer).await.unwrap();
        assert_eq!(newer.generation, 2);
        for text in ["000/x", "250/x", "499/x"] {
            store.commit(store.new_op(), put_inline(&newer, text, 777_000, b"x")).await.unwrap();
            let stale = store.commit(store.new_op(), put_inline(&photos, text, 777_001, b"x")).await;
            assert_eq!(stale.unwrap_err().code(), grid_types::ErrorCode::StaleGeneration);
        }
        assert_eq!(
            store.delete_bucket(&photos.name).await.unwrap_err().code(),
            grid_types::ErrorCode::BucketNotEmpty
        );
        store.commit(store.new_op(), put_inline(&newer, "499/y", 777_002, b"x")).await.unwrap();
        store.shutdown().await;
    });
}

/// Every listed object can be read, and counters agree.
async fn check_all(store: &MetaStore, bucket: &Bucket, count: u64) {
    let page = store.list(bucket.id, ListQuery { limit: 100_000, ..ListQuery::default() }).await.unwrap();
    assert_eq!(page.entries.len() as u64, count);
    let mut bytes = 0;
    for entry in &page.entries {
        let ListEntry::Object { key, version } = entry else { panic!("{entry:?}") };
        let row = store.object(bucket.id, key, None).await.unwrap().unwrap();
        assert_eq!(&row.version, version);
        match row.inline {
            Some(body) => assert_eq!(body.len() as u64, version.size),
            None => assert_eq!(row.segments[0].segment.length, version.size),
        }
        bytes += version.size;
    }
    let usage = store.usage(bucket.id).await.unwrap();
    assert_eq!((usage.objects, usage.bytes), (count, bytes));
}

#[test]
fn a_split_that_is_cut_short_at_any_step_is_finished_after_the_restart() {
    let config = MetaConfig::default();
    for cut in 0..9 {
        let folders = Folders::new(2);
        let photos = bucket(9, "photos");
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let first = runtime();
        let steps = first.block_on(async {
            let store = folders.found(config.clone()).await;
            store.create_bucket(photos.clone(), vec![1]).await.unwrap();
            for number in 0..300u64 {
                let text = format!("k{number:03}");
                store.commit(store.new_op(), put_inline(&photos, &text, number, b"one")).await.unwrap();
                model.insert(text, number);
            }
            let shard = store.shards()[0];
            assert!(store.inner.begin_split(shard).await.unwrap());
            let mut steps = Vec::new();
            for step in 0..cut {
                steps.push(store.inner.split_step(shard).await.unwrap());
                // Writes on both sides go on between the steps.
                for text in [format!("k{:03}", step * 3), format!("k{:03}", 299 - step * 3)] {
                    let number = 1_000 + step;
                    store.commit(store.new_op(), put_inline(&photos, &text, number, b"two")).await.unwrap();
                    model.insert(text, number);
                }
            }
            steps
        });
        first.shutdown_timeout(Duration::from_secs(10));
        runtime().block_on(async {
            let store = folders.open(config.clone()).await;
            let shard = store.shards()[0];
            while store.inner.split_step(shard).await.unwrap() != super::super::splitting::SplitStep::Idle {}
            assert_eq!(store.shards().len(), 2, "cut after {steps:?}");
            for (text, number) in &model {
                let row = store.object(photos.id, &key(text), None).await.unwrap().unwrap();
                assert_eq!(
                    row.version.version,
                    super::fixture::version(*number, 0).version,
                    "cut after {steps:?}"
                );
            }
            assert_eq!(list_all(&store, &photos).await, model.keys().cloned().collect::<Vec<_>>());
            assert_eq!(store.usage(photos.id).await.unwrap().objects, 300);
            let delete = Command::DeleteVersion {
                bucket: photos.id,
                key: key("k299"),
                bucket_generation: 1,
                version: None,
                condition: crate::WriteCondition::None,
            };
            store.commit(store.new_op(), delete).await.unwrap();
            assert_eq!(store.usage(photos.id).await.unwrap().objects, 299);
            store.shutdown().await;
        });
    }
}

#[test]
fn who_hands_over_late_finds_it_done_by_another_one() {
    let folders = Folders::new(1);
    runtime().block_on(async {
        let store = folders.found(MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        store.create_bucket(photos.clone(), vec![1]).await.unwrap();
        for number in 0..10u64 {
            let command = put_inline(&photos, &format!("{number:03}"), number, b"x");
            store.commit(store.new_op(), command).await.unwrap();
        }
        let (shard, inner) = (ShardId(1), &store.inner);
        assert!(inner.begin_split(shard).await.unwrap());
        let seen = inner.split_state(shard).await.unwrap().unwrap();
        assert_eq!(store.split_shard(shard).await.unwrap(), Some(seen.child));
        let late = tokio::time::timeout(Duration::from_secs(20), inner.hand_over(shard, &seen)).await;
        late.expect("it goes on for ever").unwrap();
        assert_eq!(store.shards().len(), 2);
        // Whatever waits for the map goes on.
        store.delete_bucket(&bucket(2, "videos").name).await.unwrap_err();
        store.shutdown().await;
    });
}

//! What a commit and a read cost on this machine: `cargo bench -p meta-store --bench commit [-- DIRECTORY]`.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{BucketId, DriveId, ObjectKey, Timestamp, VersionId};
use meta_store::home::HomeDrive;
use meta_store::query::ListQuery;
use meta_store::root::Bucket;
use meta_store::rows::VersionRow;
use meta_store::{Command, MetaConfig, MetaStore, WriteCondition};
use sys::{Clock, Random, RealClock, RealDisk, RealRandom};

/// Seconds of each load.
const RUN: Duration = Duration::from_secs(3);
/// Bytes of an inline body.
const BODY_BYTES: usize = 300;

fn put(bucket: &Bucket, key: String) -> Command {
    Command::PutVersion {
        bucket: bucket.id,
        key: ObjectKey::new(key).expect("a short key"),
        bucket_generation: 1,
        version: VersionRow {
            version: VersionId::from_bytes(RealRandom.id()),
            stamp: Timestamp(0),
            size: BODY_BYTES as u64,
            etag: "0123456789abcdef0123456789abcdef".to_owned(),
            storage_class: "STANDARD".to_owned(),
            key_generation: 1,
            attributes: vec![0; 60],
            checksum_tag: 0,
            part_count: 0,
            segment_count: 0,
            delete_marker: false,
        },
        inline: Some(vec![1; BODY_BYTES]),
        segments: Vec::new(),
        condition: WriteCondition::None,
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Runs `work` on so many tasks and prints rate and latencies.
async fn load<F, Fut>(name: &str, clients: usize, work: F)
where
    F: Fn(usize, u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let clock = RealClock;
    let begin = clock.since_boot();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let work = work.clone();
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            let mut number = 0;
            while clock.since_boot() - begin < RUN {
                let start = clock.since_boot();
                work(client, number).await;
                took.push(clock.since_boot() - start);
                number += 1;
            }
            took
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a client"));
    }
    let seconds = (clock.since_boot() - begin).as_secs_f64();
    all.sort_unstable();
    println!(
        "{name:<16} {clients:>3} clients {:>9.0}/s  p50 {:>8.1?}  p99 {:>8.1?}",
        all.len() as f64 / seconds,
        percentile(&all, 50),
        percentile(&all, 99)
    );
}

async fn run(directory: &std::path::Path) {
    let home = vec![HomeDrive {
        id: DriveId::from_bytes([1; 16]),
        disk: Arc::new(RealDisk::open(directory).expect("the directory")),
    }];
    let store =
        MetaStore::found(home.clone(), MetaConfig::default(), Arc::new(RealClock), Arc::new(RealRandom))
            .await
            .expect("founding");
    let bucket = Bucket {
        id: BucketId::from_bytes([5; 16]),
        name: "bench".parse().expect("a name"),
        created: RealClock.now(),
        owner: "bench".to_owned(),
        generation: 1,
        settings: Vec::new(),
    };
    store.create_bucket(bucket.clone(), vec![1]).await.expect("a bucket");
    for clients in [1, 8, 32, 128] {
        let (store, bucket) = (store.clone(), bucket.clone());
        load("commit", clients, move |client, number| {
            let (store, bucket) = (store.clone(), bucket.clone());
            async move {
                let command = put(&bucket, format!("{clients}/{client}/{number}"));
                store.commit(store.new_op(), command).await.expect("a commit");
            }
        })
        .await;
    }
    for clients in [1, 8, 32] {
        let (store, bucket) = (store.clone(), bucket.clone());
        load("object", clients, move |client, number| {
            let (store, bucket) = (store.clone(), bucket.clone());
            async move {
                let key = ObjectKey::new(format!("32/{}/{}", client % 32, number % 50)).expect("a key");
                store.object(bucket.id, &key, None).await.expect("a read").expect("an object");
            }
        })
        .await;
    }
    let (lister, id) = (store.clone(), bucket.id);
    load("list of 1,000", 1, move |_, _| {
        let store = lister.clone();
        async move {
            let page =
                store.list(id, ListQuery { limit: 1_000, ..ListQuery::default() }).await.expect("a list");
            assert_eq!(page.entries.len(), 1_000);
        }
    })
    .await;
    let clock = RealClock;
    let begin = clock.since_boot();
    store.shutdown().await;
    let stopped = clock.since_boot();
    let store = MetaStore::open(home, MetaConfig::default(), Arc::new(RealClock), Arc::new(RealRandom))
        .await
        .expect("opening");
    let opened = clock.since_boot();
    store
        .object(bucket.id, &ObjectKey::new("32/0/0").expect("a key"), None)
        .await
        .expect("a read")
        .expect("an object");
    println!("shutdown {:.1?}, open {:.1?}", stopped - begin, opened - stopped);
    store.shutdown().await;
}

fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match given {
        Some(directory) => runtime.block_on(run(directory.as_ref())),
        None => {
            let directory = tempfile::tempdir().expect("a temporary directory");
            runtime.block_on(run(directory.path()));
        }
    }
}

//! What a bucket of a million keys costs: memory while it grows, and listings at its start, middle and end.
//! `cargo bench -p meta-store --bench scale [-- KEYS [DIRECTORY]]`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grid_types::{
    BucketId, Cipher, Compression, DriveId, ObjectKey, Profile, Segment, SegmentId, SegmentOwner, Timestamp,
    VersionId,
};
use meta_store::home::HomeDrive;
use meta_store::query::ListQuery;
use meta_store::root::Bucket;
use meta_store::rows::VersionRow;
use meta_store::{Command, MetaConfig, MetaStore, WriteCondition};
use sys::{Clock, Random, RealClock, RealDisk, RealRandom};

const KEYS_DEFAULT: u64 = 1_000_000;
/// Commits under way at once: what fills Raft batches.
const CLIENTS: u64 = 256;
/// Keys of one folder: `f0123/k0000123456`.
const KEYS_PER_FOLDER: u64 = 1_000;
/// Lines of the table of memory.
const STEPS: u64 = 10;
/// A prime: every key is met once, whatever their number (below it).
const STRIDE: u64 = 2_654_435_761;
const LIST_ROUNDS: usize = 50;
const PAGE: usize = 1_000;

fn key(number: u64) -> String {
    format!("f{:05}/k{number:010}", number / KEYS_PER_FOLDER)
}

/// An object of one segment, as a plain PUT of 1 MiB leaves it.
fn put(bucket: &Bucket, number: u64) -> Command {
    let version = VersionId::from_bytes(RealRandom.id());
    let segment = SegmentId::from_bytes(RealRandom.id());
    let row = VersionRow {
        version,
        stamp: Timestamp(0),
        size: 1 << 20,
        etag: "0123456789abcdef0123456789abcdef".to_owned(),
        storage_class: "STANDARD".to_owned(),
        key_generation: 1,
        attributes: vec![0; 60],
        checksum_tag: 0,
        part_count: 0,
        segment_count: 1,
        delete_marker: false,
    };
    let segment = Segment {
        id: segment,
        seal_id: segment,
        length: 1 << 20,
        profile: Profile::Copies(1),
        cipher: Cipher::ChaCha20Poly1305,
        compression: Compression::None,
        key_generation: 1,
        block_packets: 2,
        drives: vec![Some(DriveId::from_bytes([1; 16]))],
    };
    Command::PutVersion {
        bucket: bucket.id,
        key: ObjectKey::new(key(number)).expect("a short key"),
        bucket_generation: 1,
        version: row,
        inline: None,
        segments: vec![(SegmentOwner { version, part: 1, number: 0 }, segment)],
        condition: WriteCondition::None,
    }
}

/// Resident memory, and that of it which is not a page of some file, in MiB.
fn memory_mib() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
    };
    (field("VmRSS:"), field("RssAnon:"))
}

/// Fills the bucket, a tenth a line.
async fn fill(store: &MetaStore, bucket: &Bucket, keys: u64) {
    println!(
        "| keys | commits/s | RSS MiB | of it anonymous | SQLite file MiB | shards |\n|---|---|---|---|---|---|"
    );
    let clock = RealClock;
    for step in 0..STEPS {
        let (from, to) = (keys * step / STEPS, keys * (step + 1) / STEPS);
        let next = Arc::new(AtomicU64::new(from));
        let begin = clock.since_boot();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let (store, bucket, next) = (store.clone(), bucket.clone(), next.clone());
            clients.spawn(async move {
                loop {
                    // Keys come in no order, as they do in life.
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= to {
                        return;
                    }
                    let number = number.wrapping_mul(STRIDE) % keys;
                    store.commit(store.new_op(), put(&bucket, number)).await.expect("a commit");
                }
            });
        }
        while let Some(client) = clients.join_next().await {
            client.expect("a client");
        }
        let rate = (to - from) as f64 / (clock.since_boot() - begin).as_secs_f64();
        let (resident, anonymous) = memory_mib();
        let stats = store.stats();
        let file: u64 = stats.shards.iter().map(|shard| shard.file_bytes).sum();
        println!(
            "| {to} | {rate:.0} | {resident} | {anonymous} | {} | {} |",
            file >> 20,
            stats.shards.len() - 1
        );
    }
}

async fn list(store: &MetaStore, bucket: &Bucket, what: &str, query: ListQuery) {
    let clock = RealClock;
    let mut took = Vec::new();
    let mut entries = 0;
    for _ in 0..LIST_ROUNDS {
        let begin = clock.since_boot();
        let page = store.list(bucket.id, query.clone()).await.expect("a list");
        took.push(clock.since_boot() - begin);
        entries = page.entries.len();
    }
    took.sort_unstable();
    let ms = |at: Duration| at.as_secs_f64() * 1e3;
    println!("| {what} | {entries} | {:.2} | {:.2} |", ms(took[LIST_ROUNDS / 2]), ms(took[LIST_ROUNDS - 1]));
}

async fn run(directory: &std::path::Path, keys: u64) {
    let home = vec![HomeDrive {
        id: DriveId::from_bytes([1; 16]),
        disk: Arc::new(RealDisk::open(directory).expect("the directory")),
    }];
    let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
    let config = MetaConfig::default();
    let store = MetaStore::found(home.clone(), config.clone(), clock.clone(), random.clone())
        .await
        .expect("founding");
    let bucket = Bucket {
        id: BucketId::from_bytes([5; 16]),
        name: "scale".parse().expect("a name"),
        created: RealClock.now(),
        owner: "bench".to_owned(),
        generation: 1,
        settings: Vec::new(),
    };
    store.create_bucket(bucket.clone(), vec![1]).await.expect("a bucket");
    let (resident, anonymous) = memory_mib();
    println!("empty: RSS {resident} MiB, of it anonymous {anonymous}");
    fill(&store, &bucket, keys).await;
    println!("\n| list | entries | p50 ms | worst of {LIST_ROUNDS} |\n|---|---|---|---|");
    let page = |after: Option<u64>| ListQuery { after: after.map(key), limit: PAGE, ..Default::default() };
    list(&store, &bucket, "first page", page(None)).await;
    list(&store, &bucket, "page in the middle", page(Some(keys / 2))).await;
    list(&store, &bucket, "last page", page(Some(keys.saturating_sub(PAGE as u64 + 1)))).await;
    let folder = format!("f{:05}/", keys / 2 / KEYS_PER_FOLDER);
    let prefix = ListQuery { prefix: folder, limit: PAGE, ..Default::default() };
    list(&store, &bucket, "prefix of one folder", prefix).await;
    let folders = ListQuery { delimiter: Some("/".to_owned()), limit: PAGE, ..Default::default() };
    list(&store, &bucket, "delimiter: the folders", folders).await;
    let (resident, anonymous) = memory_mib();
    println!("\nafter listing: RSS {resident} MiB, of it anonymous {anonymous}");
    store.shutdown().await;
    let begin = clock.since_boot();
    let store = MetaStore::open(home, config, clock.clone(), random).await.expect("opening");
    println!("opened again in {:.1?}", clock.since_boot() - begin);
    assert_eq!(store.usage(bucket.id).await.expect("a count").objects, keys);
    store.shutdown().await;
}

fn main() {
    let mut given = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let keys = given.next().map_or(KEYS_DEFAULT, |keys| keys.parse().expect("a number of keys"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match given.next() {
        Some(directory) => runtime.block_on(run(directory.as_ref(), keys)),
        None => {
            let directory = tempfile::tempdir().expect("a temporary directory");
            runtime.block_on(run(directory.path(), keys));
        }
    }
}

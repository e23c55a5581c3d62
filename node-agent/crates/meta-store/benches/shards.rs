//! What many shards cost while nothing happens: `just shards 100 3`.
//!
//! All nodes live in this process, joined by a network in memory: CPU and memory are divided by their number. What
//! TLS and HTTP/2 add is in docs/bench.md.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{BucketId, DriveId, NodeId, ObjectKey, ShardId, Timestamp, VersionId};
use meta_store::home::HomeDrive;
use meta_store::root::Bucket;
use meta_store::rows::VersionRow;
use meta_store::{Command, MetaConfig, MetaMember, MetaPeers, MetaStore, WriteCondition};
use rpc::Services;
use rpc::memory::MemoryNet;
use sys::{Clock, RealClock, RealDisk, RealRandom};

/// Keys that the shards share.
const KEYS: u64 = 2_000;
const QUIET: Duration = Duration::from_secs(15);

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|text| text.parse().ok()).collect();
    let (shards, nodes) = (numbers.first().copied().unwrap_or(100), numbers.get(1).copied().unwrap_or(3));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(shards, nodes));
}

async fn run(shards: u64, nodes: u64) {
    let net = MemoryNet::default();
    let mut stores = Vec::new();
    let mut folders = Vec::new();
    let members: Vec<MetaMember> = (1..=nodes)
        .map(|number| MetaMember::healthy(number, NodeId::from_bytes([number as u8; 16])))
        .collect();
    for number in 1..=nodes {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(RealDisk::open(folder.path()).expect("a disk"));
        let home = vec![HomeDrive { id: DriveId::from_bytes([number as u8; 16]), disk }];
        let services = Services::default();
        let network = net.join(members[number as usize - 1].node, services.clone());
        let known = members[..number as usize].to_vec();
        let peers = MetaPeers::new(number, network, known.clone());
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let store = if number == 1 {
            MetaStore::found_among(home, MetaConfig::default(), clock, random, peers).await
        } else {
            MetaStore::join(home, MetaConfig::default(), clock, random, peers).await
        };
        let store = store.expect("a store");
        store.serve(&services);
        stores.push(store);
        folders.push(folder);
        stores.iter().for_each(|store: &MetaStore| store.peers().set_members(known.clone()));
    }
    let store = &stores[0];
    let bucket = Bucket {
        id: BucketId::from_bytes([1; 16]),
        name: "many-shards".parse().expect("a name"),
        created: RealClock.now(),
        owner: "bench".to_owned(),
        generation: 1,
        settings: Vec::new(),
    };
    store.create_bucket(bucket.clone(), vec![1]).await.expect("a bucket");
    for number in 0..KEYS {
        store.commit(store.new_op(), put(&bucket, number)).await.expect("a commit");
    }
    let before = (rss(), store.shards().len() as u64);
    while (store.shards().len() as u64) < shards {
        for shard in store.shards() {
            if store.shards().len() as u64 >= shards {
                break;
            }
            let leader = stores.iter().find(|store| store.leads(shard));
            if let Some(leader) = leader {
                leader.split_shard(shard).await.expect("a split");
            }
        }
    }
    while stores.iter().any(|store| store.ready().is_err()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (begin, cpu) = (RealClock.since_boot(), cpu_seconds());
    tokio::time::sleep(QUIET).await;
    let busy = (cpu_seconds() - cpu) / (RealClock.since_boot() - begin).as_secs_f64() / nodes as f64;
    let each = (rss().saturating_sub(before.0)) / nodes / (store.shards().len() as u64 - before.1).max(1);
    println!("{} shards on {nodes} nodes", store.shards().len());
    println!("idle CPU per node        {:.2} % of a core", busy * 100.0);
    println!("resident per shard, node {} KiB", each >> 10);
    let leads = stores.iter().map(|one| store.shards().iter().filter(|shard| one.leads(**shard)).count());
    println!("led by node              {:?}", leads.collect::<Vec<_>>());
    let root: Vec<bool> = stores.iter().map(|store| store.leads(ShardId::ROOT)).collect();
    println!("root led by              {root:?}");
}

fn put(bucket: &Bucket, number: u64) -> Command {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Command::PutVersion {
        bucket: bucket.id,
        key: ObjectKey::new(format!("{number:08}")).expect("a key"),
        bucket_generation: bucket.generation,
        version: VersionRow {
            version: VersionId::from_bytes(id),
            stamp: Timestamp(0),
            size: 1,
            etag: format!("{number:032x}"),
            storage_class: "STANDARD".to_owned(),
            key_generation: 1,
            attributes: Vec::new(),
            checksum_tag: 0,
            part_count: 0,
            segment_count: 0,
            delete_marker: false,
        },
        inline: Some(vec![1]),
        segments: Vec::new(),
        condition: WriteCondition::None,
    }
}

fn rss() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<i64> = after.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // utime and stime: the 14th and 15th field, of which the first two and the state are no numbers here.
    fields.get(10..12).map_or(0.0, |times| times.iter().sum::<i64>() as f64 / 100.0)
}

//! Power cuts on simulated disks: nothing acknowledged is lost, whatever the cut leaves of what was not synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use grid_types::DriveId;
use parking_lot::Mutex;
use sys::{FaultDisk, Random, RealClock, SeededRandom};

use super::fixture::{bucket, key, put_inline, runtime};
use crate::home::HomeDrive;
use crate::{MetaConfig, MetaStore};

/// Seeds of one run; `SHOAL_SEEDS` asks for more.
const SEEDS: u64 = 25;

fn seeds() -> u64 {
    std::env::var("SHOAL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

fn home(disks: &[FaultDisk]) -> Vec<HomeDrive> {
    (1u8..)
        .zip(disks)
        .map(|(number, disk)| HomeDrive {
            id: DriveId::from_bytes([number; 16]),
            disk: Arc::new(disk.clone()),
        })
        .collect()
}

#[test]
fn acknowledged_commits_survive_power_cuts() {
    for seed in 0..seeds() {
        let random = Arc::new(SeededRandom::new(seed));
        let photos = bucket(9, "photos");
        let config = MetaConfig {
            log: crate::log::LogConfig { file_bytes: 64 << 10, ..crate::log::LogConfig::default() },
            checkpoint_tail_bytes: 4 << 10,
            log_entries_kept: 5,
            maintenance_period: std::time::Duration::from_millis(5),
            ..MetaConfig::default()
        };
        let mut disks: Vec<FaultDisk> =
            (0..1 + seed % 3).map(|number| FaultDisk::new(seed * 10 + number)).collect();
        // Key → last acknowledged number, and the one that was under way at the cut.
        let acknowledged: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
        let begun: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
        for life in 0..3 {
            let runtime = runtime();
            let cut = runtime.block_on(async {
                let store = if life == 0 {
                    let store =
                        MetaStore::found(home(&disks), config.clone(), Arc::new(RealClock), random.clone())
                            .await
                            .unwrap();
                    store.create_bucket(photos.clone(), vec![1]).await.unwrap();
                    store
                } else {
                    MetaStore::open(home(&disks), config.clone(), Arc::new(RealClock), random.clone())
                        .await
                        .unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"))
                };
                let found = check(&store, &photos, (snapshot(&acknowledged), snapshot(&begun)), seed).await;
                *acknowledged.lock() = found;
                begun.lock().clear();
                let mut clients = Vec::new();
                for client in 0..4u64 {
                    let (store, photos) = (store.clone(), photos.clone());
                    let (acknowledged, begun) = (acknowledged.clone(), begun.clone());
                    clients.push(tokio::spawn(async move {
                        for round in 0..200 {
                            let text = format!("{client}/{}", round % 7);
                            let number = life * 1_000_000 + client * 10_000 + round;
                            begun.lock().insert(text.clone(), number);
                            let command =
                                put_inline(&photos, &text, number, &number.to_le_bytes().repeat(20));
                            if store.commit(store.new_op(), command).await.is_ok() {
                                acknowledged.lock().insert(text, number);
                            }
                        }
                    }));
                }
                let after = 5 + random.below(60);
                tokio::time::sleep(std::time::Duration::from_millis(after)).await;
                let cut: Vec<FaultDisk> = disks.iter().map(FaultDisk::power_cut).collect();
                // What a client hears from here on was answered after the cut, or before it and not yet noted: wait
                // until nobody waits for a disk any more.
                for client in &clients {
                    client.abort();
                }
                for client in clients {
                    let _ = client.await;
                }
                cut
            });
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            disks = cut;
        }
        let runtime = runtime();
        runtime.block_on(async {
            let store = MetaStore::open(home(&disks), config.clone(), Arc::new(RealClock), random.clone())
                .await
                .unwrap();
            check(&store, &photos, (snapshot(&acknowledged), snapshot(&begun)), seed).await;
            store.shutdown().await;
        });
    }
}

fn snapshot(map: &Mutex<BTreeMap<String, u64>>) -> BTreeMap<String, u64> {
    map.lock().clone()
}

async fn check(
    store: &MetaStore,
    bucket: &crate::root::Bucket,
    (acknowledged, begun): (BTreeMap<String, u64>, BTreeMap<String, u64>),
    seed: u64,
) -> BTreeMap<String, u64> {
    let mut now = BTreeMap::new();
    for (text, number) in &acknowledged {
        let row = store.object(bucket.id, &key(text), None).await.unwrap();
        let row = row.unwrap_or_else(|| panic!("seed {seed}: {text} is lost"));
        let body = row.inline.unwrap();
        let found = u64::from_le_bytes(*body.first_chunk().unwrap());
        assert_eq!(body, found.to_le_bytes().repeat(20));
        let allowed = found == *number || begun.get(text).is_some_and(|begun| found == *begun);
        assert!(
            allowed,
            "seed {seed}: {text} has {found}, {number} was acknowledged, {:?} begun",
            begun.get(text)
        );
        now.insert(text.clone(), found);
    }
    now
}

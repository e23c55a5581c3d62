//! Power cuts and kills at random points: a snapshot that was finished, or that was found, stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use grid_types::{DriveId, ShardId};
use sys::{FaultDisk, MutantDisk, PowerSupply, Random, SeededRandom, SyncSite};

use super::SnapshotFiles;
use crate::home::HomeDrive;

const SEEDS: u64 = 1_000;
const GROUP: ShardId = ShardId(1);

/// Every sync call for snapshots. One that is new belongs here; one that no seed misses is not needed.
const SITES: [SyncSite; 5] = [
    SyncSite::File("snapshot: file"),
    SyncSite::Dir("snapshot: meta directory"),
    SyncSite::Dir("snapshot: name"),
    SyncSite::Dir("snapshot: reopened directory"),
    SyncSite::Dir("snapshot: root directory"),
];

fn chunk(index: u64, number: u64) -> Vec<u8> {
    [index, number].iter().flat_map(|n| n.to_le_bytes()).cycle().take(1_000).collect()
}

fn write(files: &SnapshotFiles, index: u64) -> bool {
    let attempt = || {
        let mut writer = files.begin(GROUP, index, Bytes::new())?;
        for number in 0..3 {
            writer.write(&chunk(index, number))?;
        }
        writer.finish()
    };
    attempt().is_ok()
}

/// One seed; a violation as an error.
fn run(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let random = SeededRandom::new(seed);
    let mut power = PowerSupply::new();
    let mut disks: Vec<FaultDisk> =
        (0..1 + random.below(2)).map(|n| FaultDisk::with_power(seed * 10 + n, &power)).collect();
    let (mut relied_on, mut index) = (0, 0);
    for boot in 0..6 {
        let last = boot == 5;
        if !last && random.below(3) > 0 {
            power.cut_after(1 + random.below(50));
        }
        let home = disks.iter().zip(1..).map(|(disk, number)| HomeDrive {
            id: DriveId::from_bytes([number; 16]),
            disk: Arc::new(mutant.over(Arc::new(disk.clone()))),
        });
        if let Ok(files) = SnapshotFiles::open(home.collect()) {
            match files.newest(GROUP) {
                _ if power.is_off() => {}
                Ok(newest) => {
                    let found = newest.as_ref().map_or(0, |info| info.index);
                    if found < relied_on {
                        return Err(format!("seed {seed}: snapshot {relied_on} is gone, {found} is left"));
                    }
                    relied_on = found;
                    if let Some(info) = newest {
                        let mut reader = files.read(&info).map_err(|error| error.to_string())?;
                        for number in 0..3 {
                            let found = reader.next_chunk().map_err(|error| error.to_string())?;
                            assert!(power.is_off() || found == Some(chunk(info.index, number).into()));
                        }
                    }
                }
                // Both of the newest may be unreadable only if none was ever finished.
                Err(error) if relied_on > 0 => return Err(format!("seed {seed}: {error}")),
                Err(_) => {}
            }
            for _ in 0..random.below(4) {
                index += 1;
                if write(&files, index) {
                    relied_on = index;
                }
            }
        }
        power.cut();
        let next = PowerSupply::new();
        let killed = random.below(2) == 0;
        for disk in &mut disks {
            *disk = if killed { disk.restarted(&next) } else { disk.power_cut_to(&next) };
        }
        power = next;
    }
    Ok(())
}

#[test]
fn finished_snapshots_stay() {
    for seed in 0..SEEDS {
        run(seed, &MutantDisk::new(Arc::new(FaultDisk::new(0)), None)).unwrap();
    }
}

#[test]
fn every_sync_matters() {
    let recorder = MutantDisk::new(Arc::new(FaultDisk::new(0)), None);
    (0..20).for_each(|seed| run(seed, &recorder).unwrap());
    assert_eq!(recorder.sites(), BTreeSet::from(SITES), "the list of sync sites is complete");
    for site in SITES {
        let missed = (0..SEEDS)
            .any(|seed| run(seed, &MutantDisk::new(Arc::new(FaultDisk::new(0)), Some(site))).is_err());
        assert!(missed, "no seed misses {site:?}");
    }
}

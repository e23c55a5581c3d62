//! Random work on a drive that loses its power or its process at random moments, and the proof that each sync matters.

use std::collections::BTreeMap;

use sys::{MutantDisk, PowerSupply, SyncSite};

use super::kill_disk::KillDisk;
use super::*;
use crate::core::site;

const SEEDS: u64 = 1_000;
/// Seeds that may be needed until one notices a missing sync.
const MUTANT_SEEDS: u64 = 200;
const BOOTS: usize = 4;
/// Every call that makes something durable.
const SITES: [SyncSite; 13] = [
    SyncSite::File(site::CHUNK_BYTES),
    SyncSite::File(site::LABEL),
    SyncSite::File(site::PROBE),
    SyncSite::File(site::PACK_BATCH),
    SyncSite::File(site::PACK_REOPEN),
    SyncSite::Dir(site::LAYOUT),
    SyncSite::Dir(site::LAYOUT_CHUNKS),
    SyncSite::Dir(site::CHUNK_NAME),
    SyncSite::Dir(site::CHUNK_DIRECTORY),
    SyncSite::Dir(site::CHUNK_REMOVAL),
    SyncSite::Dir(site::LABEL),
    SyncSite::Dir(site::PACK_NAME),
    SyncSite::Dir(site::PACK_REMOVAL),
];

/// What the next start may find of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Present,
    Absent,
    /// An operation on it failed or was cut: either, but whole.
    Either,
}

/// How a boot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Power,
    Kill,
    Clean,
}

struct Run {
    random: SeededRandom,
    fates: BTreeMap<ChunkKey, (Sample, Fate)>,
    next: u64,
    seed: u64,
}

impl Run {
    fn new_sample(&mut self) -> Sample {
        self.next += 1;
        let plain_len = match self.random.below(10) {
            0 | 1 => 4_200 + self.random.below(3_000),
            2 => 60_000 + self.random.below(80_000),
            _ => 1 + self.random.below(2_500),
        };
        Sample::copies(self.seed << 20 | self.next, plain_len)
    }

    /// Some known chunks.
    fn pick(&self, count: usize) -> Vec<Sample> {
        let known: Vec<Sample> = self.fates.values().map(|(sample, _)| *sample).collect();
        if known.is_empty() {
            return Vec::new();
        }
        (0..count).map(|_| known[self.random.below(known.len() as u64) as usize]).collect()
    }

    fn set(&mut self, sample: Sample, fate: Fate) {
        self.fates.insert(sample.key(), (sample, fate));
    }

    /// Works until the drive fails or enough is done.
    async fn work(&mut self, drive: &Drive) {
        for _ in 0..4 + self.random.below(10) {
            if drive.out_of_service().is_some() {
                return;
            }
            match self.random.below(8) {
                0..=3 => {
                    let samples: Vec<_> = (0..1 + self.random.below(6)).map(|_| self.new_sample()).collect();
                    let writes = samples.iter().map(|sample| sample.write(drive));
                    let results = futures_util::future::join_all(writes).await;
                    for (sample, result) in samples.into_iter().zip(results) {
                        self.set(sample, if result.is_ok() { Fate::Present } else { Fate::Either });
                    }
                }
                4 | 5 => {
                    let samples = self.pick(1 + self.random.below(8) as usize);
                    let result = drive.remove(samples.iter().map(Sample::key).collect()).await;
                    for sample in samples {
                        self.set(sample, if result.is_ok() { Fate::Absent } else { Fate::Either });
                    }
                }
                6 => {
                    let _ = drive.compact_once().await;
                }
                _ => {
                    // Begun and never finished; an older chunk of this name stays what it was.
                    let sample = self.new_sample();
                    let _ = sample.begin(drive).await;
                    self.set(sample, Fate::Absent);
                }
            }
        }
    }

    /// Compares the drive with what it promised.
    async fn check(&mut self, drive: &Drive, end: End) -> Result<(), String> {
        let mut there = Vec::new();
        for (key, (sample, fate)) in &mut self.fates {
            let found = sample.check(drive).await.map_err(|error| format!("{sample:?}: {error}"))?;
            let promised = match fate {
                Fate::Present => found,
                Fate::Absent => !found,
                Fate::Either => true,
            };
            if !promised {
                return Err(format!("{sample:?} should be {fate:?} after {end:?}"));
            }
            if found {
                there.push(*key);
            }
            // What a killed process left visible is settled in packs; of files it may go with the next power cut.
            if end == End::Power || sample.layout().chunk_payload_len() <= PACKED_MAX {
                *fate = if found { Fate::Present } else { Fate::Absent };
            }
        }
        let listed = drive.list(None, usize::MAX >> 1).await.map_err(|error| error.to_string())?;
        if listed == there {
            Ok(())
        } else {
            Err(format!("listed {} chunks, found {}", listed.len(), there.len()))
        }
    }
}

/// One history; an error when the drive broke a promise.
fn history(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let mut power = PowerSupply::new();
    let mut disk = FaultDisk::with_power(seed, &power);
    drive_label::create(&mutant.over(Arc::new(disk.clone())), &test_label(), false)
        .map_err(|e| e.to_string())?;
    let random = SeededRandom::new(seed);
    let mut run = Run { random, fates: BTreeMap::new(), next: 0, seed };
    let mut end = End::Clean;
    for _ in 0..BOOTS {
        let ended = end;
        end = match run.random.below(4) {
            0 => End::Kill,
            1 => End::Clean,
            _ => End::Power,
        };
        let mutated: Arc<dyn Disk> = Arc::new(mutant.over(Arc::new(disk.clone())));
        let kill_after = if end == End::Kill { 8 + run.random.below(120) } else { u64::MAX };
        let killable = Arc::new(KillDisk::new(mutated, kill_after));
        let config = DriveConfig { io_threads: 1, ..config() };
        match open_with(killable, config) {
            Ok(drive) => {
                let checked = runtime.block_on(run.check(&drive, ended));
                if end == End::Kill && drive.out_of_service().is_some() {
                    // Killed while it was checked; the next boot checks again.
                } else {
                    checked?;
                }
                if end == End::Power {
                    power.cut_after(1 + run.random.below(80));
                }
                runtime.block_on(run.work(&drive));
                drive.close();
            }
            Err(_) if end == End::Kill => {}
            Err(error) => return Err(format!("does not open after {ended:?}: {error}")),
        }
        if end == End::Power {
            let next = PowerSupply::new();
            disk = disk.power_cut_to(&next);
            power = next;
        }
    }
    let drive =
        open_with(Arc::new(mutant.over(Arc::new(disk.clone()))), config()).map_err(|e| e.to_string())?;
    runtime.block_on(run.check(&drive, end))?;
    // The last word has a power cut.
    drive.close();
    let drive =
        open_with(Arc::new(mutant.over(Arc::new(disk.power_cut()))), config()).map_err(|e| e.to_string())?;
    let checked = runtime.block_on(run.check(&drive, End::Power));
    drive.close();
    checked
}

/// A sync of a batch fails, the process starts anew without a power cut, and only then the power goes.
fn failed_sync_history(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let disk = FaultDisk::new(seed);
    drive_label::create(&disk, &test_label(), false).map_err(|error| error.to_string())?;
    let boot = |disk: &FaultDisk| open_with(Arc::new(mutant.over(Arc::new(disk.clone()))), config());
    let drive = boot(&disk).map_err(|error| error.to_string())?;
    let samples: Vec<_> = (0..4).map(|number| Sample::copies(seed << 8 | number, 800)).collect();
    let visible = runtime.block_on(async {
        for sample in &samples[..2] {
            sample.write(&drive).await.map_err(|error| error.to_string())?;
        }
        disk.fail_sync(1);
        let _ = futures_util::future::join(samples[2].write(&drive), samples[3].write(&drive)).await;
        drive.close();
        let drive = boot(&disk).map_err(|error| error.to_string())?;
        let mut visible = Vec::new();
        for sample in &samples {
            if sample.check(&drive).await.map_err(|error| error.to_string())? {
                visible.push(*sample);
            }
        }
        drive.close();
        Ok::<_, String>(visible)
    })?;
    let drive = boot(&disk.power_cut()).map_err(|error| error.to_string())?;
    for sample in &visible {
        if !runtime.block_on(sample.check(&drive)).map_err(|error| error.to_string())? {
            return Err(format!("{sample:?} was visible and is gone"));
        }
    }
    Ok(())
}

/// A probe must not call a drive healthy that cannot sync.
fn probe_history(mutant: &MutantDisk) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let disk = labelled(1);
    let drive =
        open_with(Arc::new(mutant.over(Arc::new(disk.clone()))), config()).map_err(|e| e.to_string())?;
    disk.fail_sync(1);
    if runtime.block_on(drive.probe()).is_ok() {
        Err("a failing sync was called healthy".to_owned())
    } else {
        Ok(())
    }
}

/// A drive that was made is still one after a power cut.
fn label_history(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let disk = FaultDisk::new(seed);
    drive_label::create(&mutant.over(Arc::new(disk.clone())), &test_label(), false)
        .map_err(|e| e.to_string())?;
    match drive_label::read(&disk.power_cut()) {
        Ok(Some(label)) if label == test_label() => Ok(()),
        other => Err(format!("the label is {other:?}")),
    }
}

/// What was removed and compacted away does not come back with a pack whose removal was not durable.
fn compaction_history(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let disk = labelled(seed);
    let boot = |disk: &FaultDisk| open_with(Arc::new(mutant.over(Arc::new(disk.clone()))), config());
    let drive = boot(&disk).map_err(|error| error.to_string())?;
    let samples: Vec<_> = (0..40).map(|number| Sample::copies(seed << 8 | number, 1_500)).collect();
    runtime
        .block_on(async {
            for sample in &samples {
                sample.write(&drive).await?;
            }
            for half in samples.chunks(20) {
                drive.remove(half.iter().map(Sample::key).collect()).await?;
                for filler in 0..12 {
                    Sample::copies(seed << 8 | 0x80 | filler, 1_500).write(&drive).await?;
                }
                while drive.compact_once().await? {}
            }
            Ok::<_, ChunkError>(())
        })
        .map_err(|error| error.to_string())?;
    drive.close();
    let drive = boot(&disk.power_cut()).map_err(|error| error.to_string())?;
    for sample in &samples {
        if runtime.block_on(sample.check(&drive)).map_err(|error| error.to_string())? {
            return Err(format!("{sample:?} came back"));
        }
    }
    Ok(())
}

/// A process is killed at any step of writing a first chunk file; the next one writes it again, and then the power goes.
fn directory_history(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    let disk = labelled(seed);
    let mutated = |disk: &FaultDisk| Arc::new(mutant.over(Arc::new(disk.clone())));
    let first = Sample::copies(seed, 5_000);
    let second = Sample { edition: 1, ..first };
    if let Ok(drive) = open_with(Arc::new(KillDisk::new(mutated(&disk), seed % 20)), config()) {
        let _ = runtime.block_on(first.write(&drive));
        drive.close();
    }
    let drive = open_with(mutated(&disk), config()).map_err(|error| error.to_string())?;
    runtime.block_on(second.write(&drive)).map_err(|error| error.to_string())?;
    drive.close();
    let drive = open_with(mutated(&disk.power_cut()), config()).map_err(|error| error.to_string())?;
    match runtime.block_on(second.check(&drive)) {
        Ok(true) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// All checks on one seed. A mutant may break something so badly that an assertion of a check itself fails.
fn every_check(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all_checks(seed, mutant)))
        .unwrap_or_else(|_| Err("an assertion failed".to_owned()))
}

fn all_checks(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    label_history(seed, mutant)?;
    probe_history(mutant)?;
    failed_sync_history(seed, mutant)?;
    directory_history(seed, mutant)?;
    compaction_history(seed, mutant)?;
    history(seed, mutant)
}

#[test]
fn whatever_happens_finished_chunks_stay_and_unfinished_ones_do_not_appear() {
    let mutant = MutantDisk::new(Arc::new(FaultDisk::new(0)), None);
    for seed in 0..SEEDS {
        if let Err(broken) = history(seed, &mutant) {
            panic!("seed {seed}: {broken}");
        }
    }
    for seed in 0..20 {
        every_check(seed, &mutant).unwrap();
    }
    assert_eq!(mutant.sites(), SITES.into_iter().collect());
}

#[test]
fn every_sync_matters() {
    for skipped in SITES {
        let mutant = MutantDisk::new(Arc::new(FaultDisk::new(0)), Some(skipped));
        let noticed = (0..MUTANT_SEEDS).find(|seed| every_check(*seed, &mutant).is_err());
        assert!(noticed.is_some(), "no seed of {MUTANT_SEEDS} notices that {skipped:?} is gone");
    }
}

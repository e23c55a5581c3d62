//! Random work, power cuts, kills, lost and rotten mirrors: after each, every group is where some prefix of what it was
//! asked leaves it, and no acknowledged call is missing from that prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use grid_types::ShardId;
use sys::{Disk, FaultDisk, MutantDisk, PowerSupply, Random, SeededRandom, SyncSite};

use super::log_tests::{drive, small};
use super::mirror_tests::mend_and_fill;
use super::{GroupLog, GroupLogState, LogConfig, LogEntry, LogError, SharedLog};
use crate::home::HomeDrive;

/// Seeds of the whole test.
const SEEDS: u64 = 1_000;
/// Seeds within which a deleted sync must show.
const MUTANT_SEEDS: u64 = 1_000;
const GROUPS: u64 = 3;

/// Every sync call of the log. One that is new belongs here; one that no seed misses is not needed.
const SITES: [SyncSite; 10] = [
    SyncSite::File("log: batch"),
    SyncSite::File("log: filled end of file"),
    SyncSite::File("log: filled file"),
    SyncSite::File("log: mended file"),
    SyncSite::File("log: mirror set"),
    SyncSite::File("log: reopened file"),
    SyncSite::Dir("log: meta directory"),
    SyncSite::Dir("log: mirror set"),
    SyncSite::Dir("log: new file"),
    SyncSite::Dir("log: root directory"),
];

/// One record's worth of what a group was asked.
#[derive(Debug, Clone)]
enum Asked {
    Entry(u64, Bytes),
    Vote(Bytes),
    Truncate(u64),
    Purge(u64, Bytes),
    Remove,
}

/// A group, as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Expected {
    purged: Option<(u64, Bytes)>,
    vote: Option<Bytes>,
    entries: BTreeMap<u64, Bytes>,
}

impl Expected {
    fn apply(&mut self, asked: &Asked) {
        match asked {
            Asked::Entry(index, payload) => drop(self.entries.insert(*index, payload.clone())),
            Asked::Vote(vote) => self.vote = Some(vote.clone()),
            Asked::Truncate(from) => drop(self.entries.split_off(from)),
            Asked::Purge(through, id) => {
                self.entries = self.entries.split_off(&(through + 1));
                self.purged = Some((*through, id.clone()));
            }
            Asked::Remove => *self = Self::default(),
        }
    }

    fn next_index(&self) -> u64 {
        let after_purged = self.purged.as_ref().map_or(0, |(index, _)| index + 1);
        self.entries.last_key_value().map_or(after_purged, |(index, _)| index + 1)
    }

    fn state(&self) -> GroupLogState {
        let last = self.entries.keys().last().copied().or(self.purged.as_ref().map(|(index, _)| *index));
        GroupLogState { purged: self.purged.clone(), last, vote: self.vote.clone() }
    }

    async fn is(&self, group: &GroupLog) -> Result<bool, LogError> {
        if group.state() != self.state() {
            return Ok(false);
        }
        let Some(first) = self.entries.keys().next() else { return Ok(true) };
        let found = group.read(*first..u64::MAX, u64::MAX).await?;
        Ok(found.into_iter().map(|entry| (entry.index, entry.payload)).eq(self.entries.clone()))
    }
}

/// A group's past: what is certain, and what was asked since.
#[derive(Default)]
struct Past {
    certain: Expected,
    asked: Vec<Asked>,
    /// So many of them were acknowledged.
    acknowledged: usize,
}

impl Past {
    fn now(&self) -> Expected {
        let mut now = self.certain.clone();
        self.asked.iter().for_each(|asked| now.apply(asked));
        now
    }

    /// Finds the prefix that the log holds, and takes it as certain.
    async fn settle(&mut self, group: &GroupLog) -> Result<(), String> {
        let mut state = self.certain.clone();
        for count in 0..=self.asked.len() {
            if count > 0 {
                state.apply(&self.asked[count - 1]);
            }
            if count >= self.acknowledged && state.is(group).await.map_err(|error| error.to_string())? {
                *self = Self { certain: state, asked: Vec::new(), acknowledged: 0 };
                return Ok(());
            }
        }
        Err(format!(
            "group {} is {:?}; of {} calls {} were acknowledged, which leaves {:?}",
            group.group(),
            group.state(),
            self.asked.len(),
            self.acknowledged,
            state.state(),
        ))
    }
}

/// What may happen to mirrors besides power cuts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hazards {
    None,
    /// The process is killed early, and the next one does little before the power goes.
    Kills,
    /// One is pulled, fails a sync, or rots; later another takes its place.
    Mirrors,
}

struct Machine {
    random: SeededRandom,
    mutant: MutantDisk,
    power: PowerSupply,
    disks: Vec<(u8, FaultDisk)>,
    groups: BTreeMap<ShardId, Past>,
    created: bool,
    counter: u64,
    hazards: Hazards,
}

impl Machine {
    fn new(seed: u64, hazards: Hazards, skipped: Option<SyncSite>) -> Self {
        let random = SeededRandom::new(seed);
        let power = PowerSupply::new();
        let count = match hazards {
            Hazards::None | Hazards::Kills => 1 + random.below(3),
            Hazards::Mirrors => 2 + random.below(2),
        };
        let disks = (0..u8::try_from(count).unwrap())
            .map(|number| (number, FaultDisk::with_power(seed * 10 + u64::from(number), &power)))
            .collect();
        Self {
            random,
            mutant: MutantDisk::new(Arc::new(FaultDisk::new(0)), skipped),
            power,
            disks,
            groups: BTreeMap::new(),
            created: false,
            counter: 0,
            hazards,
        }
    }

    fn one_in(&self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn home(&self) -> Vec<HomeDrive> {
        let home = |(number, disk): &(u8, FaultDisk)| {
            drive(*number, Arc::new(self.mutant.over(Arc::new(disk.clone()))))
        };
        self.disks.iter().map(home).collect()
    }

    /// Lives through a few boots.
    async fn live(&mut self) -> Result<(), String> {
        for boot in 0..2 + self.random.below(3) {
            let kill = match self.hazards {
                Hazards::Kills => boot % 2 == 0,
                _ => self.one_in(3),
            };
            match self.hazards {
                Hazards::Kills if kill => self.power.cut_after(1 + self.random.below(40)),
                Hazards::Kills => {}
                _ if self.one_in(8) => {}
                _ => self.power.cut_after(1 + self.random.below(120)),
            }
            self.boot(!kill).await?;
            self.go_down(kill);
        }
        self.boot(true).await
    }

    async fn boot(&mut self, idle: bool) -> Result<(), String> {
        let config = LogConfig {
            cache_bytes_max: self.random.below(4_096),
            files_spread_max: 1 + self.random.below(3),
            ..small()
        };
        let opened = if self.created {
            SharedLog::open(&self.home(), config.clone())
        } else {
            match SharedLog::exists(&self.home()) {
                Ok(true) => SharedLog::open(&self.home(), config.clone()),
                _ => SharedLog::create(&self.home(), config.clone(), &self.random),
            }
        };
        let log = match opened {
            Ok(log) => log,
            // The power went while it opened.
            Err(_) if self.power.is_off() => return Ok(()),
            Err(LogError::MirrorsMissing(_)) if self.hazards == Hazards::Mirrors => {
                // A mirror was pulled and the power went before the others could note it: it must be brought back.
                self.disks.iter().for_each(|(_, disk)| disk.plug());
                match SharedLog::open(&self.home(), config) {
                    Ok(log) => log,
                    Err(_) if self.power.is_off() => return Ok(()),
                    Err(error) => return Err(format!("with all drives back: {error}")),
                }
            }
            Err(error) => return Err(format!("it does not open: {error}")),
        };
        self.created = true;
        for (group, past) in &mut self.groups {
            match past.settle(&log.group(*group)).await {
                Err(_) if self.power.is_off() => return Ok(()),
                other => other?,
            }
        }
        // One mirror may fail or rot at a time: the next open, or `set_home`, makes up for it.
        let mut harmed = false;
        let calls = match self.hazards {
            Hazards::Kills if idle => 0,
            _ => self.random.below(60),
        };
        for _ in 0..calls {
            if self.one_in(10) && self.hazards == Hazards::Mirrors {
                self.mishap(&log, &mut harmed).await;
            }
            self.ask(&log).await;
            if self.power.is_off() || log.status().stopped.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// One call, waited for or not.
    async fn ask(&mut self, log: &SharedLog) {
        let id = ShardId(self.random.below(GROUPS));
        let group = log.group(id);
        let wait = !self.one_in(3);
        let now = self.groups.entry(id).or_default().now();
        let first = now.entries.keys().next().copied().unwrap_or(now.next_index());
        let span = now.next_index() - first + 1;
        let opaque = |counter: u64| Bytes::copy_from_slice(&counter.to_le_bytes());
        self.counter += 1;
        let (asked, call): (Vec<Asked>, futures_util::future::BoxFuture<'_, _>) = match self.random.below(20)
        {
            0..12 => {
                let entries: Vec<LogEntry> =
                    (0..1 + self.random.below(6)).map(|n| self.entry(now.next_index() + n)).collect();
                let asked = entries.iter().map(|entry| Asked::Entry(entry.index, entry.payload.clone()));
                (asked.collect(), group.append(entries).boxed())
            }
            12..15 => {
                let vote = opaque(self.counter);
                (vec![Asked::Vote(vote.clone())], group.save_vote(vote).boxed())
            }
            15..17 => {
                let from = now.next_index().saturating_sub(self.random.below(span.min(6)));
                (vec![Asked::Truncate(from)], group.truncate_from(from).boxed())
            }
            17..19 => {
                // Now and then a snapshot came, from beyond the end.
                let beyond = if self.one_in(6) { 5 } else { 0 };
                let through = first + self.random.below(span) + beyond;
                let id = opaque(self.counter);
                (vec![Asked::Purge(through, id.clone())], group.purge_through(through, id).boxed())
            }
            _ if self.one_in(3) => (vec![Asked::Remove], group.remove_group().boxed()),
            _ => return,
        };
        let past = self.groups.entry(id).or_default();
        past.asked.extend(asked);
        // A call polled once is queued; what becomes of it then does not depend on who waits.
        let result = if wait { Some(call.await) } else { call.now_or_never() };
        if let Some(Ok(())) = result {
            past.acknowledged = past.asked.len();
        }
    }

    fn entry(&mut self, index: u64) -> LogEntry {
        self.counter += 1;
        let len = match self.random.below(10) {
            0 => 0,
            1 => self.random.below(2_500),
            _ => self.random.below(300),
        };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.random.fill(&mut payload);
        payload.extend_from_slice(&self.counter.to_le_bytes());
        LogEntry { index, payload: payload.into() }
    }

    /// Something happens to one mirror while the log runs.
    async fn mishap(&mut self, log: &SharedLog, harmed: &mut bool) {
        let mirrors = log.mirrors();
        let pick = usize::try_from(self.random.below(self.disks.len() as u64)).unwrap();
        let (number, disk) = &self.disks[pick];
        let in_service = mirrors.iter().any(|mirror| mirror.id == drive(*number, Arc::new(disk.clone())).id);
        let may_harm = in_service && mirrors.len() > 1 && !*harmed;
        let harm = self.random.below(5);
        *harmed |= may_harm && harm < 3;
        match harm {
            0 if may_harm => disk.pull(),
            1 if may_harm => disk.fail_sync(1 + self.random.below(3)),
            2 if may_harm => self.rot(pick, &mirrors),
            _ => {
                if !in_service {
                    // A dropped mirror comes back empty or as it was, under its own name or a new one.
                    disk.plug();
                    if self.one_in(2) {
                        let number = number + 10;
                        let fresh = FaultDisk::with_power(u64::from(number), &self.power);
                        self.disks[pick] = (number, fresh);
                    }
                }
                // It may fail, when the power goes or a drive is out.
                let _ = log.set_home(self.home()).await;
            }
        }
    }

    /// Flips a bit in one log file of one mirror, where another mirror in service holds the same byte: rot in the only
    /// copy (of a file that the others do not have yet) is more than one harm.
    fn rot(&self, pick: usize, mirrors: &[HomeDrive]) {
        let (_, disk) = &self.disks[pick];
        let Ok(entries) = disk.list("meta/log") else { return };
        let logs: Vec<_> = entries.into_iter().filter(|entry| entry.name.ends_with(".log")).collect();
        if logs.is_empty() {
            return;
        }
        let file = &logs[usize::try_from(self.random.below(logs.len() as u64)).unwrap()];
        let offset = self.random.below(file.len.max(1));
        let path = format!("meta/log/{}", file.name);
        let byte = |disk: &FaultDisk| {
            let mut byte = [0];
            disk.open_read(&path).ok()?.read_exact_at(offset, &mut byte).ok().map(|()| byte)
        };
        let own = byte(disk);
        let elsewhere = self.disks.iter().enumerate().any(|(other, (number, disk))| {
            let id = drive(*number, Arc::new(disk.clone())).id;
            other != pick && mirrors.iter().any(|mirror| mirror.id == id) && byte(disk) == own
        });
        if own.is_none() || !elsewhere {
            return;
        }
        // The log's own thread may have purged the file since: then there is nothing left to harm.
        if let Err(error) = disk.corrupt(&path, offset, 1 << self.random.below(8)) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }

    /// The power goes, or the process is killed.
    fn go_down(&mut self, killed: bool) {
        self.power.cut();
        let next = PowerSupply::new();
        for (_, disk) in &mut self.disks {
            disk.fail_sync(0);
            *disk = if killed { disk.restarted(&next) } else { disk.power_cut_to(&next) };
        }
        self.power = next;
    }
}

/// Runs one seed; a violation as an error. Returns the sync sites it passed.
fn run(seed: u64, hazards: Hazards, skipped: Option<SyncSite>) -> Result<BTreeSet<SyncSite>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut machine = Machine::new(seed, hazards, skipped);
    runtime.block_on(machine.live()).map_err(|error| format!("seed {seed}: {error}"))?;
    Ok(machine.mutant.sites())
}

/// As `run`, with mirrors that are mended, filled and then left alone.
fn run_mend_and_fill(seed: u64, skipped: Option<SyncSite>) -> Result<BTreeSet<SyncSite>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mutant = MutantDisk::new(Arc::new(FaultDisk::new(0)), skipped);
    runtime.block_on(mend_and_fill(seed, &mutant))?;
    Ok(mutant.sites())
}

#[test]
fn power_cuts_and_kills_lose_nothing_that_was_acknowledged() {
    for seed in 0..SEEDS {
        run(seed, if seed % 4 == 0 { Hazards::Kills } else { Hazards::None }, None).unwrap();
    }
}

#[test]
fn failing_mirrors_lose_nothing_either() {
    for seed in 0..SEEDS {
        run(seed, Hazards::Mirrors, None).unwrap();
    }
}

#[test]
fn every_sync_matters() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        for hazards in [Hazards::None, Hazards::Kills, Hazards::Mirrors] {
            seen.extend(run(seed, hazards, None).unwrap());
        }
        seen.extend(run_mend_and_fill(seed, None).unwrap());
    }
    assert_eq!(seen, BTreeSet::from(SITES), "the list of sync sites is complete");
    for site in SITES {
        let missed = (0..MUTANT_SEEDS).find(|seed| {
            let lived = [Hazards::None, Hazards::Kills, Hazards::Mirrors]
                .map(|hazards| run(*seed, hazards, Some(site)));
            lived.iter().any(Result::is_err) || run_mend_and_fill(*seed, Some(site)).is_err()
        });
        assert!(missed.is_some(), "no seed misses {site:?}");
    }
}

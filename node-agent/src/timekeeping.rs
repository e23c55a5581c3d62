//! The time of this node: which clock the process goes by, who vouches for it, and the floor on the drives.
//!
//! Invariant: with `source = "proven"` nothing in the process but log lines and certificates goes by the clock of the host.

use std::io::ErrorKind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chunk_store::{ChunkStore, Drive};
use grid_types::{NodeId, Timestamp};
use membership::{
    Electorate, FLOOR_EARLIEST, KeeperStart, OperatorTime, TimeConfig, TimeKeeper, TimeRefusal, TimeStatus,
    read_floor, write_floor,
};
use meta_store::MetaStore;
use sys::{Clock, Disk, Random, Reading, SteeredClock, TimeTrust};
use tokio::task::JoinHandle;

use crate::config::{ClockSection, ClockSource};
use crate::drives::OurDrive;
use crate::grid::GridLink;

/// Between two writes of the floor: what a start may be behind the end of the run before, by the clock of an unproven node. A
/// write is two syncs of a drive.
const FLOOR_EVERY: Duration = Duration::from_secs(600);

/// The clock of the process before anybody was asked.
pub struct Timepiece {
    base: Arc<dyn Clock>,
    steered: Option<Arc<SteeredClock>>,
    config: TimeConfig,
    floor: Option<Timestamp>,
}

impl Timepiece {
    /// Over the clock of the host; takes the latest floor that any drive has.
    pub async fn read(
        config: &ClockSection,
        base: Arc<dyn Clock>,
        drives: &[OurDrive],
    ) -> Result<Self, tokio::task::JoinError> {
        let host = config.source == ClockSource::Host;
        let disks: Vec<_> = drives.iter().map(|drive| (drive.path.clone(), drive.disk.clone())).collect();
        let read = move || {
            disks
                .iter()
                .filter_map(|(path, disk)| {
                    read_floor(&**disk).unwrap_or_else(|error| {
                        tracing::warn!(path = %path.display(), %error, "a time floor counts as none");
                        None
                    })
                })
                .max()
        };
        let floor = if host { None } else { tokio::task::spawn_blocking(read).await? };
        let begin = floor.unwrap_or_default().max(FLOOR_EARLIEST);
        let steered = (!host).then(|| Arc::new(SteeredClock::new(base.clone(), begin)));
        let config = TimeConfig { host, ntp: config.ntp.clone(), rtc: config.rtc.clone() };
        Ok(Self { base, steered, config, floor })
    }

    /// What the process goes by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        match &self.steered {
            Some(steered) => steered.clone(),
            None => self.base.clone(),
        }
    }

    /// Begins to ask and to answer; nobody votes until `follow`.
    pub fn start(self, me: NodeId, link: &Arc<GridLink>, random: Arc<dyn Random>) -> Timekeeping {
        let clock = self.clock();
        let meta: Arc<OnceLock<MetaStore>> = Arc::default();
        let (known, followed) = (link.members().clone(), meta.clone());
        let electorate = move || {
            let Some(list) = known.list() else { return Electorate::default() };
            let numbers = followed.get().map(|meta| meta.root_voters().0).unwrap_or_default();
            let members = || list.list().current();
            Electorate {
                voters: members().filter(|one| numbers.contains(&one.number)).map(|one| one.node).collect(),
                members: members().map(|one| one.node).collect(),
            }
        };
        let keeper = TimeKeeper::start(KeeperStart {
            me,
            config: self.config,
            base: self.base,
            steered: self.steered,
            floor: self.floor,
            network: link.network(),
            services: link.services().clone(),
            random,
            electorate: Arc::new(electorate),
        });
        Timekeeping { keeper: Arc::new(keeper), clock, meta, saving: OnceLock::new() }
    }
}

/// The running part.
pub struct Timekeeping {
    keeper: Arc<TimeKeeper>,
    clock: Arc<dyn Clock>,
    meta: Arc<OnceLock<MetaStore>>,
    saving: OnceLock<JoinHandle<()>>,
}

impl Timekeeping {
    /// From now on voters of the root shard count, and drives keep the floor.
    pub fn follow(&self, meta: MetaStore, store: ChunkStore) {
        // Called once, by the start.
        let _ = self.meta.set(meta);
        if self.floor().is_some() {
            let task = tokio::spawn(save_floors(self.keeper.clone(), self.clock.clone(), store));
            let _ = self.saving.set(task);
        }
    }

    /// What is known of the time.
    pub fn status(&self) -> Arc<TimeStatus> {
        self.keeper.status()
    }

    /// What the clock of the process shows.
    pub fn reading(&self) -> Reading {
        self.clock.reading()
    }

    /// The time before which it cannot be; `None` where the clock of the host counts as proven.
    pub fn floor(&self) -> Option<Timestamp> {
        let status = self.status();
        (status.source != membership::TimeSource::Host).then(|| status.floor(self.clock.since_boot()))
    }

    /// An operator vouches for a time.
    pub async fn set(&self, order: OperatorTime) -> Result<(), TimeRefusal> {
        self.keeper.set(order).await
    }

    /// Nobody is asked or answered any more; the drives keep the floor of now.
    pub async fn stop(&self, store: &ChunkStore) {
        self.keeper.stop();
        if let Some(task) = self.saving.get() {
            task.abort();
            save(self.status().floor(self.clock.since_boot()), store.drives()).await;
        }
    }
}

/// Saves now and then, and at once when the time becomes proven or the floor is lowered: what is known then is worth most.
async fn save_floors(keeper: Arc<TimeKeeper>, clock: Arc<dyn Clock>, store: ChunkStore) {
    let mut changed = keeper.changed();
    loop {
        let saved = keeper.status();
        let floor = saved.floor(clock.since_boot());
        save(floor, store.drives()).await;
        let news = |status: &Arc<TimeStatus>| {
            let proven = status.source.trust() == TimeTrust::Proven;
            proven && status.source.word() != saved.source.word() || status.floor(clock.since_boot()) < floor
        };
        // The keeper ends with the node, and this task before it.
        let _ = tokio::time::timeout(FLOOR_EVERY, changed.wait_for(news)).await;
    }
}

async fn save(floor: Timestamp, drives: Vec<Drive>) {
    let writing: Vec<_> = drives
        .into_iter()
        .map(|drive| {
            tokio::task::spawn_blocking(move || {
                let disk: Arc<dyn Disk> = drive.disk();
                match write_floor(&*disk, floor) {
                    Ok(()) => {}
                    // A full drive serves on; its older floor is as true.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
                    {
                        tracing::warn!(drive = %drive.id(), %error, "the time floor on a drive stays as it was");
                    }
                    Err(error) => drive.take_out_of_service(&format!("writing the time floor: {error}")),
                }
            })
        })
        .collect();
    for task in writing {
        // A panic in there was logged; the drive then carries the older floor, which is as true.
        let _ = task.await;
    }
}

#[cfg(test)]
mod tests {
    use chunk_store::{DriveConfig, DriveLabel, label};
    use grid_types::{DriveId, GridId};
    use sys::{FaultDisk, RealClock};

    use super::*;

    fn drive(number: u8) -> (FaultDisk, Drive) {
        let disk = FaultDisk::new(u64::from(number));
        let (grid, node) = (GridId::from_bytes([9; 16]), NodeId::from_bytes([8; 16]));
        let id = DriveId::from_bytes([number; 16]);
        let new = DriveLabel { grid, node, drive: id, generation: 1, created: Timestamp(0) };
        label::create(&disk, &new, false).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let open = Drive::open(shared, Arc::new(RealClock), DriveConfig::default()).unwrap();
        (disk, open)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_drive_keeps_its_older_floor_and_serves_on_and_one_that_fails_does_not() {
        let (full, open) = drive(1);
        save(Timestamp(1_000), vec![open.clone()]).await;
        full.set_capacity(1);
        save(Timestamp(2_000), vec![open.clone()]).await;
        assert_eq!(open.out_of_service(), None);
        assert_eq!(read_floor(&full).unwrap(), Some(Timestamp(1_000)));

        let (failing, open) = drive(2);
        failing.fail_sync(1);
        save(Timestamp(1_000), vec![open.clone()]).await;
        assert!(open.out_of_service().unwrap().contains("time floor"));
    }
}

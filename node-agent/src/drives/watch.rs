//! The one task that owns the state of this node's drives: looks at them, scores them, publishes snapshots, opens what
//! comes back, keeps the metadata home in step, and carries out the operator's orders.

mod orders;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveSummary};
use grid_types::{DriveId, DriveState, ErrorCode};
use keyring::RootKeys;
use meta_store::MetaStore;
use meta_store::home::HomeDrive;
use sys::{Clock, Random};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::check::{Look, look};
use super::discovery::strangers;
use super::table::{DriveTable, WatchedDrive};
use super::{DriveLock, DriveOrder, OrderError, ProblemFolder};
use crate::grid::Picture;
use crate::identity::{KnownDrive, NodeFile};

/// Orders that may wait for the watcher; an operator gives one at a time.
const ORDERS_MAX: usize = 16;

/// Why nothing is acknowledged while there is nothing to rest it on.
const ALL_FAILED: &str = "every drive of this node has failed; `shoal drive list` says what to do";
/// Why nothing is acknowledged while what is written may be garbled on its way.
const UNDER_VOLTAGE: &str = "the supply voltage is too low: give this board a stronger power supply or a better cable, \
                             and disks power of their own";

/// Periods of the watcher; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Between two looks at a drive and two snapshots.
    pub every: Duration,
    /// A look that takes longer means that the drive hangs.
    pub look_timeout: Duration,
    /// Between two looks for foreign, copied and moved drives in the folders of this node.
    pub strangers_every: Duration,
    /// A drive that synced nothing for so long is probed with a synced write. Long, for the wear of idle cards.
    pub idle_probe_every: Duration,
    /// Every drive is its own failure domain, whatever its file system.
    pub drives_are_domains: bool,
    /// All members have AES instructions.
    pub all_have_aes: bool,
    /// For drives that are opened again.
    pub drive: DriveConfig,
    /// Where the kernel shows the sensor of the supply voltage.
    pub sensors: PathBuf,
    /// How long the voltage must have been well before anything is acknowledged again.
    pub power_settle: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            look_timeout: Duration::from_secs(10),
            strangers_every: Duration::from_secs(10),
            idle_probe_every: Duration::from_secs(300),
            drives_are_domains: false,
            all_have_aes: false,
            drive: DriveConfig::default(),
            sensors: PathBuf::from(sys::HWMON),
            power_settle: Duration::from_secs(10),
        }
    }
}

/// What the watcher begins with.
pub struct WatchStart {
    /// Drives in service.
    pub store: ChunkStore,
    /// Where snapshots go.
    pub grid: Arc<Picture>,
    /// Follows the drives with its mirrors; keeps locks.
    pub meta: MetaStore,
    /// For periods.
    pub clock: Arc<dyn Clock>,
    /// For new ids.
    pub random: Arc<dyn Random>,
    /// Written to new drives; rewritten when the list of drives changes.
    pub identity: NodeFile,
    /// Drives known, opened or not.
    pub drives: Vec<WatchedDrive>,
    /// Of the drives that are open.
    pub locks: BTreeMap<DriveId, DriveLock>,
    /// Folders of the configuration.
    pub folders: Vec<PathBuf>,
    /// Those of them, and of the drives, that hold something else.
    pub problems: Vec<ProblemFolder>,
    /// Saved beside the data of each new drive, unless it lives elsewhere.
    pub root_key_beside_data: Option<RootKeys>,
}

type Reply = oneshot::Sender<Result<WatchedDrive, OrderError>>;

/// A handle on the watcher. Dropping it stops the task.
pub struct DriveWatch {
    orders: mpsc::Sender<(DriveOrder, Reply)>,
    seen: Arc<ArcSwap<Vec<WatchedDrive>>>,
    problems: Arc<ArcSwap<Vec<ProblemFolder>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for DriveWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DriveWatch {
    /// Publishes the first snapshot before it returns.
    pub fn start(start: WatchStart, config: WatchConfig) -> Self {
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let seen = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let problems = Arc::new(ArcSwap::from_pointee(start.problems.clone()));
        let mut table = DriveTable::new(start.identity.node, config.drives_are_domains, config.all_have_aes);
        start.drives.iter().cloned().for_each(|drive| table.insert(drive));
        let (home, home_changes) = watch::channel(home_of(&start.store, &table));
        tokio::spawn(follow_home(start.meta.clone(), home_changes));
        let (node_file, node_files) = watch::channel(None);
        tokio::spawn(write_node_files(node_files, config.look_timeout));
        let mut watcher = Watcher {
            start,
            config,
            table,
            home,
            node_file,
            work: JoinSet::new(),
            looking: BTreeSet::new(),
            strangers_sought: None,
            problems: problems.clone(),
            seen: seen.clone(),
            under_voltage: None,
        };
        watcher.look_at_power();
        watcher.publish();
        watcher.remember_failures();
        let task = tokio::spawn(watcher.run(received));
        Self { orders, seen, problems, task }
    }

    /// Stops looking, for good.
    pub fn stop(&self) {
        self.task.abort();
    }

    /// The drives as last seen.
    pub fn drives(&self) -> Arc<Vec<WatchedDrive>> {
        self.seen.load_full()
    }

    /// Folders that hold none of our drives in service, as last seen.
    pub fn problems(&self) -> Arc<Vec<ProblemFolder>> {
        self.problems.load_full()
    }

    /// Gives an order and waits for its end. A dropped future leaves the order running.
    pub async fn order(&self, order: DriveOrder) -> Result<WatchedDrive, OrderError> {
        let stopped =
            || OrderError { code: ErrorCode::Unavailable, message: "the node is stopping".to_owned() };
        let (reply, answer) = oneshot::channel();
        self.orders.send((order, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Mirrors follow the drives, one change after the other; only the newest matters.
async fn follow_home(meta: MetaStore, mut changes: watch::Receiver<Vec<HomeDrive>>) {
    while changes.changed().await.is_ok() {
        let home = changes.borrow_and_update().clone();
        if let Err(error) = meta.set_home(home).await {
            tracing::error!(%error, "the metadata mirrors cannot follow the drives");
        }
    }
}

/// Node files follow the list of drives, one list after the other; only the newest matters.
async fn write_node_files(mut changes: watch::Receiver<Option<(NodeFile, Vec<Drive>)>>, patience: Duration) {
    while changes.changed().await.is_ok() {
        let Some((file, drives)) = changes.borrow_and_update().clone() else { continue };
        let mut writing = JoinSet::new();
        for drive in drives {
            let file = file.clone();
            writing.spawn_blocking(move || {
                if let Err(error) = file.write(&*drive.disk()) {
                    tracing::error!(drive = %drive.id(), %error, "writing the node file");
                }
            });
        }
        // A drive that hangs keeps its thread, and the older file.
        let all = async { while writing.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::error!("a drive does not take the node file");
            writing.detach_all();
        }
    }
}

fn home_of(store: &ChunkStore, table: &DriveTable) -> Vec<HomeDrive> {
    table
        .drives()
        .iter()
        .filter(|drive| drive.trusted() && !drive.leaving)
        .filter_map(|drive| store.drive(drive.id))
        .map(|drive| HomeDrive { id: drive.id(), disk: drive.disk() })
        .collect()
}

enum Event {
    Looked(DriveId, Look),
    Hung(DriveId),
    Probed(DriveId, Result<DriveSummary, String>),
    Took {
        result: Result<(Drive, DriveSummary, DriveLock), String>,
        path: PathBuf,
        replaces: Option<DriveId>,
        reply: Reply,
    },
    /// A failed drive that was read for want of another passed its probe, as ordered.
    Retook {
        id: DriveId,
        result: Result<DriveSummary, String>,
        reply: Reply,
    },
    Strangers(Vec<ProblemFolder>),
    Done,
}

struct Watcher {
    start: WatchStart,
    config: WatchConfig,
    table: DriveTable,
    home: watch::Sender<Vec<HomeDrive>>,
    node_file: watch::Sender<Option<(NodeFile, Vec<Drive>)>>,
    work: JoinSet<Event>,
    looking: BTreeSet<DriveId>,
    /// When strangers were last looked for; in the future while a look is under way.
    strangers_sought: Option<Duration>,
    problems: Arc<ArcSwap<Vec<ProblemFolder>>>,
    seen: Arc<ArcSwap<Vec<WatchedDrive>>>,
    /// When the supply voltage was last too low, on the clock since boot; None while it is well.
    under_voltage: Option<Duration>,
}

impl Watcher {
    async fn run(mut self, mut orders: mpsc::Receiver<(DriveOrder, Reply)>) {
        let mut ticks = tokio::time::interval(self.config.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.look_at_power();
                    self.suspect_slow();
                    self.fail_mirrors();
                    self.look_at_all();
                    self.look_for_strangers();
                }
                Some(event) = self.work.join_next() => match event {
                    Ok(event) => self.on_event(event),
                    Err(error) => tracing::error!(%error, "a look at a drive broke off"),
                },
                order = orders.recv() => match order {
                    Some((order, reply)) => self.on_order(order, reply),
                    None => return,
                },
            }
            self.publish();
        }
    }

    fn publish(&mut self) {
        // Others put nothing here and take leadership over, as of a node whose drives are locked.
        self.table.lock_all(self.under_voltage.is_some());
        if let Some(snapshot) = self.table.changed_snapshot() {
            self.start.grid.set_own(snapshot);
        }
        let drives = self.table.drives();
        let all_failed = !drives.is_empty() && drives.iter().all(|drive| drive.failure.is_some());
        let reason = match (all_failed, self.under_voltage) {
            (true, _) => Some(ALL_FAILED),
            (false, Some(_)) => Some(UNDER_VOLTAGE),
            (false, None) => None,
        };
        self.start.meta.set_read_only(reason.map(str::to_owned));
        let home = home_of(&self.start.store, &self.table);
        self.home.send_if_modified(|known| {
            // Without a drive to go to, the mirrors stay where they are.
            let same = home.is_empty()
                || known.len() == home.len()
                    && known
                        .iter()
                        .zip(&home)
                        .all(|(old, new)| old.id == new.id && Arc::ptr_eq(&old.disk, &new.disk));
            if !same {
                *known = home;
            }
            !same
        });
        self.seen.store(Arc::new(self.table.drives().to_vec()));
    }

    fn look_at_power(&mut self) {
        let now = self.start.clock.since_boot();
        if sys::under_voltage(&self.config.sensors) {
            if self.under_voltage.replace(now).is_none() {
                tracing::error!("no write is acknowledged: {UNDER_VOLTAGE}");
            }
        } else if self.under_voltage.is_some_and(|low| now.saturating_sub(low) >= self.config.power_settle) {
            self.under_voltage = None;
            tracing::info!("the supply voltage is well again: writes go on");
        }
    }

    fn look_at_all(&mut self) {
        for drive in self.table.drives() {
            if drive.held_out || !self.looking.insert(drive.id) {
                continue;
            }
            let (id, path) = (drive.id, drive.path.clone());
            let open = self.start.store.drive(id);
            let (clock, config) = (self.start.clock.clone(), self.config.drive.clone());
            let timeout = self.config.look_timeout;
            self.work.spawn(async move {
                let looking =
                    tokio::task::spawn_blocking(move || look(&path, id, open.as_ref(), clock, config));
                match tokio::time::timeout(timeout, looking).await {
                    Ok(Ok(found)) => Event::Looked(id, found),
                    // The process ends; the drive is not to blame.
                    Ok(Err(error)) if error.is_cancelled() => Event::Done,
                    Ok(Err(error)) => {
                        Event::Looked(id, Look::Broken(format!("looking at it broke off: {error}")))
                    }
                    Err(_) => Event::Hung(id),
                }
            });
        }
    }

    /// A drive whose mirror of the metadata log failed cannot be trusted with chunks either.
    fn fail_mirrors(&mut self) {
        for (id, error) in self.start.meta.take_failed_mirrors() {
            let reason = format!("its mirror of the metadata log failed: {error}");
            if let Some(open) = self.start.store.drive(id) {
                open.take_out_of_service(&reason);
            }
            self.fail(id, reason);
        }
    }

    fn look_for_strangers(&mut self) {
        let now = self.start.clock.since_boot();
        let due = self
            .strangers_sought
            .is_none_or(|sought| now.saturating_sub(sought) >= self.config.strangers_every && sought <= now);
        if !due {
            return;
        }
        self.strangers_sought = Some(Duration::MAX);
        let (folders, identity) = (self.start.folders.clone(), self.start.identity.clone());
        let drives = self.table.drives().to_vec();
        self.work.spawn(async move {
            let known = identity.clone();
            let looking = tokio::task::spawn_blocking(move || strangers(&folders, &known, &drives));
            Event::Strangers(looking.await.unwrap_or_default())
        });
    }

    fn on_strangers(&mut self, found: Vec<ProblemFolder>) {
        self.strangers_sought = Some(self.start.clock.since_boot());
        let known = self.problems.load();
        for stranger in found.iter().filter(|stranger| !known.contains(stranger)) {
            let (path, state, reason) = (stranger.path.display(), stranger.state, &stranger.reason);
            tracing::warn!(%path, ?state, reason, "a folder of this node holds something else");
        }
        self.problems.store(Arc::new(found));
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Looked(id, found) => {
                self.looking.remove(&id);
                self.on_look(id, found);
            }
            Event::Hung(id) => {
                self.looking.remove(&id);
                let timeout = self.config.look_timeout;
                self.lose(id, format!("it did not answer for {} s", timeout.as_secs()), false);
            }
            Event::Probed(id, Ok(summary)) => {
                self.looking.remove(&id);
                let now = self.start.clock.since_boot();
                if let Some(drive) = self.table.get_mut(id) {
                    drive.probed = (now, summary.stats.syncs);
                    drive.present(summary);
                }
            }
            Event::Probed(id, Err(reason)) => {
                self.looking.remove(&id);
                self.fail(id, reason);
            }
            Event::Took { result, path, replaces, reply } => self.on_took(result, path, replaces, reply),
            Event::Retook { id, result, reply } => self.on_retook(id, result, reply),
            Event::Strangers(found) => self.on_strangers(found),
            Event::Done => {}
        }
    }

    fn on_look(&mut self, id: DriveId, found: Look) {
        let now = self.start.clock.since_boot();
        match found {
            Look::Present(summary) => {
                let Some(drive) = self.table.get_mut(id) else { return };
                let (last, syncs) = drive.probed;
                if summary.stats.syncs != syncs && drive.state != DriveState::Suspect {
                    drive.probed = (now, summary.stats.syncs);
                }
                if drive.failure.is_some() {
                    // Nothing is written to it, a probe neither.
                    drive.present(summary);
                    return;
                }
                let idle = now.saturating_sub(last) >= self.config.idle_probe_every;
                if drive.state == DriveState::Suspect || (idle && summary.stats.syncs == syncs) {
                    self.probe(id);
                } else {
                    drive.present(summary);
                }
            }
            Look::Reopened(open, summary, lock) => {
                let Some(drive) = self.table.get_mut(id) else { return };
                drive.probed = (now, summary.stats.syncs);
                drive.present(summary);
                tracing::info!(drive = %id, path = %drive.path.display(), "drive is back in service");
                self.start.locks.insert(id, lock);
                self.start.store.add(open);
            }
            Look::Gone(reason) => self.lose(id, reason, true),
            Look::Broken(reason) => self.fail(id, reason),
        }
    }

    /// Drives that writes went on without: no new chunks until a probe succeeds, which the next look starts.
    fn suspect_slow(&mut self) {
        for id in self.start.grid.take_slow_drives() {
            self.lose(id, "writes had to go on without it twice within a minute".to_owned(), false);
        }
    }

    fn probe(&mut self, id: DriveId) {
        let Some(open) = self.start.store.drive(id) else { return };
        self.looking.insert(id);
        let timeout = self.config.look_timeout;
        self.work.spawn(async move {
            match tokio::time::timeout(timeout, open.probe()).await {
                Ok(Ok(())) => match tokio::task::spawn_blocking(move || open.summary()).await {
                    Err(error) if error.is_cancelled() => Event::Done,
                    summary => Event::Probed(id, summary.map_err(|error| error.to_string())),
                },
                Ok(Err(error)) => Event::Probed(id, Err(error.to_string())),
                Err(_) => Event::Hung(id),
            }
        });
    }

    /// `close`: the handle leads nowhere any more; what comes back is opened anew.
    fn lose(&mut self, id: DriveId, reason: String, close: bool) {
        let now = self.start.clock.since_boot();
        if close && let Some(open) = self.start.store.drive(id) {
            open.take_out_of_service(&reason);
            self.start.store.remove(id);
            self.start.locks.remove(&id);
        }
        if let Some(drive) = self.table.get_mut(id)
            && drive.lost(now, reason.clone())
        {
            tracing::warn!(drive = %id, path = %drive.path.display(), state = ?drive.state, reason, "drive is lost");
        }
    }

    /// Out of service, and remembered on the other drives: no start takes it back by itself.
    fn fail(&mut self, id: DriveId, reason: String) {
        let now = self.start.clock.now();
        if let Some(drive) = self.table.get_mut(id)
            && drive.failed(now, reason.clone())
        {
            tracing::error!(drive = %id, path = %drive.path.display(), reason, "drive failed, out of service");
            self.rewrite_node_file();
        }
    }

    /// Drives that failed before the watcher began.
    fn remember_failures(&mut self) {
        let remembered = |drive: &WatchedDrive| {
            let mut known = self.start.identity.drives.iter();
            known.any(|known| known.id == drive.id && known.failed.is_some())
        };
        if self.table.drives().iter().any(|drive| drive.failure.is_some() && !remembered(drive)) {
            self.rewrite_node_file();
        }
    }

    /// Tells every drive of the new list of drives.
    fn rewrite_node_file(&mut self) {
        let identity = &mut self.start.identity;
        identity.generation += 1;
        identity.drives = self
            .table
            .drives()
            .iter()
            .map(|drive| KnownDrive { id: drive.id, path: drive.path.clone(), failed: drive.failure.clone() })
            .collect();
        let (mut trusted, failed): (Vec<Drive>, Vec<Drive>) =
            self.start.store.drives().into_iter().partition(|drive| drive.out_of_service().is_none());
        if trusted.is_empty() {
            // A lone drive has nobody else to remember that it failed.
            trusted = failed;
        }
        self.node_file.send_replace(Some((identity.clone(), trusted)));
    }
}

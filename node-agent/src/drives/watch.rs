//! The one task that owns the state of this node's drives: looks at them, scores them, publishes snapshots, opens what
//! comes back, keeps the metadata home in step, and carries out the operator's orders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveSummary};
use grid_types::{DriveId, DriveState, ErrorCode, NodeId, Timestamp};
use keyring::RootKey;
use meta_store::MetaStore;
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use segment_store::GridView;
use sys::{Clock, Random};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::check::{Look, Take, look, take};
use super::table::DriveTable;
pub use super::table::WatchedDrive;
use super::{DriveLock, ProblemFolder};
use crate::identity::{KnownDrive, NodeFile};
use crate::records::{self, DriveRecord};

/// Orders that may wait for the watcher; an operator gives one at a time.
const ORDERS_MAX: usize = 16;

/// Periods of the watcher; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Between two looks at a drive and two snapshots.
    pub every: Duration,
    /// A look that takes longer means that the drive hangs.
    pub look_timeout: Duration,
    /// A drive that synced nothing for so long is probed with a synced write. Long, for the wear of idle cards.
    pub idle_probe_every: Duration,
    /// Every drive is its own failure domain, whatever its file system.
    pub drives_are_domains: bool,
    /// All members have AES instructions.
    pub all_have_aes: bool,
    /// For drives that are opened again.
    pub drive: DriveConfig,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            look_timeout: Duration::from_secs(10),
            idle_probe_every: Duration::from_secs(300),
            drives_are_domains: false,
            all_have_aes: false,
            drive: DriveConfig::default(),
        }
    }
}

/// What the watcher begins with.
pub struct WatchStart {
    /// Drives in service.
    pub store: ChunkStore,
    /// Where snapshots go.
    pub grid: GridView,
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
    /// Folders that are none of our drives.
    pub problems: Vec<ProblemFolder>,
    /// Saved beside the data of each new drive, unless it lives elsewhere.
    pub root_key_beside_data: Option<RootKey>,
}

/// What can be asked of the watcher. Each answers when it is durable.
pub enum DriveOrder {
    /// Take a folder.
    Add {
        /// The folder, absolute.
        path: PathBuf,
        /// See `Take`.
        allow_not_empty: bool,
        /// See `Take`.
        same_file_system_ok: bool,
        /// The drive that leaves when this one is in service.
        replaces: Option<DriveId>,
    },
    /// Lock or unlock.
    Lock {
        /// The drive.
        id: DriveId,
        /// True = lock.
        locked: bool,
    },
    /// Nothing that the grid needs is left on this drive, which was ordered to leave.
    Emptied {
        /// The drive.
        id: DriveId,
    },
}

/// Why an order was refused.
#[derive(Debug, Clone)]
pub struct OrderError {
    /// The kind.
    pub code: ErrorCode,
    /// Words for the operator.
    pub message: String,
}

type Reply = oneshot::Sender<Result<WatchedDrive, OrderError>>;

/// A handle on the watcher. Dropping it stops the task.
pub struct DriveWatch {
    orders: mpsc::Sender<(DriveOrder, Reply)>,
    seen: Arc<ArcSwap<Vec<WatchedDrive>>>,
    problems: Vec<ProblemFolder>,
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
        let problems = start.problems.clone();
        let mut table = DriveTable::new(start.identity.node, config.drives_are_domains, config.all_have_aes);
        start.drives.iter().cloned().for_each(|drive| table.insert(drive));
        let (home, home_changes) = watch::channel(home_of(&start.store, &table));
        tokio::spawn(follow_home(start.meta.clone(), home_changes));
        let mut watcher = Watcher {
            start,
            config,
            table,
            home,
            work: JoinSet::new(),
            looking: BTreeSet::new(),
            seen: seen.clone(),
        };
        watcher.publish();
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

    /// Folders that are none of our drives.
    pub fn problems(&self) -> &[ProblemFolder] {
        &self.problems
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

fn home_of(store: &ChunkStore, table: &DriveTable) -> Vec<HomeDrive> {
    table
        .drives()
        .iter()
        .filter(|drive| drive.in_service() && !drive.leaving)
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
    Done,
}

struct Watcher {
    start: WatchStart,
    config: WatchConfig,
    table: DriveTable,
    home: watch::Sender<Vec<HomeDrive>>,
    work: JoinSet<Event>,
    looking: BTreeSet<DriveId>,
    seen: Arc<ArcSwap<Vec<WatchedDrive>>>,
}

impl Watcher {
    async fn run(mut self, mut orders: mpsc::Receiver<(DriveOrder, Reply)>) {
        let mut ticks = tokio::time::interval(self.config.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.suspect_slow();
                    self.look_at_all();
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
        if let Some(snapshot) = self.table.changed_snapshot() {
            self.start.grid.publish(snapshot);
        }
        let home = home_of(&self.start.store, &self.table);
        self.home.send_if_modified(|known| {
            let same = known.len() == home.len()
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
                    Ok(Err(error)) => {
                        Event::Looked(id, Look::Broken(format!("looking at it broke off: {error}")))
                    }
                    Err(_) => Event::Hung(id),
                }
            });
        }
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
                Ok(Ok(())) => {
                    let summary = tokio::task::spawn_blocking(move || open.summary()).await;
                    Event::Probed(id, summary.map_err(|error| error.to_string()))
                }
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

    fn fail(&mut self, id: DriveId, reason: String) {
        if let Some(drive) = self.table.get_mut(id)
            && drive.failed(reason.clone())
        {
            tracing::error!(drive = %id, path = %drive.path.display(), reason, "drive failed, out of service");
        }
    }

    fn on_order(&mut self, order: DriveOrder, reply: Reply) {
        match order {
            DriveOrder::Add { path, allow_not_empty, same_file_system_ok, replaces } => {
                if let Some(id) = replaces
                    && self.table.get_mut(id).is_none()
                {
                    let _ = reply.send(Err(no_such_drive(id)));
                    return;
                }
                let others = || self.table.drives().iter().filter(|drive| drive.in_service());
                let order = Take {
                    same_file_system_ok: same_file_system_ok || self.config.drives_are_domains,
                    file_systems: others()
                        .filter_map(|drive| Some(drive.summary.as_ref()?.file_system.clone()))
                        .collect(),
                    in_service: others().map(|drive| drive.id).collect(),
                    allow_not_empty,
                    path,
                };
                let (identity, clock) = (self.start.identity.clone(), self.start.clock.clone());
                let (random, config) = (self.start.random.clone(), self.config.drive.clone());
                let key = self.start.root_key_beside_data.clone();
                self.work.spawn(async move {
                    let path = order.path.clone();
                    let taking = tokio::task::spawn_blocking(move || {
                        let taken = take(&order, &identity, clock, &*random, config)?;
                        if let Some(key) = key {
                            crate::founding::save_beside(&key, &order.path)
                                .map_err(|error| error.to_string())?;
                        }
                        Ok(taken)
                    });
                    let result =
                        taking.await.unwrap_or_else(|error| Err(format!("taking it broke off: {error}")));
                    Event::Took { result, path, replaces, reply }
                });
            }
            DriveOrder::Lock { id, locked } => match self.table.get_mut(id) {
                Some(drive) => {
                    drive.locked = locked;
                    let drive = drive.clone();
                    self.persist(vec![drive.clone()], drive, reply);
                }
                None => {
                    let _ = reply.send(Err(no_such_drive(id)));
                }
            },
            DriveOrder::Emptied { id } => self.on_emptied(id, reply),
        }
    }

    fn on_emptied(&mut self, id: DriveId, reply: Reply) {
        let gone = match self.table.get_mut(id) {
            Some(drive) if drive.leaving => drive.clone(),
            Some(_) => {
                let message = format!("drive {id} was not ordered to leave");
                let _ = reply.send(Err(OrderError { code: ErrorCode::Conflict, message }));
                return;
            }
            None => {
                let _ = reply.send(Err(no_such_drive(id)));
                return;
            }
        };
        tracing::info!(drive = %id, path = %gone.path.display(), "drive is empty and leaves the grid");
        self.table.remove(id);
        if let Some(open) = self.start.store.drive(id) {
            open.take_out_of_service("it left the grid");
            self.start.store.remove(id);
            self.start.locks.remove(&id);
        }
        self.rewrite_node_file();
        let gone = WatchedDrive { state: DriveState::Removed, ..gone };
        self.persist(vec![gone.clone()], gone, reply);
    }

    fn on_took(
        &mut self,
        result: Result<(Drive, DriveSummary, DriveLock), String>,
        path: PathBuf,
        replaces: Option<DriveId>,
        reply: Reply,
    ) {
        let (open, summary, lock) = match result {
            Ok(taken) => taken,
            Err(message) => {
                let _ = reply.send(Err(OrderError { code: ErrorCode::Conflict, message }));
                return;
            }
        };
        let mut drive = WatchedDrive::new(open.id(), path, DriveState::Waiting);
        drive.probed = (self.start.clock.since_boot(), summary.stats.syncs);
        drive.present(summary);
        tracing::info!(drive = %drive.id, path = %drive.path.display(), "drive put into service");
        self.start.locks.insert(drive.id, lock);
        self.start.store.add(open);
        self.table.insert(drive.clone());
        let mut changed = vec![drive.clone()];
        if let Some(old) = replaces.filter(|old| *old != drive.id).and_then(|old| self.table.get_mut(old)) {
            old.leave();
            changed.push(old.clone());
        }
        self.rewrite_node_file();
        self.persist(changed, drive, reply);
    }

    /// Tells every drive in service of the new list of drives.
    fn rewrite_node_file(&mut self) {
        let identity = &mut self.start.identity;
        identity.generation += 1;
        identity.drives = self
            .table
            .drives()
            .iter()
            .map(|drive| KnownDrive { id: drive.id, path: drive.path.clone() })
            .collect();
        let identity = identity.clone();
        let drives = self.start.store.drives();
        self.work.spawn(async move {
            let writing = tokio::task::spawn_blocking(move || {
                for drive in drives {
                    if let Err(error) = identity.write(&*drive.disk()) {
                        tracing::error!(drive = %drive.id(), %error, "writing the node file");
                    }
                }
            });
            let _ = writing.await;
            Event::Done
        });
    }

    /// Writes the records of these drives into the root shard, then replies.
    fn persist(&mut self, changed: Vec<WatchedDrive>, answer: WatchedDrive, reply: Reply) {
        let (meta, node, now) = (self.start.meta.clone(), self.start.identity.node, self.start.clock.now());
        self.work.spawn(async move {
            let result = store_records(&meta, node, now, &changed).await;
            let _ = reply.send(result.map(|()| answer));
            Event::Done
        });
    }
}

async fn store_records(
    meta: &MetaStore,
    node: NodeId,
    now: Timestamp,
    changed: &[WatchedDrive],
) -> Result<(), OrderError> {
    let not_stored = |code: ErrorCode, error: String| OrderError {
        code,
        message: format!("done on this node, but not stored in the metadata: {error}"),
    };
    let mut writes = Vec::new();
    for drive in changed {
        let key = drive.id.as_bytes().to_vec();
        let known = meta
            .record(RecordKind::Drive, &key)
            .await
            .map_err(|error| not_stored(error.code(), error.to_string()))?;
        let added = known
            .and_then(|record| records::decode::<DriveRecord>("drive", &record.value).ok())
            .map_or(now, |record| record.added);
        let (locked, leaving, path) = (drive.locked, drive.leaving, drive.path.clone());
        let value = if drive.state == DriveState::Removed {
            None
        } else {
            let record = DriveRecord { node, path, locked, leaving, added };
            let bytes = records::encode(&record);
            Some(bytes.map_err(|error| not_stored(ErrorCode::Internal, error.to_string()))?)
        };
        writes.push(RecordWrite { kind: RecordKind::Drive, key, expect: Expect::Any, value });
    }
    meta.write_records(writes).await.map_err(|error| not_stored(error.code(), error.to_string()))
}

fn no_such_drive(id: DriveId) -> OrderError {
    OrderError { code: ErrorCode::NoSuchDrive, message: format!("this node has no drive {id}") }
}

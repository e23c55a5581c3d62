//! The log as its users hold it, and what they share with the thread that writes it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use grid_types::{DriveId, MemoryBudget, ShardId};
use parking_lot::{Condvar, Mutex};
use sys::Random;
use tokio::sync::{oneshot, watch};

use super::cache::RecentCache;
use super::fill::{self, Copied};
use super::format::{FileSeal, RECORD_HEADER, parse_record};
use super::group::{Flushed, answer};
use super::index::{CallId, GroupIndex, Place};
use super::mirror::Mirror;
use super::writer::{Call, CallKind, Control, Writer};
use super::{GroupLog, LogConfig, LogError, QUEUE_WAITERS_MAX};
use crate::home::{self, HomeDrive, MirrorSet};

/// What a call takes from the queue's budget besides its payload, in bytes.
const CALL_BYTES: u64 = 256;

/// The shared log of a node. Cheap to clone; when the last clone goes, what was asked for is still written.
#[derive(Clone)]
pub struct SharedLog {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

/// Ends the writer when dropped.
struct Running {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// How the log fares, for metrics and the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// Drives that are mirrors now.
    pub mirrors: Vec<DriveId>,
    /// Epoch of that set.
    pub epoch: u64,
    /// Log files in use on each mirror.
    pub files: u64,
    /// Batches written, each with one sync a mirror.
    pub batches: u64,
    /// Records that did not verify on some mirror and were read from another.
    pub mirror_errors: u64,
    /// Files of single mirrors that the last open rewrote from the others.
    pub mended: u64,
    /// Why the log stopped, if it did.
    pub stopped: Option<String>,
}

pub(crate) struct Shared {
    pub(crate) config: LogConfig,
    pub(crate) log: [u8; 16],
    state: Mutex<State>,
    wake: Condvar,
    batches: watch::Sender<u64>,
    budget: MemoryBudget,
    cache: Mutex<RecentCache>,
    mirrors: Mutex<Vec<Arc<Mirror>>>,
    home_change: Mutex<()>,
    status: Mutex<LogStatus>,
    mirror_errors: AtomicU64,
    failed_mirrors: Mutex<Vec<(DriveId, String)>>,
}

struct State {
    groups: HashMap<ShardId, GroupIndex>,
    queue: VecDeque<Call>,
    controls: VecDeque<Control>,
    next_call: CallId,
    closing: bool,
    stopped: Option<LogError>,
}

/// What the writer takes from the queue at once.
pub(crate) struct Work {
    pub calls: VecDeque<Call>,
    pub controls: VecDeque<Control>,
    pub closing: bool,
}

impl SharedLog {
    /// Founds an empty log on up to `home::MIRRORS_WANTED` of these drives. `Invalid` where one of them carries a log.
    /// Blocks.
    pub fn create(drives: &[HomeDrive], config: LogConfig, random: &dyn Random) -> Result<Self, LogError> {
        if home::view(drives, true)?.is_some() {
            return Err(LogError::Invalid("a drive carries a metadata log already".to_owned()));
        }
        let mirrors = home::choose(drives, &[]);
        let first = mirrors.first().map(|drive| drive.id);
        let first = first.ok_or_else(|| LogError::Invalid("a metadata log needs a drive".to_owned()))?;
        let set = MirrorSet { log: random.id(), epoch: 1, drives: vec![first] };
        Self::start(config, &set, |shared| Writer::found(shared, set.clone(), mirrors))
    }

    /// Opens the log that `create` made; `drives` are all drives in service. Call `set_home` afterwards to fill mirrors
    /// up. `MirrorsMissing` where too few mirrors are there: see `open_forced`. Blocks.
    pub fn open(drives: &[HomeDrive], config: LogConfig) -> Result<Self, LogError> {
        Self::open_with(drives, config, false)
    }

    /// As `open`, on the operator's word that the missing mirrors are lost for good: what only they knew is lost.
    pub fn open_forced(drives: &[HomeDrive], config: LogConfig) -> Result<Self, LogError> {
        Self::open_with(drives, config, true)
    }

    /// Does one of these drives carry (a mirror of) a log?
    pub fn exists(drives: &[HomeDrive]) -> Result<bool, LogError> {
        home::view(drives, true).map(|view| view.is_some())
    }

    fn open_with(drives: &[HomeDrive], config: LogConfig, forced: bool) -> Result<Self, LogError> {
        let view = home::view(drives, forced)?
            .ok_or_else(|| LogError::MirrorsMissing("no drive carries a metadata log: bring back the drives that did, or run `shoal rebuild-metadata`".to_owned()))?;
        let set = view.set.clone();
        Self::start(config, &set, |shared| Writer::reopen(shared, view, forced))
    }

    fn start(
        config: LogConfig,
        set: &MirrorSet,
        writer: impl FnOnce(Arc<Shared>) -> Result<Writer, LogError>,
    ) -> Result<Self, LogError> {
        let shared = Arc::new(Shared {
            budget: MemoryBudget::new("metadata log queue", config.queue_bytes_max, QUEUE_WAITERS_MAX),
            cache: Mutex::new(RecentCache::new(config.cache_bytes_max)),
            config,
            log: set.log,
            state: Mutex::new(State {
                groups: HashMap::new(),
                queue: VecDeque::new(),
                controls: VecDeque::new(),
                next_call: 0,
                closing: false,
                stopped: None,
            }),
            wake: Condvar::new(),
            batches: watch::Sender::new(0),
            mirrors: Mutex::default(),
            home_change: Mutex::default(),
            status: Mutex::default(),
            mirror_errors: AtomicU64::new(0),
            failed_mirrors: Mutex::default(),
        });
        let writer = writer(shared.clone())?;
        let thread = std::thread::Builder::new()
            .name("meta-log".to_owned())
            .spawn(move || writer.run())
            .map_err(LogError::io("start the log's thread"))?;
        let running = Running { shared: shared.clone(), thread: Mutex::new(Some(thread)) };
        Ok(Self { shared, running: Arc::new(running) })
    }

    /// The log of one group; empty where the group is new.
    pub fn group(&self, group: ShardId) -> GroupLog {
        GroupLog { shared: self.shared.clone(), group }
    }

    /// Groups of which the log holds anything.
    pub fn groups(&self) -> Vec<ShardId> {
        let mut groups: Vec<ShardId> = self.shared.state.lock().groups.keys().copied().collect();
        groups.sort();
        groups
    }

    /// Makes the mirrors follow the drives in service: a mirror that is not among them leaves, others are filled and join
    /// until there are `home::MIRRORS_WANTED`. The log goes on while they are filled. A drive that cannot be filled is
    /// left out, with a warning. Cancellation: runs to its end all the same.
    pub async fn set_home(&self, drives: Vec<HomeDrive>) -> Result<(), LogError> {
        let shared = self.shared.clone();
        let change = tokio::task::spawn_blocking(move || shared.set_home(drives));
        change.await.map_err(|error| LogError::Io {
            operation: "change the mirrors",
            source: Arc::new(std::io::Error::other(error)),
        })?
    }

    /// Writes what was asked for and ends. Later calls fail with `Stopped`.
    pub async fn close(&self) {
        let running = self.running.clone();
        // Only a panic of the writer, reported by its hook, could fail here.
        let _ = tokio::task::spawn_blocking(move || running.end()).await;
    }

    /// The drives that are mirrors now: snapshots belong on the same ones.
    pub fn mirrors(&self) -> Vec<HomeDrive> {
        self.shared.mirrors.lock().iter().map(|mirror| mirror.drive.clone()).collect()
    }

    /// Mirrors that were dropped because they failed, since the last call; those whose folder was gone are not meant.
    pub fn take_failed_mirrors(&self) -> Vec<(DriveId, String)> {
        std::mem::take(&mut *self.shared.failed_mirrors.lock())
    }

    /// How the log fares.
    pub fn status(&self) -> LogStatus {
        let mut status = self.shared.status.lock().clone();
        status.mirror_errors = self.shared.mirror_errors.load(Ordering::Relaxed);
        status.stopped = self.shared.state.lock().stopped.as_ref().map(ToString::to_string);
        status
    }
}

impl Running {
    fn end(&self) {
        self.shared.state.lock().closing = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic of the writer has been reported by its hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    /// Payload bytes of the largest entry.
    pub(crate) fn entry_bytes_max(&self) -> u64 {
        self.config.file_bytes / 2
    }

    pub(crate) fn with_group<T>(&self, group: ShardId, look: impl FnOnce(&GroupIndex) -> T) -> T {
        match self.state.lock().groups.get(&group) {
            Some(group) => look(group),
            None => look(&GroupIndex::default()),
        }
    }

    pub(crate) fn with_group_and_cache<T>(
        &self,
        group: ShardId,
        look: impl FnOnce(&GroupIndex, &RecentCache) -> T,
    ) -> T {
        self.with_group(group, |group| look(group, &self.cache.lock()))
    }

    /// Changes a group and queues the call, in one step.
    pub(crate) async fn call(
        &self,
        group: ShardId,
        bytes: u64,
        flushed: Flushed,
        change: impl FnOnce(CallId, &mut GroupIndex) -> Result<CallKind, LogError>,
    ) -> Result<(), LogError> {
        let bytes = (bytes + CALL_BYTES).min(self.budget.total());
        let permit = self.budget.acquire(bytes).await.map_err(|error| LogError::Io {
            operation: "queue",
            source: Arc::new(std::io::Error::new(std::io::ErrorKind::WouldBlock, error)),
        })?;
        {
            let mut state = self.state.lock();
            state.check_running()?;
            let id = state.next_call;
            let kind = change(id, state.groups.entry(group).or_default())?;
            if matches!(kind, CallKind::Remove(_)) {
                state.groups.remove(&group);
            }
            state.next_call += 1;
            state.queue.push_back(Call { id, group, kind, flushed, permit });
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Blocks until the mirrors are changed.
    fn set_home(&self, drives: Vec<HomeDrive>) -> Result<(), LogError> {
        // One change at a time: two would fill the same drive.
        let _one = self.home_change.lock();
        let copied = self.copy_home(&drives)?;
        self.join_home(drives, copied)
    }

    /// Copies the log to those of the drives that are to become mirrors. Blocks.
    pub(crate) fn copy_home(&self, drives: &[HomeDrive]) -> Result<Vec<Copied>, LogError> {
        let (sender, plan) = oneshot::channel();
        self.control(Control::PlanHome { drives: drives.to_vec(), plan: sender })?;
        let plan = plan.blocking_recv().map_err(|_| self.stopped())?;
        let copy = |drive: &HomeDrive| match fill::copy(drive, &plan.from, self, &plan.files) {
            Ok(copied) => Some(copied),
            Err(error) => {
                tracing::warn!(drive = %drive.id, %error, "a drive cannot become a mirror of the metadata log");
                None
            }
        };
        Ok(plan.newcomers.iter().filter_map(copy).collect())
    }

    /// Makes the mirrors follow the drives. Blocks.
    pub(crate) fn join_home(&self, drives: Vec<HomeDrive>, copied: Vec<Copied>) -> Result<(), LogError> {
        let (answer, done) = answer();
        self.control(Control::SetHome { drives, copied, answer })?;
        done.blocking_recv().map_err(|_| self.stopped())?
    }

    fn control(&self, control: Control) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.check_running()?;
        state.controls.push_back(control);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    pub(crate) fn check_running(&self) -> Result<(), LogError> {
        self.state.lock().check_running()
    }

    pub(crate) fn stopped(&self) -> LogError {
        self.check_running().err().unwrap_or_else(closed)
    }

    pub(crate) fn batches(&self) -> watch::Receiver<u64> {
        self.batches.subscribe()
    }

    /// A stored entry, from the first mirror that has it whole. Blocks.
    pub(crate) fn read_place(&self, group: ShardId, index: u64, place: Place) -> Result<Bytes, LogError> {
        let seal = FileSeal::new(&self.log, u64::from(place.file));
        let len = usize::try_from(place.len).unwrap_or(usize::MAX);
        let mut buf = vec![0; RECORD_HEADER.saturating_add(len)];
        let mut tried = Vec::new();
        for mirror in self.mirrors.lock().clone() {
            match mirror.read(place.file, u64::from(place.offset), &mut buf) {
                Ok(()) => match parse_record(seal, &buf) {
                    Some(r) if r.kind.is_entry() && (r.group, r.index) == (group, index) => {
                        if !tried.is_empty() {
                            self.mirror_errors.fetch_add(1, Ordering::Relaxed);
                            tracing::error!(%group, index, ?tried, "a log entry had to be read from another mirror");
                        }
                        buf.drain(..RECORD_HEADER);
                        return Ok(buf.into());
                    }
                    _ => tried.push(format!("{}: does not verify", mirror.drive.id)),
                },
                Err(error) => tried.push(format!("{}: {error}", mirror.drive.id)),
            }
        }
        Err(LogError::Damaged(format!(
            "entry {index} of metadata shard {group} cannot be read ({}); restart the node to mend it from other mirrors",
            tried.join(", ")
        )))
    }

    // For the writer.

    /// Waits for work.
    pub(crate) fn work(&self) -> Work {
        let mut state = self.state.lock();
        while state.queue.is_empty() && state.controls.is_empty() && !state.closing {
            self.wake.wait(&mut state);
        }
        let state = &mut *state;
        Work {
            calls: std::mem::take(&mut state.queue),
            controls: std::mem::take(&mut state.controls),
            closing: state.closing,
        }
    }

    pub(crate) fn with_groups<T>(
        &self,
        change: impl FnOnce(&mut HashMap<ShardId, GroupIndex>, &mut RecentCache) -> T,
    ) -> T {
        change(&mut self.state.lock().groups, &mut self.cache.lock())
    }

    /// Must appends of this call fail because one before them did?
    pub(crate) fn append_fails(&self, group: ShardId, call: CallId) -> bool {
        self.with_group(group, |group| call < group.appends_fail_before)
    }

    /// An append failed; those queued behind it must not leave a gap.
    pub(crate) fn fail_appends(&self, group: ShardId) {
        let mut state = self.state.lock();
        let next = state.next_call;
        if let Some(group) = state.groups.get_mut(&group) {
            group.drop_queued(next);
        }
        drop(state);
        // Whoever waits for one of them looks again.
        self.batches.send_modify(|_| {});
    }

    pub(crate) fn announce_batch(&self, batch: u64) {
        self.batches.send_replace(batch);
    }

    pub(crate) fn set_mirrors(&self, mirrors: Vec<Arc<Mirror>>) {
        *self.mirrors.lock() = mirrors;
    }

    /// A mirror failed; one that is gone or full is told elsewhere.
    pub(crate) fn mirror_failed(&self, drive: DriveId, error: &std::io::Error) {
        use std::io::ErrorKind::{NotFound, QuotaExceeded, StorageFull};
        if !matches!(error.kind(), NotFound | QuotaExceeded | StorageFull) {
            self.failed_mirrors.lock().push((drive, error.to_string()));
        }
    }

    pub(crate) fn set_status(&self, change: impl FnOnce(&mut LogStatus)) {
        change(&mut self.status.lock());
    }

    /// Ends the log: nothing more is taken, and who waits is told.
    pub(crate) fn stop(&self, error: &LogError) {
        let (calls, controls) = {
            let mut state = self.state.lock();
            state.stopped.get_or_insert_with(|| error.clone());
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.controls))
        };
        for call in calls {
            call.answer(Err(error.clone()));
        }
        for control in controls {
            control.answer(Err(error.clone()));
        }
        // Whoever waits for an entry looks again.
        self.batches.send_modify(|_| {});
    }

    /// The writer ends after `close`.
    pub(crate) fn stop_closed(&self) {
        self.stop(&closed());
    }
}

impl State {
    fn check_running(&self) -> Result<(), LogError> {
        match &self.stopped {
            Some(error) => Err(error.clone()),
            None if self.closing => Err(closed()),
            None => Ok(()),
        }
    }
}

fn closed() -> LogError {
    LogError::Stopped { reason: "the node is shutting down".to_owned() }
}

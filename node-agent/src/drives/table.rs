//! The state of each drive of this node: events in, states and snapshots out. No I/O.

use std::path::PathBuf;
use std::time::Duration;

use chunk_store::DriveSummary;
use grid_types::{
    DriveEvent, DriveId, DriveSnapshot, DriveState, FailureDomain, GridSnapshot, NodeId, Score, Timestamp,
};

use super::Scores;
use crate::identity::DriveFailure;

/// A drive that is suspect for so long is failing: its chunks are rebuilt elsewhere.
pub const FAILING_AFTER: Duration = Duration::from_secs(30);
/// Free room is published in steps of this size, so that not every byte is a new snapshot.
const ROOM_STEP_BYTES: u64 = 1 << 20;

/// One drive as this node sees it.
#[derive(Debug, Clone)]
pub struct WatchedDrive {
    /// The drive.
    pub id: DriveId,
    /// Its folder.
    pub path: PathBuf,
    /// Where it stands.
    pub state: DriveState,
    /// No new chunks, by order.
    pub locked: bool,
    /// Its chunks move away, by order; then it is removed.
    pub leaving: bool,
    /// Why it is not in service, in words.
    pub problem: Option<String>,
    /// Not opened again while this process runs, unless ordered: it failed, or could not be opened.
    pub held_out: bool,
    /// It failed while it served: not taken into service without an order, not by the next start either. Where no other
    /// drive is left it is read all the same.
    pub failure: Option<DriveFailure>,
    /// Measured.
    pub scores: Scores,
    /// At the last successful look.
    pub summary: Option<DriveSummary>,
    /// When it became suspect, on the clock since boot.
    pub suspect_since: Option<Duration>,
    /// When it last passed a probe with a synced write, and the syncs it had then.
    pub probed: (Duration, u64),
}

impl WatchedDrive {
    /// A drive that is not looked at yet.
    pub fn new(id: DriveId, path: PathBuf, state: DriveState) -> Self {
        Self {
            id,
            path,
            state,
            locked: false,
            leaving: false,
            problem: None,
            held_out: false,
            failure: None,
            scores: Scores::default(),
            summary: None,
            suspect_since: None,
            probed: (Duration::ZERO, 0),
        }
    }

    /// In service: chunks may be read from it.
    pub fn in_service(&self) -> bool {
        self.state.readable() && self.problem.is_none()
    }

    /// What is acknowledged may rest on it.
    pub fn trusted(&self) -> bool {
        self.in_service() && self.failure.is_none()
    }

    /// What an operator should know of it, and what to do.
    pub fn trouble(&self) -> Option<String> {
        match &self.failure {
            Some(failure) if self.problem.is_none() => Some(format!(
                "{}; nothing else is left, so it is read, and takes no writes",
                failure.advice(&self.path)
            )),
            Some(failure) => Some(failure.advice(&self.path)),
            None => self.problem.clone(),
        }
    }

    /// It answers and is what it should be.
    pub fn present(&mut self, summary: DriveSummary) {
        self.problem = None;
        self.held_out = false;
        self.suspect_since = None;
        self.scores = self.scores.step(
            summary.total_bytes,
            summary.free_bytes,
            summary.stats.read_p95_us,
            summary.stats.sync_p95_us,
        );
        self.summary = Some(summary);
        if self.failure.is_some() {
            // Readable and not writable.
            self.state = DriveState::Suspect;
            return;
        }
        // What brought it back into service is the order that once accepted it: the label proves that order.
        let event = if self.state == DriveState::Suspect { DriveEvent::Probed } else { DriveEvent::Accepted };
        self.apply(event);
        if self.leaving {
            self.apply(DriveEvent::DrainOrdered);
        }
    }

    /// It is gone or carries the wrong label. True where that is news.
    pub fn lost(&mut self, now: Duration, reason: String) -> bool {
        let news = self.problem.is_none();
        self.problem = Some(reason);
        self.apply(DriveEvent::Lost);
        if self.state == DriveState::Suspect {
            let since = *self.suspect_since.get_or_insert(now);
            if now.saturating_sub(since) >= FAILING_AFTER {
                self.apply(DriveEvent::Failed);
                return true;
            }
        }
        news
    }

    /// A read, write or sync failed: out of service until somebody orders otherwise. True where that is news.
    pub fn failed(&mut self, at: Timestamp, reason: String) -> bool {
        let news = !self.held_out;
        self.problem = Some(reason.clone());
        self.failure.get_or_insert(DriveFailure { at, reason });
        self.held_out = true;
        self.apply(DriveEvent::Failed);
        news
    }

    /// Ordered to leave.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.apply(DriveEvent::DrainOrdered);
    }

    fn apply(&mut self, event: DriveEvent) {
        if let Some(next) = self.state.after(event) {
            if next != self.state {
                tracing::info!(drive = %self.id, path = %self.path.display(), from = ?self.state, to = ?next, "drive state");
            }
            self.state = next;
        }
    }

    fn snapshot(&self, node: NodeId, own_domain: bool, all_locked: bool) -> DriveSnapshot {
        let (total_bytes, free_bytes) =
            self.summary.as_ref().map_or((0, 0), |summary| (summary.total_bytes, summary.free_bytes));
        let file_system = match &self.summary {
            Some(summary) if !own_domain => FailureDomain(summary.file_system.clone()),
            // A drive that is not there shares its fate with nobody, as far as one can know.
            _ => FailureDomain(format!("drive {}", self.id)),
        };
        let answering = self.problem.is_none();
        let locked = self.locked || all_locked || !self.trusted();
        DriveSnapshot {
            id: self.id,
            node,
            file_system,
            state: self.state,
            read_score: if answering { self.scores.read } else { Score::LOCKED },
            write_score: if locked { Score::LOCKED } else { self.scores.write },
            total_bytes,
            free_bytes: free_bytes / ROOM_STEP_BYTES * ROOM_STEP_BYTES,
        }
    }
}

/// The drives, and how they are told to the rest of the node.
pub struct DriveTable {
    node: NodeId,
    drives_are_domains: bool,
    all_have_aes: bool,
    all_locked: bool,
    drives: Vec<WatchedDrive>,
    published: GridSnapshot,
}

impl DriveTable {
    /// An empty table.
    pub fn new(node: NodeId, drives_are_domains: bool, all_have_aes: bool) -> Self {
        let published = GridSnapshot { epoch: 0, drives: Vec::new(), all_have_aes };
        let (all_locked, drives) = (false, Vec::new());
        Self { node, drives_are_domains, all_have_aes, all_locked, drives, published }
    }

    /// No new chunks for any drive, or each as its own state says.
    pub fn lock_all(&mut self, locked: bool) {
        self.all_locked = locked;
    }

    /// The drive with this id.
    pub fn get_mut(&mut self, id: DriveId) -> Option<&mut WatchedDrive> {
        self.drives.iter_mut().find(|drive| drive.id == id)
    }

    /// All drives.
    pub fn drives(&self) -> &[WatchedDrive] {
        &self.drives
    }

    /// Adds a drive, or replaces what was known under its id.
    pub fn insert(&mut self, drive: WatchedDrive) {
        self.drives.retain(|known| known.id != drive.id);
        self.drives.push(drive);
        self.drives.sort_by_key(|drive| drive.id);
    }

    /// Forgets a drive.
    pub fn remove(&mut self, id: DriveId) {
        self.drives.retain(|drive| drive.id != id);
    }

    /// A snapshot with the next epoch, where anything changed since the last one.
    pub fn changed_snapshot(&mut self) -> Option<GridSnapshot> {
        let drives: Vec<DriveSnapshot> = self
            .drives
            .iter()
            .filter(|drive| drive.state != DriveState::Removed)
            .map(|drive| drive.snapshot(self.node, self.drives_are_domains, self.all_locked))
            .collect();
        if self.published.epoch > 0 && drives == self.published.drives {
            return None;
        }
        self.published =
            GridSnapshot { epoch: self.published.epoch + 1, drives, all_have_aes: self.all_have_aes };
        Some(self.published.clone())
    }
}

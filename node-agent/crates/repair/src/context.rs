//! What all workers of a node share.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chunk_store::{ChunkStore, Drive};
use grid_types::{
    BucketName, ChunkKey, DriveId, DriveState, GridSnapshot, NodeId, ProfileChoice, SegmentId, ShardId,
};
use parking_lot::Mutex;
use segment_store::{DriveHandle, SegmentStore};
use sys::{Clock, Random};

use crate::registry::Load;
use crate::{RepairConfig, SegmentRows};

/// Does this node lead a shard of the metadata?
pub(crate) type LeadsShard = Arc<dyn Fn(ShardId) -> bool + Send + Sync>;

/// What does this storage class stand for?
pub(crate) type ChoiceOfClass = Arc<dyn Fn(&str) -> Option<ProfileChoice> + Send + Sync>;

/// See `RepairContext::prospects`.
pub(crate) type Prospects = Vec<(DriveId, DriveState, bool, bool)>;

/// Damaged chunks that the scrub found and nobody rebuilt yet; the next pass finds what does not fit.
const DAMAGED_MAX: usize = 4_096;
/// What a worker does that goes by ages while nobody vouches for the time.
pub(crate) const WAITS_FOR_TIME: &str = "waits until the time of this node is proven";

/// What all workers of a node share.
pub struct RepairContext {
    /// The drives of this node.
    pub chunks: ChunkStore,
    /// Reads and writes segments; holds the picture of the grid.
    pub segments: SegmentStore,
    /// The metadata.
    pub rows: Arc<dyn SegmentRows>,
    /// Stamps and ages.
    pub clock: Arc<dyn Clock>,
    /// Draws drives.
    pub random: Arc<dyn Random>,
    /// How busy the foreground is, 0 to 1.
    pub load: Load,
    /// Periods, ages, pace.
    pub config: RepairConfig,
    /// See `led_by`.
    leads: LeadsShard,
    /// See `with_choices`.
    choices: Option<ChoiceOfClass>,
    /// See `with_choices`.
    pub(crate) spared: Vec<BucketName>,
    inner: Inner,
}

#[derive(Default)]
struct Inner {
    damaged: Mutex<VecDeque<(ChunkKey, DriveId)>>,
    /// Segments whose places are being changed: one worker at a time.
    moving: Mutex<HashSet<SegmentId>>,
    emptied: Mutex<BTreeSet<DriveId>>,
    unrecoverable: AtomicU64,
}

impl RepairContext {
    /// Over this node's stores. `load` says how busy the foreground is, 0 to 1.
    pub fn new(
        chunks: ChunkStore,
        segments: SegmentStore,
        rows: Arc<dyn SegmentRows>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        load: impl Fn() -> f64 + Send + Sync + 'static,
        config: RepairConfig,
    ) -> Self {
        Self {
            chunks,
            segments,
            rows,
            clock,
            random,
            load: Arc::new(load),
            config,
            leads: Arc::new(|_| true),
            choices: None,
            spared: Vec::new(),
            inner: Inner::default(),
        }
    }

    /// Where several nodes hold the metadata: says which shards this node leads now. What the rows of a shard ask for
    /// (garbage, rebuilds, drains, uplifts) is done by the node that leads it, so that no two do the same; what a drive asks for
    /// (scrub, inventory, compaction) by the node that holds it. Unless told otherwise, this node leads all.
    #[must_use]
    pub fn led_by(mut self, leads: impl Fn(ShardId) -> bool + Send + Sync + 'static) -> Self {
        self.leads = Arc::new(leads);
        self
    }

    /// Says which profile a storage class stands for; `None` for a class that is not known. `uplift` touches only what was
    /// written as `auto`, and without this nothing at all.
    ///
    /// Buckets of these names are spared: their segments are known by their ids elsewhere than in rows, as the backups of
    /// the metadata are in a file on every drive, and re-coding gives a segment another id.
    #[must_use]
    pub fn with_choices(
        mut self,
        choices: impl Fn(&str) -> Option<ProfileChoice> + Send + Sync + 'static,
        spared: Vec<BucketName>,
    ) -> Self {
        self.choices = Some(Arc::new(choices));
        self.spared = spared;
        self
    }

    pub(crate) fn knows_choices(&self) -> bool {
        self.choices.is_some()
    }

    /// What segments of this storage class were meant to be.
    pub(crate) fn choice_of(&self, storage_class: &str) -> Option<ProfileChoice> {
        self.choices.as_ref().and_then(|choices| choices(storage_class))
    }

    /// Is the work of this shard this node's now?
    pub(crate) fn leads(&self, shard: ShardId) -> bool {
        (self.leads)(shard)
    }

    /// Does this node lead whatever there is? Then no other one changes the place of a chunk.
    pub(crate) fn leads_all(&self) -> bool {
        self.rows.shards().into_iter().all(|shard| self.leads(shard))
    }

    /// Is this another node than the one that we are on?
    pub(crate) fn is_others(&self, node: NodeId) -> bool {
        self.segments.drives().own().is_some_and(|own| own != node)
    }

    /// The shards whose work is this node's now.
    pub(crate) fn led_shards(&self) -> Vec<ShardId> {
        let mut shards = self.rows.shards();
        shards.retain(|shard| self.leads(*shard));
        shards
    }

    pub(crate) fn grid(&self) -> Arc<GridSnapshot> {
        self.segments.grid().load()
    }

    /// The drive, if it can be worked with now: one of this node that is open and in service, or one of another node
    /// that the grid sees in service and whose node did not just fail to answer.
    pub(crate) fn in_service(&self, id: DriveId) -> Option<DriveHandle> {
        let drive = self.segments.drives().drive(id)?;
        let seen = |state: DriveState| matches!(state, DriveState::Active | DriveState::Draining);
        let here = drive.is_local() || self.grid().drive(id).is_some_and(|drive| seen(drive.state));
        (here && drive.out_of_service().is_none()).then_some(drive)
    }

    /// A drive of this node, if it is open and in service.
    pub(crate) fn own_in_service(&self, id: DriveId) -> Option<Drive> {
        self.chunks.drive(id).filter(|drive| drive.out_of_service().is_none())
    }

    /// Drives here that are in service, and that the grid lets us read.
    pub(crate) fn readable_drives(&self) -> Vec<Drive> {
        let grid = self.grid();
        let readable = |drive: &Drive| grid.drive(drive.id()).is_some_and(|seen| seen.state.readable());
        let mut drives = self.chunks.drives();
        drives.retain(|drive| drive.out_of_service().is_none() && readable(drive));
        drives.sort_by_key(Drive::id);
        drives
    }

    /// Drives in this state, as the grid sees them.
    pub(crate) fn drives_in(&self, state: DriveState) -> Vec<DriveId> {
        self.grid().drives.iter().filter(|drive| drive.state == state).map(|drive| drive.id).collect()
    }

    /// The drives with what decides whether a chunk can be read from or written to them: when this changes, what could
    /// not be done before may be possible.
    pub(crate) fn prospects(&self) -> Prospects {
        let grid = self.grid();
        let mut prospects: Prospects = grid
            .drives
            .iter()
            .map(|drive| (drive.id, drive.state, drive.writable(), drive.readable()))
            .collect();
        prospects.sort_by_key(|(id, ..)| *id);
        prospects
    }

    /// Queues a damaged chunk for `rebuild`.
    pub(crate) fn note_damaged(&self, chunk: ChunkKey, drive: DriveId) {
        let mut damaged = self.inner.damaged.lock();
        if damaged.len() < DAMAGED_MAX && !damaged.contains(&(chunk, drive)) {
            damaged.push_back((chunk, drive));
        }
    }

    /// Chunks found damaged by reads and by the scrub.
    pub(crate) fn take_damaged(&self) -> Vec<(ChunkKey, DriveId)> {
        let mut damaged = self.segments.take_damaged();
        damaged.extend(self.inner.damaged.lock().drain(..));
        damaged
    }

    /// Locks the places of a segment; `None` while another worker changes them.
    pub(crate) fn lock_segment(self: &Arc<Self>, segment: SegmentId) -> Option<SegmentLock> {
        self.inner.moving.lock().insert(segment).then(|| SegmentLock { context: self.clone(), segment })
    }

    pub(crate) fn note_emptied(&self, drive: DriveId) {
        self.inner.emptied.lock().insert(drive);
    }

    pub(crate) fn take_emptied(&self) -> Vec<DriveId> {
        std::mem::take(&mut *self.inner.emptied.lock()).into_iter().collect()
    }

    pub(crate) fn set_unrecoverable(&self, segments: u64) {
        self.inner.unrecoverable.store(segments, Ordering::Relaxed);
    }

    pub(crate) fn unrecoverable(&self) -> u64 {
        self.inner.unrecoverable.load(Ordering::Relaxed)
    }
}

/// Held while the places of one segment change.
pub(crate) struct SegmentLock {
    context: Arc<RepairContext>,
    segment: SegmentId,
}

impl Drop for SegmentLock {
    fn drop(&mut self) {
        self.context.inner.moving.lock().remove(&self.segment);
    }
}

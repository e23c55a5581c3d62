//! `rebuild`: chunks that reads or the scrub found bad, chunks on failing drives and on nodes that stay away, chunks that
//! were never written. The segments that can lose the least come first.
//!
//! Damaged chunks are rebuilt in place by the node that met them. What moves a chunk in its row is done by the node that
//! leads the row's shard alone, so that no two nodes choose places for one segment at once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chunk_store::ChunkError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ChunkKey, DriveId, DriveState, Segment, ShardId};
use segment_store::SegmentError;

use crate::context::RepairContext;
use crate::mover::{Moved, Task, Undone, move_elsewhere, rebuild_in_place, take_out_of_row};
use crate::{Counters, RepairError, Step, Worker};

/// Where chunks to rebuild come from.
enum Source {
    Lost { shard: ShardId, drive: DriveId, cursor: Option<Vec<u8>> },
    Incomplete { shard: ShardId, cursor: Option<Vec<u8>> },
}

impl Source {
    fn shard(&self) -> ShardId {
        match self {
            Self::Lost { shard, .. } | Self::Incomplete { shard, .. } => *shard,
        }
    }
}

/// Chunks known to wait, at about 500 bytes; more are fetched when there is room. The most endangered of so many come
/// first.
const TASKS_MAX: usize = 2_048;

/// Orders tasks: how many more chunks the segment can lose, then the order of finding.
type Urgency = (usize, u64);

pub(crate) struct Rebuild {
    context: Arc<RepairContext>,
    damaged: VecDeque<(ChunkKey, DriveId)>,
    sources: VecDeque<Source>,
    tasks: BTreeMap<Urgency, (ShardId, Task)>,
    found: u64,
    /// A page could not be fetched: first what is known.
    stuck: bool,
    in_pass: bool,
    undone: Undone,
    /// On the clock since boot.
    born: Duration,
    /// When a drive was first seen failing or away, on the clock since boot.
    missing: BTreeMap<DriveId, (DriveState, Duration)>,
    /// Those whose chunks are rebuilt in this pass.
    lost_drives: Vec<DriveId>,
    /// The operator wants a pass now, whatever the grace.
    ordered: bool,
    lost: u64,
    counters: Counters,
}

impl Rebuild {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self {
            born: context.clock.since_boot(),
            context,
            damaged: VecDeque::new(),
            sources: VecDeque::new(),
            tasks: BTreeMap::new(),
            found: 0,
            stuck: false,
            in_pass: false,
            undone: Undone::default(),
            missing: BTreeMap::new(),
            lost_drives: Vec::new(),
            ordered: false,
            lost: 0,
            counters: Counters::default(),
        }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        self.damaged.extend(self.context.take_damaged());
        self.counters.waiting = (self.damaged.len() + self.tasks.len()) as u64;
        if let Some((chunk, drive)) = self.damaged.pop_front() {
            return match self.repair_damaged(chunk, drive).await {
                Err(error @ RepairError::Meta(_)) => {
                    // The metadata is away: keep it for later.
                    self.damaged.push_front((chunk, drive));
                    Err(error)
                }
                result => {
                    self.account(result);
                    Ok(Step::Busy)
                }
            };
        }
        let room = self.tasks.is_empty() || (self.tasks.len() < TASKS_MAX && !self.stuck);
        if room && let Some(source) = self.sources.pop_front() {
            self.stuck = true;
            self.fetch(source).await?;
            self.stuck = false;
            return Ok(Step::Busy);
        }
        if let Some((urgency, (shard, task))) = self.tasks.pop_first() {
            if !self.context.leads(shard) {
                return Ok(Step::Busy);
            }
            let result = move_elsewhere(&self.context, &task, false).await;
            if let Err(error @ RepairError::Meta(_)) = result {
                self.tasks.insert(urgency, (shard, task));
                return Err(error);
            }
            self.account(result);
            return Ok(Step::Busy);
        }
        if self.in_pass {
            self.in_pass = false;
            self.context.set_unrecoverable(self.lost);
            self.lost = 0;
            self.undone.end_pass(&self.context);
            return Ok(Step::Idle(self.context.config.rebuild_every));
        }
        let lost = self.lost_drives();
        let config = &self.context.config;
        let every = config.rebuild_every;
        let young = self.context.clock.since_boot().saturating_sub(self.born) < config.rebuild_settle;
        if !std::mem::take(&mut self.ordered) && (young || self.undone.waits(&self.context, &lost)) {
            return Ok(Step::Idle(every));
        }
        self.begin_pass(&lost);
        Ok(if self.sources.is_empty() { Step::Idle(every) } else { Step::Busy })
    }

    /// Drives that have been failing for longer than the grace, and those of other nodes that have been away for too
    /// long.
    fn lost_drives(&mut self) -> Vec<DriveId> {
        let now = self.context.clock.since_boot();
        let config = &self.context.config;
        let grid = self.context.grid();
        let mut lost = Vec::new();
        let mut missing = BTreeMap::new();
        for drive in &grid.drives {
            let grace = match drive.state {
                DriveState::Failing if self.ordered => Duration::ZERO,
                DriveState::Failing => config.failing_grace,
                // Whether one of its own drives is lost for good, a node's watch decides.
                DriveState::Suspect if self.context.is_others(drive.node) => config.away_before_rebuild,
                _ => continue,
            };
            let known = self.missing.get(&drive.id).filter(|(state, _)| *state == drive.state);
            let since = known.map_or(now, |(_, since)| *since);
            missing.insert(drive.id, (drive.state, since));
            if now.saturating_sub(since) >= grace {
                lost.push(drive.id);
            }
        }
        self.missing = missing;
        lost
    }

    fn begin_pass(&mut self, lost: &[DriveId]) {
        self.undone.begin_pass(&self.context, lost);
        self.lost_drives = lost.to_vec();
        let shards = self.context.led_shards();
        for &shard in &shards {
            self.sources.extend(lost.iter().map(|&drive| Source::Lost { shard, drive, cursor: None }));
        }
        self.sources.extend(shards.iter().map(|&shard| Source::Incomplete { shard, cursor: None }));
        self.in_pass = true;
    }

    async fn fetch(&mut self, source: Source) -> Result<(), RepairError> {
        let limit = self.context.config.page;
        let rows = &self.context.rows;
        let fetched = match &source {
            Source::Lost { shard, drive, cursor } => {
                rows.segments_on_drive(*shard, *drive, cursor.clone(), limit).await
            }
            Source::Incomplete { shard, cursor } => {
                rows.incomplete_segments(*shard, cursor.clone(), limit).await
            }
        };
        let (page, next) = match fetched {
            Ok(page) => page,
            Err(error) => {
                // The other shards may answer.
                self.sources.push_back(source);
                return Err(error.into());
            }
        };
        let shard = source.shard();
        let wanted = match source {
            Source::Lost { drive, .. } => Some(drive),
            Source::Incomplete { .. } => None,
        };
        for (bucket, key, row) in page {
            let indexes =
                (0u8..).zip(&row.segment.drives).filter(|(_, at)| **at == wanted).map(|(index, _)| index);
            let margin = self.margin(&row.segment);
            for index in indexes {
                self.found += 1;
                let task = Task { bucket, key: key.clone(), row: row.clone(), index };
                self.tasks.insert((margin, self.found), (shard, task));
            }
        }
        if next.is_some() {
            self.sources.push_front(match source {
                Source::Lost { shard, drive, .. } => Source::Lost { shard, drive, cursor: next },
                Source::Incomplete { shard, .. } => Source::Incomplete { shard, cursor: next },
            });
        }
        Ok(())
    }

    /// How many more chunks the segment can lose, as the grid is now.
    fn margin(&self, segment: &Segment) -> usize {
        let grid = self.context.grid();
        let there = |drive: &DriveId| {
            grid.drive(*drive).is_some_and(|seen| seen.state.readable()) && !self.lost_drives.contains(drive)
        };
        let chunks = segment.drives.iter().flatten().filter(|drive| there(drive)).count();
        chunks.saturating_sub(segment.profile.data_chunks())
    }

    async fn repair_damaged(&mut self, chunk: ChunkKey, drive: DriveId) -> Result<Moved, RepairError> {
        let Some((bucket, key, row)) = self.context.rows.find_segment(chunk.segment).await? else {
            return Ok(Moved::Overtaken);
        };
        let task = Task { bucket, key, row, index: chunk.index };
        // Lost drives are seen to by their state; what the row has moved needs nothing.
        let (true, Some(open)) = (task.holder() == Some(drive), self.context.in_service(drive)) else {
            return Ok(Moved::Overtaken);
        };
        match open.verify(chunk).await {
            Ok(()) => return Ok(Moved::Overtaken),
            Err(ChunkError::OutOfService { .. } | ChunkError::Unreachable { .. }) => {
                return Ok(Moved::Overtaken);
            }
            Err(error) => tracing::warn!(%chunk, %drive, %error, "a damaged chunk is rebuilt"),
        }
        match rebuild_in_place(&self.context, &task).await {
            // The node is away: its state decides.
            Err(RepairError::Segment(SegmentError::Chunk(ChunkError::Unreachable { .. }))) => {
                Ok(Moved::Overtaken)
            }
            Err(RepairError::Segment(SegmentError::Chunk(error))) => {
                tracing::warn!(%chunk, %drive, %error, "cannot be rebuilt in place, goes to another drive");
                if self.context.leads_all() {
                    return move_elsewhere(&self.context, &task, false).await;
                }
                let needed = task.row.segment.profile.data_chunks();
                take_out_of_row(&self.context, &task, |good| good.len() >= needed).await
            }
            result => result,
        }
    }

    fn account(&mut self, result: Result<Moved, RepairError>) {
        match result {
            Ok(Moved::Done) => {
                self.counters.done += 1;
                self.counters.detail = "rebuilding chunks".to_owned();
            }
            Ok(Moved::NoDrive) => {
                self.undone.note();
                self.counters.failed("no other drive may take a chunk now");
            }
            Ok(Moved::Overtaken) => {}
            Err(error) => {
                if matches!(error, RepairError::Segment(SegmentError::Lost { .. })) {
                    self.lost += 1;
                }
                self.undone.note();
                tracing::error!(%error, "a chunk cannot be rebuilt");
                self.counters.failed(error);
            }
        }
    }
}

impl Worker for Rebuild {
    fn name(&self) -> &'static str {
        "rebuild"
    }

    fn purpose(&self) -> &'static str {
        "writes lost, rotten and missing chunks anew"
    }

    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
        self.work().boxed()
    }

    fn counters(&self) -> Counters {
        self.counters.clone()
    }

    fn run_now(&mut self) {
        self.ordered = true;
    }
}

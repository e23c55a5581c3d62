//! `rebuild`: chunks that reads or the scrub found bad, chunks on failing drives, chunks that were never written.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chunk_store::ChunkError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ChunkKey, DriveId, DriveState, ShardId};
use segment_store::SegmentError;

use crate::context::RepairContext;
use crate::mover::{Moved, Task, Undone, move_elsewhere, rebuild_in_place};
use crate::{Counters, RepairError, Step, Worker};

/// Where chunks to rebuild come from.
enum Source {
    Lost { shard: ShardId, drive: DriveId, cursor: Option<Vec<u8>> },
    Incomplete { shard: ShardId, cursor: Option<Vec<u8>> },
}

pub(crate) struct Rebuild {
    context: Arc<RepairContext>,
    damaged: VecDeque<(ChunkKey, DriveId)>,
    sources: VecDeque<Source>,
    tasks: VecDeque<Task>,
    in_pass: bool,
    undone: Undone,
    /// When a drive was first seen failing, on the clock since boot.
    failing: BTreeMap<DriveId, Duration>,
    /// The operator wants a pass now, whatever the grace.
    ordered: bool,
    lost: u64,
    counters: Counters,
}

impl Rebuild {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self {
            context,
            damaged: VecDeque::new(),
            sources: VecDeque::new(),
            tasks: VecDeque::new(),
            in_pass: false,
            undone: Undone::default(),
            failing: BTreeMap::new(),
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
        if let Some(task) = self.tasks.pop_front() {
            let result = move_elsewhere(&self.context, &task, false).await;
            if let Err(error @ RepairError::Meta(_)) = result {
                self.tasks.push_front(task);
                return Err(error);
            }
            self.account(result);
            return Ok(Step::Busy);
        }
        if let Some(source) = self.sources.pop_front() {
            self.fetch(source).await?;
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
        if !std::mem::take(&mut self.ordered) && self.undone.waits(&self.context, &lost) {
            return Ok(Step::Idle(self.context.config.rebuild_every));
        }
        self.begin_pass(&lost);
        Ok(if self.sources.is_empty() { Step::Idle(self.context.config.rebuild_every) } else { Step::Busy })
    }

    /// Drives that have been failing for longer than the grace.
    fn lost_drives(&mut self) -> Vec<DriveId> {
        let now = self.context.clock.since_boot();
        let failing = self.context.drives_in(DriveState::Failing);
        self.failing.retain(|drive, _| failing.contains(drive));
        let grace = if self.ordered { Duration::ZERO } else { self.context.config.failing_grace };
        let mut lost = Vec::new();
        for drive in failing {
            let since = *self.failing.entry(drive).or_insert(now);
            if now.saturating_sub(since) >= grace {
                lost.push(drive);
            }
        }
        lost
    }

    fn begin_pass(&mut self, lost: &[DriveId]) {
        self.undone.begin_pass(&self.context, lost);
        let shards = self.context.rows.shards();
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
                self.sources.push_front(source);
                return Err(error.into());
            }
        };
        let wanted = match source {
            Source::Lost { drive, .. } => Some(drive),
            Source::Incomplete { .. } => None,
        };
        for (bucket, key, row) in page {
            let indexes =
                (0u8..).zip(&row.segment.drives).filter(|(_, at)| **at == wanted).map(|(index, _)| index);
            self.tasks.extend(indexes.map(|index| Task {
                bucket,
                key: key.clone(),
                row: row.clone(),
                index,
            }));
        }
        if next.is_some() {
            self.sources.push_front(match source {
                Source::Lost { shard, drive, .. } => Source::Lost { shard, drive, cursor: next },
                Source::Incomplete { shard, .. } => Source::Incomplete { shard, cursor: next },
            });
        }
        Ok(())
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
            Err(ChunkError::OutOfService { .. }) => return Ok(Moved::Overtaken),
            Err(error) => tracing::warn!(%chunk, %drive, %error, "a damaged chunk is rebuilt"),
        }
        match rebuild_in_place(&self.context, &task).await {
            Err(RepairError::Segment(SegmentError::Chunk(error))) => {
                tracing::warn!(%chunk, %drive, %error, "cannot be rebuilt in place, goes to another drive");
                move_elsewhere(&self.context, &task, false).await
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

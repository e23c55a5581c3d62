//! `drain`: moves all chunks away from drives that were ordered to leave, readable or not, of this node or another. The
//! rows of a shard are moved by the node that leads it; whether a drive is empty takes a look at the rows of all shards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{DriveId, DriveState, ShardId};

use crate::context::RepairContext;
use crate::mover::{Moved, Task, Undone, move_elsewhere};
use crate::{Counters, RepairError, Step, Worker};

pub(crate) struct Drain {
    context: Arc<RepairContext>,
    sources: VecDeque<(ShardId, DriveId, Option<Vec<u8>>)>,
    tasks: VecDeque<(ShardId, Task)>,
    in_pass: bool,
    undone: Undone,
    /// The operator wants a pass now.
    ordered: bool,
    /// Draining drives, and since when no row has named them.
    draining: BTreeMap<DriveId, Option<Duration>>,
    counters: Counters,
}

impl Drain {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self {
            context,
            sources: VecDeque::new(),
            tasks: VecDeque::new(),
            in_pass: false,
            undone: Undone::default(),
            ordered: false,
            draining: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        self.counters.waiting = self.tasks.len() as u64;
        if let Some((shard, task)) = self.tasks.pop_front() {
            if !self.context.leads(shard) {
                return Ok(Step::Busy);
            }
            match move_elsewhere(&self.context, &task, true).await {
                Ok(Moved::Done) => self.counters.done += 1,
                Ok(Moved::Overtaken) => {}
                Ok(Moved::NoDrive) => {
                    self.undone.note();
                    self.counters.failed("no other drive may take a chunk now");
                }
                Err(error @ RepairError::Meta(_)) => {
                    self.tasks.push_front((shard, task));
                    return Err(error);
                }
                Err(error) => {
                    self.undone.note();
                    self.counters.failed(error);
                }
            }
            return Ok(Step::Busy);
        }
        if let Some((shard, drive, cursor)) = self.sources.pop_front() {
            let limit = self.context.config.page;
            let fetched = self.context.rows.segments_on_drive(shard, drive, cursor.clone(), limit).await;
            let (page, next) = match fetched {
                Ok(page) => page,
                Err(error) => {
                    self.sources.push_front((shard, drive, cursor));
                    return Err(error.into());
                }
            };
            if !page.is_empty() {
                self.draining.insert(drive, None);
                self.counters.detail = format!("emptying drive {drive}");
            }
            if !self.context.leads(shard) {
                // Another node moves them; here it only counts that the drive is not empty yet.
                return Ok(Step::Busy);
            }
            for (bucket, key, row) in page {
                let here = (0u8..).zip(&row.segment.drives).filter(|(_, at)| **at == Some(drive));
                let indexes = here.map(|(index, _)| index);
                self.tasks.extend(
                    indexes.map(|index| (shard, Task { bucket, key: key.clone(), row: row.clone(), index })),
                );
            }
            if next.is_some() {
                self.sources.push_front((shard, drive, next));
            }
            return Ok(Step::Busy);
        }
        let every = self.context.config.drain_every;
        if std::mem::take(&mut self.in_pass) {
            self.end_pass();
            self.undone.end_pass(&self.context);
            return Ok(Step::Idle(every));
        }
        if !std::mem::take(&mut self.ordered) && self.undone.waits(&self.context, &[]) {
            return Ok(Step::Idle(every));
        }
        self.undone.begin_pass(&self.context, &[]);
        let draining = self.context.drives_in(DriveState::Draining);
        self.draining.retain(|drive, _| draining.contains(drive));
        let now = self.context.clock.since_boot();
        let shards = self.context.rows.shards();
        // A node drains when all of its drives do.
        for &drive in &draining {
            // Taken back when the pass finds a row.
            self.draining.entry(drive).or_default().get_or_insert(now);
            self.sources.extend(shards.iter().map(|&shard| (shard, drive, None)));
        }
        self.in_pass = !draining.is_empty();
        Ok(if self.in_pass { Step::Busy } else { Step::Idle(every) })
    }

    fn end_pass(&mut self) {
        let now = self.context.clock.since_boot();
        for (drive, since) in &self.draining {
            // The node that holds it says so, and the one that leads the root shard for nodes that are gone.
            let mine = self.context.chunks.drive(*drive).is_some() || self.context.leads(ShardId::ROOT);
            let settled =
                since.is_some_and(|since| now.saturating_sub(since) >= self.context.config.drain_settle);
            if mine && settled {
                self.counters.detail = format!("drive {drive} is empty");
                self.context.note_emptied(*drive);
            }
        }
    }
}

impl Worker for Drain {
    fn name(&self) -> &'static str {
        "drain"
    }

    fn purpose(&self) -> &'static str {
        "moves all chunks away from drives that leave"
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

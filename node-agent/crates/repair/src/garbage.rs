//! `collect-garbage`: removes the chunks of deleted and overwritten versions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ChunkKey, DriveId, ShardId, Timestamp};

use sys::TimeTrust;

use crate::context::{RepairContext, WAITS_FOR_TIME};
use crate::{Counters, RepairError, Step, Worker};

/// Rows of the widest page; what lies behind so many rows that wait for an absent drive waits as well.
const PAGE_MAX: usize = 16_384;

pub(crate) struct CollectGarbage {
    context: Arc<RepairContext>,
    /// Rows of the next page.
    limit: usize,
    shards: VecDeque<ShardId>,
    in_pass: bool,
    counters: Counters,
}

impl CollectGarbage {
    pub fn new(context: Arc<RepairContext>) -> Self {
        let limit = context.config.page;
        Self { context, limit, shards: VecDeque::new(), in_pass: false, counters: Counters::default() }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        if self.shards.is_empty() {
            let every = self.context.config.garbage_every;
            // Before the drives are known every one of them would look like removed.
            if std::mem::take(&mut self.in_pass) || self.context.grid().drives.is_empty() {
                return Ok(Step::Idle(every));
            }
            // Ages by a clock that jumps when it is proven would be wrong by the jump. Grid time runs on, and may be all there is.
            if self.context.clock.reading().trust == TimeTrust::Unproven {
                WAITS_FOR_TIME.clone_into(&mut self.counters.detail);
                return Ok(Step::Idle(every));
            }
            if self.counters.detail == WAITS_FOR_TIME {
                self.counters.detail.clear();
            }
            self.shards.extend(self.context.led_shards());
            self.in_pass = true;
        }
        let Some(&shard) = self.shards.front() else { return Ok(Step::Busy) };
        if !self.context.leads(shard) {
            // Another node leads it by now.
            self.shards.pop_front();
            return Ok(Step::Busy);
        }
        let more = self.collect(shard).await?;
        if !more {
            self.shards.pop_front();
        }
        Ok(Step::Busy)
    }

    /// One page of one shard; true when more may follow.
    async fn collect(&mut self, shard: ShardId) -> Result<bool, RepairError> {
        let now = self.context.clock.now();
        let age = u64::try_from(self.context.config.garbage_age.as_micros()).unwrap_or(u64::MAX);
        let before = Timestamp(now.0.saturating_sub(age));
        let limit = self.limit;
        let rows = self.context.rows.garbage(shard, before, limit).await?;
        let grid = self.context.grid();
        let mut by_drive: BTreeMap<DriveId, Vec<ChunkKey>> = BTreeMap::new();
        for row in &rows {
            for (chunk, drive) in row.segment.chunks() {
                by_drive.entry(drive).or_default().push(chunk);
            }
        }
        let mut unconfirmed = BTreeSet::new();
        for (id, chunks) in by_drive {
            // A drive that left the grid took its chunks with it.
            if grid.drive(id).is_none() && self.context.chunks.drive(id).is_none() {
                continue;
            }
            let count = chunks.len() as u64;
            match self.context.in_service(id) {
                Some(drive) => match drive.remove(chunks).await {
                    Ok(()) => self.counters.done += count,
                    Err(error) => {
                        self.counters.failed(error);
                        unconfirmed.insert(id);
                    }
                },
                None => drop(unconfirmed.insert(id)),
            }
        }
        let waits = |row: &&meta_store::rows::GarbageRow| {
            row.segment.drives.iter().flatten().any(|drive| unconfirmed.contains(drive))
        };
        self.counters.waiting = rows.iter().filter(waits).count() as u64;
        let done: Vec<u64> = rows.iter().filter(|row| !waits(row)).map(|row| row.sequence).collect();
        let full = rows.len() == limit;
        if done.is_empty() {
            // Rows that wait for an absent drive stay first: look beyond them.
            let wider = full && limit < PAGE_MAX;
            self.limit = if wider { (limit * 4).min(PAGE_MAX) } else { self.context.config.page };
            return Ok(wider);
        }
        self.context.rows.garbage_done(shard, done).await?;
        if !full {
            self.limit = self.context.config.page;
        }
        Ok(full)
    }
}

impl Worker for CollectGarbage {
    fn name(&self) -> &'static str {
        "collect-garbage"
    }

    fn purpose(&self) -> &'static str {
        "removes the chunks of deleted and overwritten objects"
    }

    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
        self.work().boxed()
    }

    fn counters(&self) -> Counters {
        self.counters.clone()
    }
}

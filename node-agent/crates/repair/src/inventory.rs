//! `inventory`: finds chunks that nothing names, and has them declared dead before they go.
//!
//! Invariant: nothing goes on the strength of a read. A chunk without a row is only a reason to propose `Reap`, and only
//! what every shard declared dead is removed. A chunk whose row names another drive goes only under the segment's lock,
//! after the named one was read and verified. No pass begins while the clock is not proven.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chunk_store::Drive;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ChunkKey, DriveId, SegmentId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::context::{RepairContext, WAITS_FOR_TIME};
use crate::round::{DriveRound, share_before};
use crate::{Counters, RepairError, Step, Worker, state_file};

/// Its file on each drive.
pub(crate) const STATE_FILE: &str = "repair-inventory";

/// Between two looks at whether a pass is due.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// What is remembered of one drive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InventoryState {
    /// When the last pass ended.
    pub ended: Timestamp,
    /// Chunks that no row names here, and since when that is known.
    pub candidates: BTreeMap<ChunkKey, Timestamp>,
}

struct Pass {
    drive: Drive,
    known: BTreeMap<ChunkKey, Timestamp>,
    next: BTreeMap<ChunkKey, Timestamp>,
    cursor: Option<ChunkKey>,
}

/// What the rows say of a chunk on a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Named,
    /// The row names another drive (or none) for this index.
    Elsewhere,
    /// No row names the segment.
    Orphan,
}

pub(crate) struct Inventory {
    context: Arc<RepairContext>,
    pass: Option<Pass>,
    round: DriveRound,
    counters: Counters,
}

impl Inventory {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self { context, pass: None, round: DriveRound::default(), counters: Counters::default() }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        let Some(mut pass) = self.pass.take() else { return self.next_drive().await };
        if pass.drive.out_of_service().is_some() {
            return Ok(Step::Busy);
        }
        let page = pass.drive.list(pass.cursor, self.context.config.page).await?;
        let Some(last) = page.last().copied() else {
            let state = InventoryState { ended: self.context.clock.now(), candidates: pass.next };
            self.counters.waiting = state.candidates.len() as u64;
            self.counters.pass = None;
            state_file::save(&pass.drive, STATE_FILE, &state).await?;
            return Ok(Step::Busy);
        };
        match self.check_page(&mut pass, &page).await {
            Ok(()) => {
                pass.cursor = Some(last);
                self.counters.pass = Some(share_before(last));
                self.pass = Some(pass);
                Ok(Step::Busy)
            }
            Err(error) => {
                // The same page again, after a pause.
                self.pass = Some(pass);
                Err(error)
            }
        }
    }

    async fn next_drive(&mut self) -> Result<Step, RepairError> {
        let every = self.context.config.inventory_every;
        // A jump of the clock would end the lease of what is being written: see `candidates`.
        if self.context.clock.proven().is_none() {
            WAITS_FOR_TIME.clone_into(&mut self.counters.detail);
            return Ok(Step::Idle(every.min(LOOK_EVERY)));
        }
        if self.counters.detail == WAITS_FOR_TIME {
            self.counters.detail.clear();
        }
        let ordered = self.round.is_ordered();
        while let Some(drive) = self.round.next(&self.context) {
            let now = self.context.clock.now();
            let state: InventoryState = state_file::load(&drive, STATE_FILE).await.unwrap_or_default();
            if !ordered && state.ended <= now && now.since(state.ended) < every {
                continue;
            }
            self.counters.detail = format!("comparing drive {} with the rows", drive.id());
            self.pass = Some(Pass { drive, known: state.candidates, next: BTreeMap::new(), cursor: None });
            return Ok(Step::Busy);
        }
        Ok(Step::Idle(every.min(LOOK_EVERY)))
    }

    async fn standing(&self, chunk: ChunkKey, drive: DriveId) -> Result<Standing, RepairError> {
        Ok(match self.context.rows.find_segment(chunk.segment).await? {
            None => Standing::Orphan,
            Some((_, _, row)) => match row.segment.drives.get(usize::from(chunk.index)) {
                Some(Some(holder)) if *holder == drive => Standing::Named,
                _ => Standing::Elsewhere,
            },
        })
    }

    async fn check_page(&mut self, pass: &mut Pass, page: &[ChunkKey]) -> Result<(), RepairError> {
        let drive = pass.drive.id();
        let now = self.context.clock.now();
        let (mut orphans, mut strays) = (Vec::new(), Vec::new());
        for &chunk in page {
            let standing = self.standing(chunk, drive).await?;
            if standing == Standing::Named {
                continue;
            }
            let since = pass.known.get(&chunk).copied().unwrap_or(now);
            if now.since(since) < self.context.config.lease {
                if pass.next.len() < self.context.config.candidates_max {
                    pass.next.insert(chunk, since);
                }
            } else if standing == Standing::Orphan {
                orphans.push(chunk);
            } else {
                strays.push(chunk);
            }
        }
        if !orphans.is_empty() {
            let mut ids: Vec<SegmentId> = orphans.iter().map(|chunk| chunk.segment).collect();
            ids.dedup();
            let dead = self.context.rows.reap(ids).await?;
            orphans.retain(|chunk| dead.contains(&chunk.segment));
            self.counters.done += orphans.len() as u64;
            pass.drive.remove(orphans).await?;
        }
        for chunk in strays {
            if let Err(error) = self.remove_stray(&pass.drive, chunk).await {
                self.counters.failed(error);
            }
        }
        Ok(())
    }

    /// Removes a chunk that has moved, once the one that the row names has proved good.
    async fn remove_stray(&mut self, drive: &Drive, chunk: ChunkKey) -> Result<(), RepairError> {
        let Some(_lock) = self.context.lock_segment(chunk.segment) else { return Ok(()) };
        let Some((_, _, row)) = self.context.rows.find_segment(chunk.segment).await? else { return Ok(()) };
        let holder = row.segment.drives.get(usize::from(chunk.index)).copied().flatten();
        let Some(holder) = holder.filter(|holder| *holder != drive.id()) else { return Ok(()) };
        let Some(other) = self.context.in_service(holder) else { return Ok(()) };
        other.verify(chunk).await?;
        drive.remove(vec![chunk]).await?;
        self.counters.done += 1;
        // The lock is this node's alone: the one that leads the shard may have moved the chunk back here meanwhile.
        if self.standing(chunk, drive.id()).await? == Standing::Named {
            self.context.note_damaged(chunk, drive.id());
        }
        Ok(())
    }
}

impl Worker for Inventory {
    fn name(&self) -> &'static str {
        "inventory"
    }

    fn purpose(&self) -> &'static str {
        "removes chunks that nothing names any more"
    }

    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
        self.work().boxed()
    }

    fn counters(&self) -> Counters {
        self.counters.clone()
    }

    fn run_now(&mut self) {
        self.round.order();
    }
}

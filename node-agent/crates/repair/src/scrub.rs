//! `scrub`: reads every chunk of every drive once a month, and checks that every chunk that a row names is there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chunk_store::{ChunkError, Drive};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ChunkKey, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::context::RepairContext;
use crate::round::{DriveRound, share_before};
use crate::{Counters, RepairError, Step, Worker, state_file};

/// Its file on each drive.
pub(crate) const STATE_FILE: &str = "repair-scrub";
/// The state is saved after so many chunks: what a restart repeats at most.
const SAVE_CHUNKS: u64 = 512;
/// Drives are looked at for a pass that is due so often, or as often as passes are.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// How far the pass over one drive came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScrubState {
    /// When the pass began.
    pub begun: Timestamp,
    /// When it ended; `None` while it runs.
    pub ended: Option<Timestamp>,
    /// The last chunk read.
    pub cursor: Option<ChunkKey>,
    /// Chunks read in this pass.
    pub read: u64,
    /// Bad ones among them.
    pub bad: u64,
}

struct Pass {
    drive: Drive,
    state: ScrubState,
    unsaved: u64,
    page: VecDeque<ChunkKey>,
    /// All chunks were read: rows are compared now.
    rows: Option<VecDeque<(ShardId, Option<Vec<u8>>)>>,
}

pub(crate) struct Scrub {
    context: Arc<RepairContext>,
    pass: Option<Pass>,
    round: DriveRound,
    counters: Counters,
}

impl Scrub {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self { context, pass: None, round: DriveRound::default(), counters: Counters::default() }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        let Some(mut pass) = self.pass.take() else { return self.next_drive().await };
        if pass.drive.out_of_service().is_some() {
            return Ok(Step::Busy);
        }
        let ended = self.advance(&mut pass).await?;
        if ended {
            pass.state.ended = Some(self.context.clock.now());
            pass.state.cursor = None;
            let ScrubState { read, bad, .. } = pass.state;
            self.counters.detail = format!("read {read} chunks of drive {}, {bad} bad", pass.drive.id());
            tracing::info!(drive = %pass.drive.id(), read, bad, "scrub of a drive ended");
        }
        if ended || pass.unsaved >= SAVE_CHUNKS {
            pass.unsaved = 0;
            if let Err(error) = state_file::save(&pass.drive, STATE_FILE, &pass.state).await {
                // A full drive is scrubbed all the same.
                self.counters.last_error = Some(error.to_string());
            }
        }
        if !ended {
            self.pass = Some(pass);
        }
        Ok(Step::Busy)
    }

    async fn next_drive(&mut self) -> Result<Step, RepairError> {
        let every = self.context.config.scrub_every;
        let ordered = self.round.is_ordered();
        while let Some(drive) = self.round.next(&self.context) {
            let now = self.context.clock.now();
            let state: ScrubState = state_file::load(&drive, STATE_FILE).await.unwrap_or_default();
            // A clock that stepped back must not stop the scrub for ever.
            let due = state.begun > now || now.since(state.begun) >= every;
            let state = match state.ended {
                Some(_) if !due && !ordered => continue,
                None if state.begun.0 > 0 => state,
                _ => ScrubState { begun: now, ..ScrubState::default() },
            };
            self.counters.detail = format!("reading all chunks of drive {}", drive.id());
            self.pass = Some(Pass { drive, state, unsaved: 0, page: VecDeque::new(), rows: None });
            return Ok(Step::Busy);
        }
        self.counters.pass = None;
        Ok(Step::Idle(LOOK_EVERY.min(every)))
    }

    /// One chunk, or one page of rows; true at the end of the pass.
    async fn advance(&mut self, pass: &mut Pass) -> Result<bool, RepairError> {
        let limit = self.context.config.page;
        let id = pass.drive.id();
        if let Some(shards) = &mut pass.rows {
            let Some((shard, cursor)) = shards.pop_front() else { return Ok(true) };
            let fetched = self.context.rows.segments_on_drive(shard, id, cursor.clone(), limit).await;
            let (page, next) = match fetched {
                Ok(page) => page,
                // The pass is good without: reads find missing chunks as well.
                Err(error) => {
                    self.counters.failed(error);
                    return Ok(false);
                }
            };
            for (_, _, row) in page {
                for (chunk, holder) in row.segment.chunks() {
                    if holder == id && !pass.drive.contains(chunk).await? {
                        self.damaged(pass, chunk, "it is not there");
                    }
                }
            }
            if next.is_some() {
                shards_of(pass).push_front((shard, next));
            }
            return Ok(false);
        }
        if pass.page.is_empty() {
            pass.page.extend(pass.drive.list(pass.state.cursor, limit).await?);
            if pass.page.is_empty() {
                pass.rows = Some(self.context.rows.shards().into_iter().map(|shard| (shard, None)).collect());
                return Ok(false);
            }
        }
        let Some(chunk) = pass.page.pop_front() else { return Ok(false) };
        match pass.drive.verify(chunk).await {
            // Removed since it was listed.
            Ok(()) | Err(ChunkError::Missing { .. }) => {}
            Err(error @ ChunkError::OutOfService { .. }) => return Err(error.into()),
            Err(error) => self.damaged(pass, chunk, &error.to_string()),
        }
        pass.state.read += 1;
        pass.state.cursor = Some(chunk);
        pass.unsaved += 1;
        self.counters.done += 1;
        self.counters.pass = Some(share_before(chunk));
        Ok(false)
    }

    fn damaged(&mut self, pass: &mut Pass, chunk: ChunkKey, what: &str) {
        tracing::warn!(%chunk, drive = %pass.drive.id(), what, "scrub found a bad chunk");
        pass.state.bad += 1;
        self.counters.failed(format!("chunk {chunk} on drive {}: {what}", pass.drive.id()));
        self.context.note_damaged(chunk, pass.drive.id());
    }
}

fn shards_of(pass: &mut Pass) -> &mut VecDeque<(ShardId, Option<Vec<u8>>)> {
    pass.rows.get_or_insert_default()
}

impl Worker for Scrub {
    fn name(&self) -> &'static str {
        "scrub"
    }

    fn purpose(&self) -> &'static str {
        "reads every stored chunk and checks it"
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

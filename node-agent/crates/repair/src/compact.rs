//! `compact`: gives the room of removed small chunks back.

use std::collections::VecDeque;
use std::sync::Arc;

use chunk_store::{ChunkError, Drive};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::context::RepairContext;
use crate::{Counters, RepairError, Step, Worker};

pub(crate) struct Compact {
    context: Arc<RepairContext>,
    queue: VecDeque<Drive>,
    in_round: bool,
    counters: Counters,
}

impl Compact {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self { context, queue: VecDeque::new(), in_round: false, counters: Counters::default() }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        if self.queue.is_empty() {
            if std::mem::take(&mut self.in_round) {
                return Ok(Step::Idle(self.context.config.compact_every));
            }
            self.queue.extend(self.context.readable_drives());
            self.in_round = true;
        }
        let Some(drive) = self.queue.front() else { return Ok(Step::Busy) };
        match drive.compact_once().await {
            Ok(true) => {
                self.counters.done += 1;
                self.counters.detail = format!("compacted a pack of drive {}", drive.id());
            }
            Ok(false) | Err(ChunkError::OutOfService { .. }) => drop(self.queue.pop_front()),
            Err(error) => {
                self.counters.failed(error);
                self.queue.pop_front();
            }
        }
        Ok(Step::Busy)
    }
}

impl Worker for Compact {
    fn name(&self) -> &'static str {
        "compact"
    }

    fn purpose(&self) -> &'static str {
        "gives the room of removed small chunks back"
    }

    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
        self.work().boxed()
    }

    fn counters(&self) -> Counters {
        self.counters.clone()
    }
}

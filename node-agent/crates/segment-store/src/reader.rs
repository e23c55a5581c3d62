//! A range of one segment being read.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::poll;
use grid_types::{MemoryPermit, Segment};
use keyring::BucketKey;
use tokio::task::JoinHandle;

use crate::SegmentError;
use crate::open::OpenSegment;
use crate::store::Shared;

/// A range of one segment being read, in order, at most `read_ahead_stripes` ahead of the consumer.
///
/// The first stripe is read by itself, so that its bytes go out as soon as they verify; the stripes behind it are read
/// in batches by a task of their own while the consumer is busy with what it has.
pub struct SegmentReader {
    shared: Arc<Shared>,
    state: State,
    range: Range<u64>,
    memory: Option<Arc<MemoryPermit>>,
    batch_stripes: u64,
    /// A stripe that is read by the caller itself: the first one, and each one while memory is short.
    own: Option<u64>,
    /// Stripes that nobody has begun to read.
    rest: Range<u64>,
    ready: VecDeque<Bytes>,
    ahead: Option<Ahead>,
}

enum State {
    Open(Arc<OpenSegment>),
    /// The error that the next call returns.
    Failed(Option<SegmentError>),
}

/// A batch being read by a task, which ends with its reader.
struct Ahead(JoinHandle<Result<Vec<Bytes>, SegmentError>>);

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl SegmentReader {
    pub(crate) fn new(shared: Arc<Shared>, segment: Segment, key: &BucketKey, range: Range<u64>) -> Self {
        let fits = range.start < range.end && range.end <= segment.length;
        let id = segment.id;
        let opened = if fits {
            OpenSegment::new(shared.clone(), segment, key)
        } else {
            Err(SegmentError::Row { segment: id, what: "the range is empty or leaves the segment" })
        };
        let (state, mut rest, batch_stripes) = match opened {
            Ok(open) => {
                let rest = open.layout.stripes_of_packets(open.layout.packets_of(range.clone()));
                let fit = shared.config.read_ahead_bytes / open.layout.full_stripe_len();
                let batch = fit.clamp(1, shared.config.read_ahead_stripes.max(1) as u64);
                (State::Open(Arc::new(open)), rest, batch)
            }
            Err(error) => (State::Failed(Some(error)), 0..0, 1),
        };
        let own = rest.next();
        Self {
            shared,
            state,
            range,
            memory: None,
            batch_stripes,
            own,
            rest,
            ready: VecDeque::new(),
            ahead: None,
        }
    }

    /// The next piece of plaintext; `None` at the end of the range. After an error there is nothing more.
    ///
    /// Safe to drop: the next call goes on where this one was.
    pub async fn next(&mut self) -> Option<Result<Bytes, SegmentError>> {
        if let Some(piece) = self.ready.pop_front() {
            return Some(Ok(piece));
        }
        match &mut self.state {
            State::Failed(error) => return error.take().map(Err),
            State::Open(_) if self.own.is_none() && self.ahead.is_none() => return None,
            State::Open(_) => {}
        }
        match self.more().await {
            Ok(pieces) => {
                self.ready.extend(pieces);
                self.ready.pop_front().map(Ok)
            }
            Err(error) => {
                self.state = State::Failed(None);
                self.ahead = None;
                Some(Err(error))
            }
        }
    }

    async fn more(&mut self) -> Result<Vec<Bytes>, SegmentError> {
        let State::Open(open) = &self.state else { return Ok(Vec::new()) };
        let open = open.clone();
        let memory = match &self.memory {
            Some(memory) => memory.clone(),
            None => {
                let memory = self.take_memory(&open).await?;
                self.memory.insert(memory).clone()
            }
        };
        if let Some(stripe) = self.own {
            let range = self.range.clone();
            let mut own = pin!(open.read(stripe..stripe + 1, &range, &memory));
            // Its reads are queued before those of the batch behind it.
            let begun = poll!(&mut own);
            self.read_ahead(&open, &memory);
            let pieces = match begun {
                std::task::Poll::Ready(pieces) => pieces,
                std::task::Poll::Pending => own.await,
            };
            self.own = None;
            self.next_own();
            return pieces;
        }
        let Some(Ahead(task)) = self.ahead.as_mut() else { return Ok(Vec::new()) };
        let done = task.await;
        self.ahead = None;
        self.read_ahead(&open, &memory);
        match done.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(pieces) => pieces,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => {
                Err(SegmentError::Row { segment: open.segment.id, what: "the process ends while it is read" })
            }
        }
    }

    /// Without a batch ahead the caller reads the next stripe itself.
    fn next_own(&mut self) {
        if self.ahead.is_none() {
            self.own = self.rest.next();
        }
    }

    /// Starts the next batch, unless memory is so short that the caller reads one stripe after the other.
    fn read_ahead(&mut self, open: &Arc<OpenSegment>, memory: &Arc<MemoryPermit>) {
        if self.rest.is_empty() || self.batch_stripes == 0 || self.ahead.is_some() {
            return;
        }
        let batch = self.rest.start..self.rest.end.min(self.rest.start + self.batch_stripes);
        self.rest.start = batch.end;
        let (open, memory, range) = (open.clone(), memory.clone(), self.range.clone());
        self.ahead = Some(Ahead(tokio::spawn(async move { open.read(batch, &range, &memory).await })));
    }

    /// Memory for what the consumer holds and for the batch behind it (its frames and its plaintext); when that is not
    /// there now, for one stripe after the other.
    async fn take_memory(&mut self, open: &OpenSegment) -> Result<Arc<MemoryPermit>, SegmentError> {
        let stripes = self.rest.end - self.rest.start + 1;
        let stripe = open.layout.full_stripe_len().min(open.layout.sealed_len());
        let least = 2 * stripe;
        if stripes > 1 {
            let batch = self.batch_stripes.min(stripes - 1) * stripe;
            if let Ok(permit) = self.shared.budget.try_acquire(least.max(3 * batch)) {
                return Ok(Arc::new(permit));
            }
            self.batch_stripes = 0;
        }
        Ok(Arc::new(self.shared.memory(least).await?))
    }
}

//! One budget of bytes for everything that is held in memory on behalf of a request.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Why a permit was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// Asked for more than the limit has in all: it could never be granted.
    #[error("{asked} bytes can never fit the memory limit `{limit}` of {total} bytes")]
    NeverFits {
        /// Name of the limit.
        limit: &'static str,
        /// Bytes asked for.
        asked: u64,
        /// Bytes of the limit.
        total: u64,
    },
    /// None left now, and the queue for it is full.
    #[error("memory limit `{limit}` is used up; try again later")]
    Exhausted {
        /// Name of the limit.
        limit: &'static str,
    },
}

/// A named limit in bytes. Clones share it. Permits are granted in order of asking.
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    limit: &'static str,
    total: u64,
    waiters_max: usize,
    state: Mutex<State>,
}

struct State {
    available: u64,
    next_ticket: u64,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    ticket: u64,
    bytes: u64,
    waker: Waker,
}

/// Bytes taken from a budget; given back on drop.
pub struct MemoryPermit {
    shared: Arc<Shared>,
    bytes: u64,
}

impl MemoryBudget {
    /// A limit of `total` bytes for which at most `waiters_max` callers may queue.
    pub fn new(limit: &'static str, total: u64, waiters_max: usize) -> Self {
        let state = State { available: total, next_ticket: 0, waiting: VecDeque::new() };
        Self { shared: Arc::new(Shared { limit, total, waiters_max, state: Mutex::new(state) }) }
    }

    /// Bytes not taken now.
    pub fn available(&self) -> u64 {
        self.shared.state.lock().available
    }

    /// Bytes of the whole limit.
    pub fn total(&self) -> u64 {
        self.shared.total
    }

    /// Takes `bytes` at once or says why not.
    pub fn try_acquire(&self, bytes: u64) -> Result<MemoryPermit, BudgetError> {
        self.fits(bytes)?;
        let mut state = self.shared.state.lock();
        if state.waiting.is_empty() && state.available >= bytes {
            state.available -= bytes;
            return Ok(self.permit(bytes));
        }
        Err(BudgetError::Exhausted { limit: self.shared.limit })
    }

    /// Waits in line for `bytes`. Safe to drop: a dropped waiter leaves the line.
    pub fn acquire(&self, bytes: u64) -> impl Future<Output = Result<MemoryPermit, BudgetError>> + use<> {
        Acquire { budget: self.clone(), bytes, ticket: None }
    }

    fn fits(&self, bytes: u64) -> Result<(), BudgetError> {
        if bytes > self.shared.total {
            return Err(BudgetError::NeverFits {
                limit: self.shared.limit,
                asked: bytes,
                total: self.shared.total,
            });
        }
        Ok(())
    }

    fn permit(&self, bytes: u64) -> MemoryPermit {
        MemoryPermit { shared: self.shared.clone(), bytes }
    }
}

impl MemoryPermit {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.available += self.bytes;
        state.wake_head();
    }
}

impl State {
    fn wake_head(&self) {
        if let Some(head) = self.waiting.front()
            && head.bytes <= self.available
        {
            head.waker.wake_by_ref();
        }
    }
}

struct Acquire {
    budget: MemoryBudget,
    bytes: u64,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Result<MemoryPermit, BudgetError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Err(error) = this.budget.fits(this.bytes) {
            return Poll::Ready(Err(error));
        }
        let shared = this.budget.shared.clone();
        let mut state = shared.state.lock();
        let first = match this.ticket {
            None => state.waiting.is_empty(),
            Some(ticket) => state.waiting.front().is_some_and(|head| head.ticket == ticket),
        };
        if first && state.available >= this.bytes {
            state.available -= this.bytes;
            if this.ticket.take().is_some() {
                state.waiting.pop_front();
                state.wake_head();
            }
            return Poll::Ready(Ok(this.budget.permit(this.bytes)));
        }
        if let Some(ticket) = this.ticket {
            if let Some(own) = state.waiting.iter_mut().find(|waiting| waiting.ticket == ticket) {
                own.waker.clone_from(cx.waker());
            }
            return Poll::Pending;
        }
        if state.waiting.len() >= shared.waiters_max {
            return Poll::Ready(Err(BudgetError::Exhausted { limit: shared.limit }));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(Waiting { ticket, bytes: this.bytes, waker: cx.waker().clone() });
        this.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut state = self.budget.shared.state.lock();
            state.waiting.retain(|waiting| waiting.ticket != ticket);
            state.wake_head();
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;

//! What a background worker is.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::RepairError;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    Busy,
    /// Nothing to do; look again after this.
    Idle(Duration),
}

/// Figures of a worker, kept by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    /// Items done since start.
    pub done: u64,
    /// Items that failed since start.
    pub failed: u64,
    /// Items known to wait.
    pub waiting: u64,
    /// How much of the current pass is done, 0 to 1, where that is known.
    pub pass: Option<f64>,
    /// What it does now or did last, in words.
    pub detail: String,
    /// The last failure of an item, in words.
    pub last_error: Option<String>,
}

impl Counters {
    pub(crate) fn failed(&mut self, error: impl std::fmt::Display) {
        self.failed += 1;
        self.last_error = Some(error.to_string());
    }
}

/// A background worker. A step is short (a chunk, a page), may be dropped anywhere, and is then done again.
pub trait Worker: Send + 'static {
    /// As the operator types it.
    fn name(&self) -> &'static str;
    /// What it is for, in a sentence.
    fn purpose(&self) -> &'static str;
    /// Does a little. An error makes the runner back off; errors of single items are counted instead.
    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>>;
    /// Figures; called between steps.
    fn counters(&self) -> Counters;
    /// The operator wants a round now: forget when the last one was.
    fn run_now(&mut self) {}
}

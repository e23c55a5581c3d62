//! Time: the wall clock, and a clock that never steps.

use std::sync::Arc;
use std::time::Duration;

use grid_types::Timestamp;

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time; may step.
    fn now(&self) -> Timestamp;

    /// Time since boot, suspended time included (`CLOCK_BOOTTIME`); never steps.
    fn since_boot(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        todo!()
    }

    fn since_boot(&self) -> Duration {
        todo!()
    }
}

/// A clock that tests move by hand. Clones share it.
#[derive(Clone)]
pub struct SimClock {
    _state: Arc<()>,
}

impl SimClock {
    /// Starts at `now`, with an uptime of one hour.
    pub fn new(_now: Timestamp) -> Self {
        todo!()
    }

    /// Moves both clocks forward.
    pub fn advance(&self, _by: Duration) {
        todo!()
    }

    /// Steps the wall clock alone, in either direction.
    pub fn step_wall(&self, _to: Timestamp) {
        todo!()
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        todo!()
    }

    fn since_boot(&self) -> Duration {
        todo!()
    }
}

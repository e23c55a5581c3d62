//! A wall clock that does not listen to the host's.

use std::sync::Arc;
use std::time::Duration;

use grid_types::Timestamp;
use parking_lot::Mutex;

use crate::clock::{Clock, Reading, TimeTrust};

/// Shows the time that was set, running on with the clock that never steps; the host's wall clock is neither read nor set.
/// Invariant: `now`, which stamps are made of, never goes back but by `turn_back`; where the time that is set lies before
/// it, `now` stands still until that has caught up. `reading` shows the time that was set.
pub struct SteeredClock {
    base: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    boot: Duration,
    time: Timestamp,
    trust: TimeTrust,
    /// The latest `now`.
    shown: Timestamp,
}

impl State {
    fn reading(&self, boot: Duration) -> Reading {
        Reading { time: self.time.plus(boot.saturating_sub(self.boot)), trust: self.trust }
    }
}

impl SteeredClock {
    /// Runs on from `time`, which nobody vouches for.
    pub fn new(base: Arc<dyn Clock>, time: Timestamp) -> Self {
        let boot = base.since_boot();
        let state = State { boot, time, trust: TimeTrust::Unproven, shown: Timestamp(0) };
        Self { base, state: Mutex::new(state) }
    }

    /// It was `time` when the base clock showed `boot` since boot.
    pub fn set(&self, boot: Duration, time: Timestamp, trust: TimeTrust) {
        let mut state = self.state.lock();
        *state = State { boot, time, trust, shown: state.shown };
    }

    /// By an operator's order stamps may go back: what was shown so far was wrong.
    pub fn turn_back(&self) {
        self.state.lock().shown = Timestamp(0);
    }
}

impl Clock for SteeredClock {
    fn now(&self) -> Timestamp {
        let mut state = self.state.lock();
        state.shown = state.reading(self.base.since_boot()).time.max(state.shown);
        state.shown
    }

    fn since_boot(&self) -> Duration {
        self.base.since_boot()
    }

    fn reading(&self) -> Reading {
        self.state.lock().reading(self.base.since_boot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimClock;

    #[test]
    fn it_follows_what_is_set_and_not_the_host() {
        let host = SimClock::new(Timestamp::from_secs(5_000));
        let clock = SteeredClock::new(Arc::new(host.clone()), Timestamp::from_secs(100));
        assert_eq!((clock.now(), clock.proven()), (Timestamp::from_secs(100), None));
        host.step_wall(Timestamp::from_secs(9_000));
        host.advance(Duration::from_secs(3));
        assert_eq!(clock.now(), Timestamp::from_secs(103));
        let boot = clock.since_boot();
        clock.set(boot, Timestamp::from_secs(1_000), TimeTrust::Grid);
        host.advance(Duration::from_secs(1));
        assert_eq!((clock.now(), clock.proven()), (Timestamp::from_secs(1_001), None));
        clock.set(boot, Timestamp::from_secs(2_000), TimeTrust::Proven);
        assert_eq!(clock.proven(), Some(Timestamp::from_secs(2_001)));
    }

    #[test]
    fn stamps_wait_where_a_correction_goes_back() {
        let host = SimClock::new(Timestamp(0));
        let clock = SteeredClock::new(Arc::new(host.clone()), Timestamp::from_secs(1_000));
        assert_eq!(clock.now(), Timestamp::from_secs(1_000));
        clock.set(clock.since_boot(), Timestamp::from_secs(990), TimeTrust::Proven);
        assert_eq!(clock.now(), Timestamp::from_secs(1_000));
        assert_eq!(
            clock.reading().time,
            Timestamp::from_secs(990),
            "others are judged by the correction at once"
        );
        host.advance(Duration::from_secs(12));
        assert_eq!(clock.now(), Timestamp::from_secs(1_002));
        clock.set(clock.since_boot(), Timestamp::from_secs(500), TimeTrust::Proven);
        clock.turn_back();
        assert_eq!(clock.now(), Timestamp::from_secs(500));
    }
}

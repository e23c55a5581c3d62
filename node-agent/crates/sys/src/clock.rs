//! Time: the wall clock, and a clock that never steps.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use grid_types::Timestamp;
use parking_lot::Mutex;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Where time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Wall-clock time; may step.
    fn now(&self) -> Timestamp;

    /// Time since boot, suspended time included (`CLOCK_BOOTTIME`); never steps.
    fn since_boot(&self) -> Duration;

    /// The wall clock as others are held against it, and how far it is to be believed. Where a correction goes back, this
    /// does, too, while the `now` of a steered clock stands still.
    fn reading(&self) -> Reading {
        Reading { time: self.now(), trust: TimeTrust::Proven }
    }

    /// The time, where it is proven. What must not happen too early by a wrong clock (the end of a lock, a deletion by
    /// age) asks this and waits while there is none.
    fn proven(&self) -> Option<Timestamp> {
        let reading = self.reading();
        (reading.trust == TimeTrust::Proven).then_some(reading.time)
    }
}

/// How far a wall clock is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeTrust {
    /// Nobody vouches for it: it is at most a lower bound.
    Unproven,
    /// The members agreed to run on from the latest time that one of them had once: behind the true time, never ahead.
    Grid,
    /// A source vouches for it.
    Proven,
}

/// What a wall clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The time.
    pub time: Timestamp,
    /// How far it is to be believed.
    pub trust: TimeTrust,
}

/// Seconds, with a sign, by which the wall clock of this process is wrong: for tests of nodes whose clocks disagree.
const OFFSET_VARIABLE: &str = "SHOAL_TEST_CLOCK_OFFSET";

static OFFSET_MICROS: LazyLock<i64> = LazyLock::new(|| {
    let seconds = std::env::var(OFFSET_VARIABLE).ok().and_then(|text| text.parse::<i64>().ok());
    seconds.unwrap_or(0).saturating_mul(1_000_000)
});

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let micros = duration(clock_gettime(ClockId::Realtime)).as_micros();
        Timestamp(u64::try_from(micros).unwrap_or(u64::MAX).saturating_add_signed(*OFFSET_MICROS))
    }

    fn since_boot(&self) -> Duration {
        duration(clock_gettime(ClockId::Boottime))
    }
}

/// A board without a battery may believe that it is 1969; that reads as the epoch.
fn duration(time: Timespec) -> Duration {
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    }
}

/// A clock that tests move by hand. Clones share it.
#[derive(Clone)]
pub struct SimClock {
    state: Arc<Mutex<SimTime>>,
}

struct SimTime {
    wall: Timestamp,
    boot: Duration,
    trust: TimeTrust,
}

impl SimClock {
    /// Starts at `now`, with an uptime of one hour.
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Arc::new(Mutex::new(SimTime {
                wall: now,
                boot: Duration::from_secs(3_600),
                trust: TimeTrust::Proven,
            })),
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        state.wall = state.wall.plus(by);
        state.boot += by;
    }

    /// Steps the wall clock alone, in either direction.
    pub fn step_wall(&self, to: Timestamp) {
        self.state.lock().wall = to;
    }

    /// From now on it is believed so far; at first it is proven.
    pub fn set_trust(&self, trust: TimeTrust) {
        self.state.lock().trust = trust;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.state.lock().wall
    }

    fn since_boot(&self) -> Duration {
        self.state.lock().boot
    }

    fn reading(&self) -> Reading {
        let state = self.state.lock();
        Reading { time: state.wall, trust: state.trust }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_clocks_go_forward() {
        let clock = RealClock;
        let (wall, boot) = (clock.now(), clock.since_boot());
        assert!(wall > Timestamp::from_secs(1_600_000_000), "the wall clock reads {wall:?}");
        assert!(boot > Duration::ZERO);
        assert!(clock.since_boot() >= boot);
    }

    #[test]
    fn stepping_the_wall_leaves_the_uptime() {
        let clock = SimClock::new(Timestamp::from_secs(1_000));
        let twin = clock.clone();
        clock.advance(Duration::from_secs(5));
        assert_eq!(twin.now(), Timestamp::from_secs(1_005));
        assert_eq!(twin.since_boot(), Duration::from_secs(3_605));
        twin.step_wall(Timestamp::from_secs(10));
        assert_eq!(clock.now(), Timestamp::from_secs(10));
        assert_eq!(clock.since_boot(), Duration::from_secs(3_605));
    }
}

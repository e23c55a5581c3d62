//! Failed proofs of one source are counted, so that guessing costs the guesser and not the log.
//!
//! A secret has 256 bits: this protects the processor and the log, not the secret. It is per source so that nobody can
//! shut the door for others.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Failed proofs of one source in one window; the next ones are not looked at.
pub const FAILURES_MAX: u32 = 10;
/// After so long a source begins anew.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Sources that are remembered; beyond, the one whose window is oldest is forgotten.
pub const THROTTLED_SOURCES_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Throttle {
    sources: BTreeMap<IpAddr, Failures>,
}

struct Failures {
    since: Duration,
    count: u32,
}

impl Throttle {
    /// Is a proof from there looked at?
    pub(super) fn open(&mut self, from: IpAddr, now: Duration) -> bool {
        let source = source(from);
        match self.sources.get(&source) {
            Some(failures) if now.saturating_sub(failures.since) >= FAILURE_WINDOW => {
                self.sources.remove(&source);
                true
            }
            Some(failures) => failures.count < FAILURES_MAX,
            None => true,
        }
    }

    /// One more failed.
    pub(super) fn failed(&mut self, from: IpAddr, now: Duration) {
        let source = source(from);
        if !self.sources.contains_key(&source) && self.sources.len() >= THROTTLED_SOURCES_MAX {
            let oldest =
                self.sources.iter().min_by_key(|(_, failures)| failures.since).map(|(source, _)| *source);
            if let Some(oldest) = oldest {
                self.sources.remove(&oldest);
            }
        }
        let failures = self.sources.entry(source).or_insert(Failures { since: now, count: 0 });
        failures.count = failures.count.saturating_add(1);
    }
}

/// One host is one IPv4 address, or the half of an IPv6 address that it cannot choose.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_is_shut_out_for_a_window_and_others_are_not() {
        let mut throttle = Throttle::default();
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Duration::from_secs(100);
        for _ in 0..FAILURES_MAX {
            assert!(throttle.open(one, now));
            throttle.failed(one, now);
        }
        assert!(!throttle.open(one, now));
        assert!(!throttle.open("::ffff:192.0.2.1".parse().unwrap(), now), "the same host");
        assert!(throttle.open(two, now));
        assert!(throttle.open(one, now + FAILURE_WINDOW));
    }

    #[test]
    fn addresses_that_a_host_chooses_count_as_one_and_the_table_is_bounded() {
        let mut throttle = Throttle::default();
        let now = Duration::from_secs(100);
        for host in 0..FAILURES_MAX {
            throttle.failed(format!("2001:db8::{host:x}").parse().unwrap(), now);
        }
        assert!(!throttle.open("2001:db8::ffff".parse().unwrap(), now));
        for net in 0..2 * THROTTLED_SOURCES_MAX {
            throttle.failed(IpAddr::V4(u32::try_from(net).unwrap().into()), now + Duration::from_secs(1));
        }
        assert_eq!(throttle.sources.len(), THROTTLED_SOURCES_MAX);
    }
}

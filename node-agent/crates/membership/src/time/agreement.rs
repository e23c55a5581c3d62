//! What the majority of several clocks says. Source: K. Marzullo, "Maintaining the Time in a Distributed System" (1984),
//! as NTP uses it (RFC 5905, section 11.2.1), with the one rule that more than half must agree.

use grid_types::Timestamp;

/// One clock: the true time lies within `radius` microseconds of `time`, unless the clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) time: Timestamp,
    pub(super) radius: u64,
}

impl Interval {
    fn low(self) -> u64 {
        self.time.0.saturating_sub(self.radius)
    }

    fn high(self) -> u64 {
        self.time.0.saturating_add(self.radius)
    }

    fn holds(self, point: u64) -> bool {
        (self.low()..=self.high()).contains(&point)
    }
}

/// Which of these share a point, where that are more than half of them; else none. Of several such points the one counts
/// that most share, and the earliest of those.
pub(super) fn agreeing(clocks: &[Interval]) -> Vec<usize> {
    // Where most intervals meet, one of them begins.
    let mut best: Vec<usize> = Vec::new();
    let mut begins: Vec<u64> = clocks.iter().map(|clock| clock.low()).collect();
    begins.sort_unstable();
    for point in begins {
        let sharing: Vec<usize> = (0..clocks.len()).filter(|at| clocks[*at].holds(point)).collect();
        if sharing.len() > best.len() {
            best = sharing;
        }
    }
    if best.len() * 2 > clocks.len() { best } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_must_share_a_point() {
        let check = |clocks: &[(u64, u64)], expected: &[usize]| {
            let clocks: Vec<Interval> = clocks
                .iter()
                .map(|(time, radius)| Interval { time: Timestamp(*time), radius: *radius })
                .collect();
            assert_eq!(agreeing(&clocks), expected, "{clocks:?}");
        };
        check(&[], &[]);
        check(&[(100, 0)], &[0]);
        check(&[(100, 5), (104, 0)], &[0, 1]);
        check(&[(100, 5), (120, 5)], &[]);
        check(&[(100, 5), (120, 5), (108, 3)], &[0, 2]);
        check(&[(500, 1), (120, 5), (121, 3)], &[1, 2]);
        check(&[(100, 1), (200, 1), (300, 1)], &[]);
        // One with a wide interval agrees with each of two that disagree: no two of them are more than half of four.
        check(&[(100, 1), (200, 1), (150, 80), (900, 1)], &[]);
        check(&[(u64::MAX, 10), (u64::MAX - 3, 10)], &[0, 1]);
        check(&[(0, 10), (3, 10)], &[0, 1]);
    }
}

//! Randomness: the kernel's, and a seeded stream for tests.

use parking_lot::Mutex;

/// Where random bytes come from.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` whole.
    fn fill(&self, bytes: &mut [u8]);

    /// 16 fresh bytes, for any of the ids in `grid_types`: `SegmentId::from(random.id())`.
    fn id(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `bound` (> 0), uniform.
    fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero");
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let mut bytes = [0; 8];
            self.fill(&mut bytes);
            let draw = u64::from_le_bytes(bytes);
            if draw < zone {
                return draw % bound;
            }
        }
    }
}

/// The kernel's generator (`getrandom`).
#[derive(Debug, Clone, Copy, Default)]
pub struct RealRandom;

impl Random for RealRandom {
    /// Panics where the kernel has no generator: nothing of this system works without one.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel's random generator answers");
    }
}

/// A stream that a seed repeats (SplitMix64, Steele et al. 2014); never for keys.
pub struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }

    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock();
        for piece in bytes.chunks_mut(8) {
            let draw = Self::next(&mut state).to_le_bytes();
            piece.copy_from_slice(&draw[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_stream() {
        let (a, b, c) = (SeededRandom::new(7), SeededRandom::new(7), SeededRandom::new(8));
        let ids: Vec<[u8; 16]> = (0..4).map(|_| a.id()).collect();
        assert_eq!(ids, (0..4).map(|_| b.id()).collect::<Vec<_>>());
        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0], c.id());
    }

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut state = 1_234_567;
        assert_eq!(SeededRandom::next(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(SeededRandom::next(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn below_covers_its_range_and_stays_in_it() {
        let random = SeededRandom::new(1);
        let mut seen = [0u32; 5];
        for _ in 0..1_000 {
            seen[usize::try_from(random.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
    }

    #[test]
    fn the_kernel_does_not_repeat_itself() {
        assert_ne!(RealRandom.id(), RealRandom.id());
    }
}

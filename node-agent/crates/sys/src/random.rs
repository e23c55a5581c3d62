//! Randomness: the kernel's, and a seeded stream for tests.

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
    fn fill(&self, _bytes: &mut [u8]) {
        todo!()
    }
}

/// A stream that a seed repeats; never for keys.
pub struct SeededRandom {}

impl SeededRandom {
    /// The stream of this seed.
    pub fn new(_seed: u64) -> Self {
        todo!()
    }
}

impl Random for SeededRandom {
    fn fill(&self, _bytes: &mut [u8]) {
        todo!()
    }
}

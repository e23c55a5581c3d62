//! Read and write scores from room and latency: fall at once, rise slowly. Pure.

use grid_types::Score;

/// A drive with this share of its room left, in per mille, is not held back for lack of room.
const ROOM_COMFORTABLE_PER_MILLE: u64 = 200;
/// A p95 up to here costs nothing: a good disk's sync, in microseconds.
const LATENCY_GOOD_US: u64 = 20_000;
/// Each doubling above `LATENCY_GOOD_US` costs so many points: 2 s leaves 16.
const POINTS_PER_DOUBLING: u32 = 12;
/// Points that a score may rise by in one step (a second).
const RISE_PER_STEP: u8 = 5;
/// Never 0 by measurement: 0 means locked.
const MEASURED_MIN: u8 = 1;

/// The scores of one drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scores {
    /// How good it is to read from.
    pub read: Score,
    /// How good it is to write to.
    pub write: Score,
}

impl Default for Scores {
    fn default() -> Self {
        Self { read: Score::BEST, write: Score::BEST }
    }
}

impl Scores {
    /// One step (a second) later, with these measurements.
    pub fn step(self, total_bytes: u64, free_bytes: u64, read_p95_us: u64, sync_p95_us: u64) -> Self {
        let write = latency_points(sync_p95_us).min(room_points(total_bytes, free_bytes));
        Self { read: approach(self.read, latency_points(read_p95_us)), write: approach(self.write, write) }
    }
}

fn approach(now: Score, measured: u8) -> Score {
    Score::new(measured.min(now.get().saturating_add(RISE_PER_STEP)))
}

fn latency_points(p95_us: u64) -> u8 {
    let doublings = (p95_us / LATENCY_GOOD_US).checked_ilog2().map_or(0, |whole| whole + 1);
    let lost = doublings.saturating_mul(POINTS_PER_DOUBLING).min(u32::from(Score::BEST.get() - MEASURED_MIN));
    Score::BEST.get() - u8::try_from(lost).unwrap_or(0)
}

fn room_points(total_bytes: u64, free_bytes: u64) -> u8 {
    let per_mille =
        u64::try_from(u128::from(free_bytes) * 1_000 / u128::from(total_bytes.max(1))).unwrap_or(1_000);
    let points = per_mille.min(ROOM_COMFORTABLE_PER_MILLE) * 100 / ROOM_COMFORTABLE_PER_MILLE;
    u8::try_from(points).unwrap_or(Score::BEST.get()).max(MEASURED_MIN)
}

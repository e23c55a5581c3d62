//! Scores fall at once and rise slowly.

use grid_types::Score;

use super::Scores;

const TIB: u64 = 1 << 40;

fn step(scores: Scores, free: u64, read_us: u64, sync_us: u64) -> (u8, u8) {
    let next = scores.step(TIB, free, read_us, sync_us);
    (next.read.get(), next.write.get())
}

#[test]
fn a_quiet_drive_with_room_is_best() {
    assert_eq!(step(Scores::default(), TIB / 2, 500, 15_000), (100, 100));
}

#[test]
fn slow_syncs_cost_the_write_score_alone() {
    assert_eq!(step(Scores::default(), TIB / 2, 500, 2_000_000), (100, 16));
    assert_eq!(step(Scores::default(), TIB / 2, 45_000, 500), (76, 100));
}

#[test]
fn lack_of_room_costs_the_write_score_and_never_locks() {
    assert_eq!(step(Scores::default(), TIB / 8, 0, 0), (100, 62));
    assert_eq!(step(Scores::default(), 0, 0, 0), (100, 1));
    assert_eq!(step(Scores::default(), TIB / 2, u64::MAX, u64::MAX), (1, 1));
}

#[test]
fn what_fell_rises_five_points_a_step() {
    let fallen = Scores { read: Score::new(10), write: Score::new(10) };
    let one = fallen.step(TIB, TIB, 0, 0);
    assert_eq!((one.read.get(), one.write.get()), (15, 15));
    let mut scores = fallen;
    for _ in 0..18 {
        scores = scores.step(TIB, TIB, 0, 0);
    }
    assert_eq!(scores, Scores::default());
}

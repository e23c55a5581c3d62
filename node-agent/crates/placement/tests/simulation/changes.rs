//! Whatever grid a segment finds itself in: what is done about it comes to an end, never takes what it needs to be read, and
//! leaves it no worse than `auto` would have it.

use grid_types::{
    Cipher, Compression, DriveId, DriveSnapshot, DriveState, GridSnapshot, ProfileChoice, SMALL_BYTES_MAX,
    Segment, SegmentId,
};
use placement::{Change, Uplift, place, place_one};

use crate::grids::{Draw, SEEDS, choice, grid, write};

/// Each step is a move of one of at most 12 chunks, or one of a few others.
const STEPS_MAX: usize = 64;

fn segment(grid: &GridSnapshot, asked: (ProfileChoice, bool), draw: &mut Draw) -> Option<Segment> {
    let (profile, placement) = write(grid, asked, draw).ok()?;
    Some(Segment {
        id: SegmentId::from_bytes([1; 16]),
        seal_id: SegmentId::from_bytes([1; 16]),
        length: if asked.1 { 1_000 } else { SMALL_BYTES_MAX + 1 },
        profile,
        cipher: Cipher::Aes256Gcm,
        compression: Compression::None,
        key_generation: 1,
        block_packets: 2,
        drives: placement.drives,
    })
}

/// Does it as the worker does; false where no drive takes it.
fn apply(change: Change, segment: &mut Segment, grid: &GridSnapshot, draw: &mut Draw) -> bool {
    match change {
        Change::Recode(profile) => {
            let Ok(placement) = place(profile, grid, &[], &mut |bound| draw.below(bound)) else {
                return false;
            };
            segment.profile = profile;
            segment.drives = placement.drives;
        }
        Change::Move(index) => {
            let index = usize::from(index);
            let holder = segment.drives[index].take().into_iter().collect::<Vec<DriveId>>();
            let others: Vec<DriveId> = segment.drives.iter().flatten().copied().collect();
            segment.drives[index] = place_one(grid, &others, &holder, &mut |bound| draw.below(bound));
            return segment.drives[index].is_some();
        }
        Change::Release(index) => assert!(segment.drives[usize::from(index)].take().is_some()),
    }
    true
}

#[test]
fn changes_end_and_make_nothing_worse() {
    let (mut recoded, mut moved, mut released) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut draw = Draw::new(seed);
        // Some of the same drives in other states, and others: some went, some came.
        let (mut before, mut now) = (grid(&mut draw), grid(&mut draw));
        if draw.below(2) == 0 {
            // Few boards of one drive each, of which one leaves.
            let few = |drive: &DriveSnapshot| [0, 4, 8, 12, 16, 20].contains(&drive.id.as_bytes()[0]);
            before.drives.retain(few);
            now.drives.retain(few);
            let leaves = draw.below(now.drives.len() as u64);
            now.drives[usize::try_from(leaves).unwrap()].state = DriveState::Draining;
        }
        let plan = Uplift::new(&now);
        for _ in 0..6 {
            let asked = choice(&mut draw);
            let Some(mut segment) = segment(&before, asked, &mut draw) else { continue };
            let mut tolerance = plan.tolerance(&segment);
            let mut steps = 0;
            while let Some(change) = plan.change_for(&segment, asked.0) {
                steps += 1;
                assert!(steps < STEPS_MAX, "seed {seed}: {segment:?} is changed for ever");
                let old = segment.clone();
                assert!(apply(change, &mut segment, &now, &mut draw), "seed {seed}: {change:?} of {old:?}");
                match change {
                    Change::Recode(_) => {
                        assert!(plan.improves(&old, &segment), "seed {seed}: {old:?} became {segment:?}");
                        tolerance = plan.tolerance(&segment);
                        recoded += 1;
                    }
                    Change::Move(_) => moved += 1,
                    Change::Release(_) => {
                        let kept = plan.kept(&segment).len();
                        assert!(kept >= segment.profile.data_chunks(), "seed {seed}: {segment:?} is lost");
                        assert_eq!(plan.kept(&old).len(), kept, "seed {seed}: it would have stayed");
                        released += 1;
                    }
                }
            }
            assert!(
                plan.tolerance(&segment) >= tolerance,
                "seed {seed}: {segment:?} may lose less than before"
            );
            let wish = if asked.1 { plan.wishes().small } else { plan.wishes().large };
            if let (ProfileChoice::Auto, Some(wish)) = (asked.0, wish) {
                let leaves = plan.kept(&segment).len() < segment.drives.len();
                assert!(leaves || plan.tolerance(&segment) >= wish.tolerance, "seed {seed}: {segment:?}");
            }
        }
    }
    assert!(
        recoded > SEEDS / 8 && moved > SEEDS / 8 && released > SEEDS / 50,
        "{recoded} {moved} {released}"
    );
}

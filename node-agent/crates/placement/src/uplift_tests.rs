use grid_types::{Cipher, Compression, DriveSnapshot, FailureDomain, NodeId, Score, SegmentId};

use super::*;

fn drive(id: u8, node: u8, state: DriveState) -> DriveSnapshot {
    DriveSnapshot {
        id: DriveId::from_bytes([id; 16]),
        node: NodeId::from_bytes([node; 16]),
        file_system: FailureDomain(format!("fs{id}")),
        state,
        read_score: Score::BEST,
        write_score: Score::BEST,
        total_bytes: 100 << 30,
        free_bytes: 50 << 30,
    }
}

/// Drives by (id, node), all active but for those in `away`.
fn grid(drives: &[(u8, u8)], away: &[u8]) -> GridSnapshot {
    let state = |id| if away.contains(&id) { DriveState::Suspect } else { DriveState::Active };
    let drives = drives.iter().map(|(id, node)| drive(*id, *node, state(*id))).collect();
    GridSnapshot { epoch: 1, drives, all_have_aes: true }
}

/// So many nodes of one drive each.
fn nodes(count: u8, away: &[u8]) -> GridSnapshot {
    grid(&(1..=count).map(|id| (id, id)).collect::<Vec<_>>(), away)
}

fn segment(profile: &str, length: u64, drives: &[u8]) -> Segment {
    let id = |id: &u8| (*id > 0).then(|| DriveId::from_bytes([*id; 16]));
    let segment = Segment {
        id: SegmentId::from_bytes([1; 16]),
        seal_id: SegmentId::from_bytes([1; 16]),
        length,
        profile: profile.parse().unwrap(),
        cipher: Cipher::Aes256Gcm,
        compression: Compression::None,
        key_generation: 1,
        block_packets: 2,
        drives: drives.iter().map(id).collect(),
    };
    assert_eq!(segment.drives.len(), segment.profile.total_chunks());
    segment
}

const SMALL: u64 = 1_000;
const LARGE: u64 = 1_000_000;

/// Grid, profile and length of a segment, the drives of its chunks (0: none), the profile wished for or the chunk to move.
type Case = (GridSnapshot, &'static str, u64, &'static [u8], Option<&'static str>);

#[test]
fn what_has_less_than_auto_would_give_now_is_wished_better() {
    let cases: &[Case] = &[
        (nodes(1, &[]), "copies:1", LARGE, &[1], None),
        (nodes(2, &[]), "copies:1", LARGE, &[1], Some("copies:2")),
        (nodes(3, &[]), "copies:1", LARGE, &[1], Some("ec:2+1")),
        (nodes(3, &[]), "copies:1", SMALL, &[1], Some("copies:3")),
        (nodes(3, &[]), "copies:2", SMALL, &[1, 2], Some("copies:3")),
        // The fallback of three nodes with one away takes a third more room than it should, and is no safer.
        (nodes(3, &[]), "copies:2", LARGE, &[1, 2], Some("ec:2+1")),
        (nodes(4, &[]), "ec:2+1", LARGE, &[1, 2, 3], Some("ec:2+2")),
        // No safer, only smaller: not worth rewriting everything.
        (nodes(5, &[]), "ec:2+2", LARGE, &[1, 2, 3, 4], None),
        (nodes(9, &[]), "ec:4+2", LARGE, &[1, 2, 3, 4, 5, 6], Some("ec:6+3")),
        (nodes(4, &[]), "copies:3", SMALL, &[1, 2, 3], None),
        (nodes(4, &[]), "copies:3", LARGE, &[1, 2, 3], None),
        // Announced as large, and small in the end.
        (nodes(3, &[]), "ec:2+1", SMALL, &[1, 2, 3], Some("copies:3")),
        // With a node away: what can be had now for what may lose nothing, nothing for the rest.
        (nodes(3, &[3]), "copies:1", LARGE, &[1], Some("copies:2")),
        (nodes(3, &[3]), "copies:2", LARGE, &[1, 2], None),
        (nodes(3, &[3]), "ec:2+1", LARGE, &[1, 2, 3], None),
        (nodes(2, &[2]), "copies:1", LARGE, &[1], None),
        // Drives of one node are one domain when others join.
        (grid(&[(1, 1), (2, 1)], &[]), "copies:2", LARGE, &[1, 2], None),
        (grid(&[(1, 1), (2, 1), (3, 2)], &[]), "copies:2", LARGE, &[1, 2], Some("1")),
        (grid(&[(1, 1), (2, 1), (3, 2)], &[]), "copies:2", LARGE, &[1, 3], None),
        (
            grid(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)], &[]),
            "ec:2+2",
            LARGE,
            &[1, 2, 3, 4],
            Some("copies:2"),
        ),
        // What is missing or gone is the business of those who rebuild it.
        (nodes(2, &[]), "copies:2", LARGE, &[1, 0], None),
        (nodes(2, &[]), "copies:2", LARGE, &[1, 9], None),
        // Never given by auto: somebody wanted it so.
        (nodes(4, &[]), "ec:5+1", LARGE, &[1, 1, 2, 2, 3, 3], None),
    ];
    for (grid, profile, length, drives, expect) in cases {
        let segment = segment(profile, *length, drives);
        let change = Uplift::new(grid).change_for(&segment, ProfileChoice::Auto);
        let expect = expect.map(|text| match text.parse() {
            Ok(profile) => Change::Recode(profile),
            Err(_) => Change::Move(text.parse().unwrap()),
        });
        assert_eq!(change, expect, "{profile} of {length} on {drives:?}: {:?}", grid.drives.len());
    }
}

#[test]
fn a_fixed_choice_is_left_alone() {
    let uplift = Uplift::new(&nodes(4, &[]));
    let segment = segment("copies:1", LARGE, &[1]);
    let fixed = ProfileChoice::Fixed(segment.profile);
    assert_eq!(uplift.change_for(&segment, fixed), None);
    assert!(uplift.change_for(&segment, ProfileChoice::Auto).is_some());
}

#[test]
fn chunks_of_a_fixed_choice_are_spread_where_that_helps() {
    let cases: &[(GridSnapshot, &str, &[u8], Option<u8>)] = &[
        // Two nodes of two drives became four.
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 4)], &[]), "ec:2+2", &[1, 2, 3, 4], Some(3)),
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 4)], &[]), "ec:2+2", &[1, 2, 3, 5], Some(1)),
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 4)], &[]), "ec:2+2", &[1, 3, 5, 6], None),
        // Nowhere to go.
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 2)], &[]), "ec:2+2", &[1, 2, 3, 4], None),
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 4)], &[5, 6]), "ec:2+2", &[1, 2, 3, 4], None),
        // The third node makes them more even, and two lost nodes take too much all the same.
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)], &[]), "ec:3+1", &[1, 2, 3, 4], None),
        (grid(&[(1, 1), (2, 1), (3, 2), (4, 3)], &[]), "copies:3", &[1, 2, 3], Some(1)),
        // What leaves is moved by the order, what is missing is rebuilt.
        (nodes(4, &[]), "copies:3", &[1, 2, 0], None),
    ];
    for (grid, profile, drives, expect) in cases {
        let segment = segment(profile, LARGE, drives);
        let uplift = Uplift::new(grid);
        let change = uplift.change_for(&segment, ProfileChoice::Fixed(segment.profile));
        assert_eq!(change, expect.map(Change::Move), "{profile} on {drives:?}");
    }
}

/// So many nodes of one drive each, of which these are ordered to leave.
fn leaving(count: u8, away: &[u8], leave: &[u8]) -> GridSnapshot {
    let mut grid = nodes(count, away);
    for id in leave {
        grid.drives[usize::from(*id) - 1].state = DriveState::Draining;
    }
    grid
}

#[test]
fn what_has_more_chunks_than_drives_stay_does_not_hold_those_up_that_leave() {
    use Change::{Recode, Release};
    let profile = |text: &str| text.parse::<Profile>().unwrap();
    type Case = (GridSnapshot, &'static str, u64, &'static [u8], Option<Change>, Option<Change>);
    // Grid, segment, what becomes of it when it was written as `auto`, and as its profile.
    let cases: &[Case] = &[
        (
            leaving(4, &[], &[4]),
            "ec:2+2",
            LARGE,
            &[1, 4, 2, 3],
            Some(Recode(profile("ec:2+1"))),
            Some(Release(1)),
        ),
        // What lacks the chunk is never whole again, and one that has no chunk there is.
        (leaving(4, &[], &[4]), "ec:2+2", LARGE, &[1, 0, 2, 3], Some(Recode(profile("ec:2+1"))), None),
        (leaving(4, &[], &[4]), "ec:2+1", LARGE, &[1, 2, 3], None, None),
        // There is another place.
        (leaving(5, &[], &[4]), "ec:2+2", LARGE, &[1, 4, 2, 3], None, None),
        // There will be, or at least a better wish.
        (leaving(5, &[5], &[4]), "ec:2+2", LARGE, &[1, 4, 2, 3], None, None),
        (leaving(4, &[3], &[4]), "ec:2+2", LARGE, &[1, 4, 2, 3], None, Some(Release(1))),
        // Two go at once; of a fixed profile, which is not acknowledged with two chunks, none does.
        (leaving(4, &[], &[3, 4]), "ec:2+2", LARGE, &[1, 4, 2, 3], Some(Recode(profile("copies:2"))), None),
        (leaving(3, &[], &[3]), "ec:2+1", LARGE, &[3, 2, 1], Some(Recode(profile("copies:2"))), None),
        // Copies are only fewer.
        (leaving(3, &[], &[3]), "copies:3", SMALL, &[3, 2, 1], Some(Release(0)), Some(Release(0))),
        (leaving(3, &[], &[3]), "copies:3", SMALL, &[0, 2, 1], None, None),
        (leaving(2, &[], &[2]), "copies:2", LARGE, &[1, 2], Some(Release(1)), None),
        (leaving(2, &[], &[1, 2]), "copies:2", LARGE, &[1, 2], None, None),
        (leaving(2, &[], &[2]), "copies:1", LARGE, &[2], None, None),
    ];
    for (grid, written, length, drives, auto, fixed) in cases {
        let segment = segment(written, *length, drives);
        let uplift = Uplift::new(grid);
        let context = format!("{written} on {drives:?} of {}", grid.drives.len());
        assert_eq!(uplift.change_for(&segment, ProfileChoice::Auto), *auto, "auto: {context}");
        let fixed_choice = ProfileChoice::Fixed(segment.profile);
        assert_eq!(uplift.change_for(&segment, fixed_choice), *fixed, "fixed: {context}");
    }
}

#[test]
fn the_tolerance_counts_domains() {
    let uplift = Uplift::new(&grid(&[(1, 1), (2, 1), (3, 2), (4, 3)], &[]));
    for (profile, drives, expect) in [
        ("copies:1", &[1][..], 0),
        ("copies:2", &[1, 2], 0),
        ("copies:2", &[1, 3], 1),
        ("copies:3", &[1, 2, 3], 1),
        ("copies:3", &[1, 3, 4], 2),
        ("ec:2+2", &[1, 2, 3, 4], 1),
        ("ec:2+1", &[1, 2, 3], 0),
        ("ec:2+1", &[1, 3, 4], 1),
        ("ec:2+1", &[1, 3, 0], 1),
    ] {
        assert_eq!(uplift.tolerance(&segment(profile, LARGE, drives)), expect, "{profile} on {drives:?}");
    }
}

/// Where drives are few or full, the wish is what a placement comes to: what was re-coded is never wished better again.
#[test]
fn what_was_placed_as_wished_needs_nothing_more() {
    for nodes_count in 1..=6u8 {
        for drives_each in 1..=3u8 {
            for full in 0..=2u8 {
                let drives: Vec<(u8, u8)> = (0..nodes_count)
                    .flat_map(|node| (0..drives_each).map(move |at| (node * 3 + at + 1, node + 1)))
                    .collect();
                let mut grid = grid(&drives, &[]);
                for drive in grid.drives.iter_mut().take(usize::from(full)) {
                    drive.free_bytes = 0;
                }
                let uplift = Uplift::new(&grid);
                for (wish, length) in [(uplift.wishes().small, SMALL), (uplift.wishes().large, LARGE)] {
                    let Some(wish) = wish else { continue };
                    for seed in 0..20u64 {
                        let drives =
                            place(wish.profile, &grid, &[], &mut |below| seed * 7 % below).unwrap().drives;
                        let placed = Segment { drives, ..segment("copies:1", length, &[1]) };
                        let placed = Segment { profile: wish.profile, ..placed };
                        assert_eq!(uplift.change_for(&placed, ProfileChoice::Auto), None, "{placed:?}");
                        let thin = segment("copies:1", length, &[1]);
                        let wished = uplift.change_for(&thin, ProfileChoice::Auto).is_some();
                        assert_eq!(uplift.improves(&thin, &placed), wished);
                    }
                }
            }
        }
    }
}

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

/// Grid, profile and length of a segment, the drives of its chunks (0: none), the profile wished for.
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
        (grid(&[(1, 1), (2, 1), (3, 2)], &[]), "copies:2", LARGE, &[1, 2], Some("copies:2")),
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
        let wish = Uplift::new(grid).profile_for(&segment, ProfileChoice::Auto);
        let text = wish.map(|wish| wish.to_string());
        assert_eq!(text.as_deref(), *expect, "{profile} of {length} on {drives:?}: {:?}", grid.drives.len());
    }
}

#[test]
fn a_fixed_choice_is_left_alone() {
    let uplift = Uplift::new(&nodes(4, &[]));
    let segment = segment("copies:1", LARGE, &[1]);
    let fixed = ProfileChoice::Fixed(segment.profile);
    assert_eq!(uplift.profile_for(&segment, fixed), None);
    assert!(uplift.profile_for(&segment, ProfileChoice::Auto).is_some());
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
                        assert_eq!(uplift.profile_for(&placed, ProfileChoice::Auto), None, "{placed:?}");
                        let thin = segment("copies:1", length, &[1]);
                        let wished = uplift.profile_for(&thin, ProfileChoice::Auto).is_some();
                        assert_eq!(uplift.improves(&thin, &placed), wished);
                    }
                }
            }
        }
    }
}

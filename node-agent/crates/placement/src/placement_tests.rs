use std::collections::BTreeSet;

use grid_types::{DriveState, NodeId, ProfileChoice, Score};
use proptest::prelude::*;

use super::*;
use crate::{ack_set_reached, auto_profile, domains_in_grid, profile_for};

const GIB: u64 = 1 << 30;

fn drive(id: u8, node: u8, file_system: u8) -> DriveSnapshot {
    DriveSnapshot {
        id: DriveId::from_bytes([id; 16]),
        node: NodeId::from_bytes([node; 16]),
        file_system: FailureDomain(format!("fs{file_system}")),
        state: DriveState::Active,
        read_score: Score::BEST,
        write_score: Score::BEST,
        total_bytes: 100 * GIB,
        free_bytes: 50 * GIB,
    }
}

fn grid(drives: Vec<DriveSnapshot>) -> GridSnapshot {
    GridSnapshot { epoch: 1, drives, all_have_aes: true }
}

/// So many nodes with so many drives each.
fn nodes(nodes: u8, drives: u8) -> GridSnapshot {
    grid(
        (0..nodes).flat_map(|n| (0..drives).map(move |d| drive(n * drives + d, n, n * drives + d))).collect(),
    )
}

/// One node; a file system for each drive.
fn drives(count: u8) -> GridSnapshot {
    nodes(1, count)
}

fn seeded(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn chosen(placement: &Placement) -> Vec<DriveId> {
    placement.drives.iter().flatten().copied().collect()
}

fn profile(text: &str) -> Profile {
    text.parse().unwrap()
}

fn auto(grid: &GridSnapshot, small: bool) -> Result<Profile, PlacementError> {
    profile_for(ProfileChoice::Auto, small, grid, false)
}

#[test]
fn the_table() {
    let rows = [
        (1, "copies:1", "copies:1"),
        (2, "copies:2", "copies:2"),
        (3, "copies:3", "ec:2+1"),
        (4, "copies:3", "ec:2+2"),
        (5, "copies:3", "ec:3+2"),
        (6, "copies:3", "ec:4+2"),
        (8, "copies:3", "ec:4+2"),
        (9, "copies:3", "ec:6+3"),
        (11, "copies:3", "ec:6+3"),
        (12, "copies:3", "ec:8+3"),
        (200, "copies:3", "ec:8+3"),
    ];
    for (domains, small, large) in rows {
        assert_eq!(auto_profile(domains, true), profile(small), "{domains} domains, small");
        assert_eq!(auto_profile(domains, false), profile(large), "{domains} domains, large");
        if domains <= 20 {
            assert_eq!(auto(&drives(domains as u8), false), Ok(profile(large)));
            assert_eq!(auto(&nodes(domains as u8, 2), true).map(|_| ()), Ok(()));
        }
    }
}

#[test]
fn auto_falls_back_to_the_strongest_row_that_is_durable_now() {
    let away = |count: u8, away: usize| {
        let mut grid = nodes(count, 1);
        grid.drives.iter_mut().take(away).for_each(|drive| drive.state = DriveState::Suspect);
        grid
    };
    let check = |grid: GridSnapshot, small, expect: &str| {
        let got = auto(&grid, small).unwrap();
        assert_eq!(got, profile(expect));
        assert!(place(got, &grid, &[], &mut |_| 0).is_ok());
    };
    check(away(3, 1), false, "copies:2");
    check(away(3, 1), true, "copies:3");
    // Three of four still hold k + 1 of ec:2+2; the fourth chunk is left for repair.
    check(away(4, 1), false, "ec:2+2");
    check(away(4, 2), false, "copies:2");
    check(away(6, 1), false, "ec:4+2");
    check(away(6, 2), false, "ec:3+2");
    check(away(6, 3), false, "ec:2+2");
    check(away(12, 4), false, "ec:6+3");
}

#[test]
fn refusals() {
    let mut two = drives(2);
    two.drives[0].state = DriveState::Failing;
    assert_eq!(
        auto(&two, true),
        Err(PlacementError::InsufficientDomains { profile: Profile::Copies(2), needed: 2, writable: 1 })
    );
    assert_eq!(profile_for(ProfileChoice::Auto, true, &two, true), Ok(Profile::Copies(1)));
    // An order to drain is an order: the drive that stays takes writes as the only one.
    two.drives[0].state = DriveState::Draining;
    assert_eq!(auto(&two, true), Ok(Profile::Copies(1)));

    let mut full = drives(2);
    full.drives[1].free_bytes = 0;
    assert_eq!(auto(&full, false), Err(PlacementError::StorageFull));
    assert_eq!(place(Profile::Copies(2), &full, &[], &mut |_| 0), Err(PlacementError::StorageFull));

    assert!(matches!(
        auto(&grid(vec![]), false),
        Err(PlacementError::InsufficientDomains { writable: 0, .. })
    ));
    // A fixed profile has no fallback.
    let choice = ProfileChoice::Fixed(profile("ec:2+1"));
    assert_eq!(profile_for(choice, false, &drives(2), true), Ok(profile("ec:2+1")));
    assert_eq!(
        place(profile("ec:2+1"), &drives(2), &[], &mut |_| 0),
        Err(PlacementError::InsufficientDomains { profile: profile("ec:2+1"), needed: 3, writable: 2 })
    );
    assert!(place(Profile::Copies(2), &drives(1), &[], &mut |_| 0).is_err(), "two copies want two drives");
}

#[test]
fn drives_of_one_file_system_are_one_domain() {
    let one = grid((0..4).map(|id| drive(id, 0, 7)).collect());
    assert_eq!(domains_in_grid(&one), 1);
    assert_eq!(auto(&one, false), Ok(Profile::Copies(1)));
    let placement = place(profile("ec:2+2"), &one, &[], &mut seeded(5)).unwrap();
    assert_eq!(chosen(&placement).len(), 4);
    assert!(ack_set_reached(profile("ec:2+2"), &vec![FailureDomain("fs7".into()); 2], 1));
    // With another file system there is something to lose, and something to survive.
    let mut two = one.clone();
    two.drives.push(drive(9, 0, 8));
    assert!(
        place(Profile::Copies(2), &two, &[], &mut seeded(1))
            .is_ok_and(|placement| { chosen(&placement).contains(&DriveId::from_bytes([9; 16])) })
    );
    assert!(place(profile("ec:2+1"), &two, &[], &mut seeded(1)).is_err(), "two of three share a file system");
}

#[test]
fn ack_sets() {
    let on = |domains: &[u8]| domains.iter().map(|d| FailureDomain(d.to_string())).collect::<Vec<_>>();
    let check = |text: &str, domains: &[u8], in_grid, expect| {
        assert_eq!(ack_set_reached(profile(text), &on(domains), in_grid), expect, "{text} on {domains:?}");
    };
    check("copies:1", &[], 1, false);
    check("copies:1", &[1], 1, true);
    check("copies:1", &[1], 5, true);
    check("copies:2", &[1], 2, false);
    check("copies:3", &[1, 2], 3, true);
    check("copies:3", &[1, 1], 3, false);
    check("ec:2+2", &[1, 2], 4, false);
    check("ec:2+2", &[1, 2, 3], 4, true);
    check("ec:2+2", &[1, 1, 2], 2, false);
    check("ec:2+2", &[1, 1, 2, 2], 2, true);
    check("ec:2+2", &[1, 1], 1, true);
    check("ec:4+2", &[1, 2, 3, 4], 6, false);
    check("ec:4+2", &[1, 2, 3, 4, 5], 6, true);
}

#[test]
fn one_more_drive_goes_where_the_segment_is_not() {
    let grid = nodes(3, 2);
    let ids: Vec<DriveId> = grid.drives.iter().map(|drive| drive.id).collect();
    for seed in 0..50 {
        let one = place_one(&grid, &[ids[0], ids[2]], &[], &mut seeded(seed)).unwrap();
        assert!(one == ids[4] || one == ids[5], "the node without a chunk");
        let one = place_one(&grid, &[ids[0], ids[2], ids[4]], &[ids[1], ids[3]], &mut seeded(seed));
        assert_eq!(one, Some(ids[5]));
    }
    assert_eq!(place_one(&grid, &ids, &[], &mut |_| 0), None);
}

#[test]
fn chunks_follow_room_and_score() {
    let mut grid = drives(4);
    grid.drives[1].free_bytes *= 3;
    grid.drives[2].write_score = Score::new(50);
    grid.drives[3].write_score = Score::LOCKED;
    let mut draw = seeded(77);
    let mut counts = [0u32; 4];
    for _ in 0..9000 {
        let placement = place(Profile::Copies(1), &grid, &[], &mut draw).unwrap();
        let at = grid.drives.iter().position(|drive| Some(drive.id) == placement.drives[0]).unwrap();
        counts[at] += 1;
    }
    // Weights 2 : 6 : 1 : 0 of 9,000 draws.
    let near = |got: u32, expect: u32| got.abs_diff(expect) < 200;
    assert!(near(counts[0], 2000) && near(counts[1], 6000) && near(counts[2], 1000), "{counts:?}");
    assert_eq!(counts[3], 0, "a locked drive takes nothing");
}

fn grids() -> impl Strategy<Value = GridSnapshot> {
    let one = (0u8..6, 0u8..8, 0u8..=100, 0u64..4, 0u8..12).prop_map(|(node, fs, score, free, state)| {
        let mut drive = drive(0, node, fs);
        drive.write_score = Score::new(score);
        drive.free_bytes = free * 10 * GIB;
        drive.state = match state {
            0 => DriveState::Suspect,
            1 => DriveState::Failing,
            2 => DriveState::Draining,
            3 => DriveState::Waiting,
            _ => DriveState::Active,
        };
        drive
    });
    (prop::collection::vec(one, 0..24), any::<bool>()).prop_map(|(mut drives, one_node)| {
        for (id, drive) in drives.iter_mut().enumerate() {
            drive.id = DriveId::from_bytes([id as u8; 16]);
            if one_node {
                drive.node = NodeId::from_bytes([1; 16]);
            }
        }
        grid(drives)
    })
}

#[test]
fn a_node_that_is_down_counts_and_one_that_leaves_does_not() {
    let with = |states: [DriveState; 3]| {
        let mut grid = nodes(3, 2);
        for drive in &mut grid.drives {
            drive.state = states[usize::from(drive.node.as_bytes()[0])];
        }
        grid
    };
    let (up, down, broken, leaving) =
        (DriveState::Active, DriveState::Suspect, DriveState::Failing, DriveState::Draining);
    // states, nodes, domains, profile of a large segment
    let cases = [
        ([up, up, up], 3, 3, Ok("ec:2+1")),
        ([up, up, down], 3, 3, Ok("copies:2")),
        ([up, up, broken], 3, 3, Ok("copies:2")),
        ([up, up, leaving], 2, 2, Ok("copies:2")),
        ([up, down, down], 3, 3, Err(())),
        ([up, leaving, leaving], 1, 2, Ok("copies:2")),
        ([up, down, leaving], 2, 2, Err(())),
        ([up, DriveState::Waiting, DriveState::Foreign], 1, 2, Ok("copies:2")),
    ];
    for (states, count, in_grid, expected) in cases {
        let grid = with(states);
        assert_eq!(grid.node_count(), count, "{states:?}");
        assert_eq!(domains_in_grid(&grid), in_grid, "{states:?}");
        assert_eq!(auto(&grid, false).map_err(|_| ()), expected.map(profile), "{states:?}");
    }
}

#[test]
fn one_chunk_stays_near_as_long_as_its_node_has_its_share() {
    let near = NodeId::from_bytes([2; 16]);
    let mut grid = nodes(4, 2);
    let near_of = |grid: &GridSnapshot, profile: &str, seed| {
        let placed = place_near(self::profile(profile), grid, Some(near), &[], &mut seeded(seed)).unwrap();
        let nodes: Vec<NodeId> = chosen(&placed).iter().map(|id| grid.drive(*id).unwrap().node).collect();
        assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), nodes.len(), "nodes are distinct");
        nodes
    };
    for seed in 0..50 {
        for profile in ["copies:1", "copies:3", "ec:2+2"] {
            let nodes = near_of(&grid, profile, seed);
            assert_eq!(nodes[0], near);
            // The others are drawn: over many seeds all of them are met.
            assert!(nodes[1..].iter().all(|node| *node != near));
        }
    }
    // A node that is fuller than the others is one among many.
    for drive in grid.drives.iter_mut().filter(|drive| drive.node == near) {
        drive.free_bytes = 10 * GIB;
    }
    let first = (0..200).filter(|seed| near_of(&grid, "copies:1", *seed)[0] == near).count();
    assert!((1..60).contains(&first), "{first} of 200");
    // One without a drive that takes writes is not waited for.
    grid.drives.retain(|drive| drive.node != near);
    assert!(place_near(profile("copies:3"), &grid, Some(near), &[], &mut seeded(1)).is_ok());
}

fn profiles() -> impl Strategy<Value = Profile> {
    prop_oneof![
        (1u8..=4).prop_map(Profile::Copies),
        (1u8..=8, 1u8..=4).prop_map(|(k, m)| Profile::Ec { k, m }),
    ]
}

proptest! {
    #[test]
    fn a_placement_is_distinct_writable_and_durable(
        grid in grids(), profile in profiles(), seed in any::<u64>(), avoid in prop::collection::vec(0u8..24, 0..4),
    ) {
        let avoid: Vec<DriveId> = avoid.into_iter().map(|id| DriveId::from_bytes([id; 16])).collect();
        let Ok(placement) = place(profile, &grid, &avoid, &mut seeded(seed)) else {
            // Then no other draw may find one.
            prop_assert!(place(profile, &grid, &avoid, &mut seeded(seed ^ 0xFFFF)).is_err());
            return Ok(());
        };
        prop_assert_eq!(placement.drives.len(), profile.total_chunks());
        let placed = chosen(&placement);
        prop_assert_eq!(placed.iter().collect::<BTreeSet<_>>().len(), placed.len(), "distinct");
        prop_assert!(placement.drives[..placed.len()].iter().all(Option::is_some), "gaps only at the end");
        let snapshots: Vec<&DriveSnapshot> = placed.iter().map(|id| grid.drive(*id).unwrap()).collect();
        prop_assert!(snapshots.iter().all(|drive| drive.writable() && !avoid.contains(&drive.id)));
        let acked: Vec<FailureDomain> = snapshots.iter().map(|drive| grid.domain(drive)).collect();
        prop_assert!(ack_set_reached(profile, &acked, domains_in_grid(&grid)));
        // Spread: no domain has two chunks more than another one that had a free drive.
        let mut counts: BTreeMap<&FailureDomain, usize> = BTreeMap::new();
        acked.iter().for_each(|domain| *counts.entry(domain).or_default() += 1);
        let most = counts.values().max().copied().unwrap_or(0);
        for free in grid.drives.iter().filter(|d| d.writable() && !avoid.contains(&d.id) && !placed.contains(&d.id)) {
            prop_assert!(counts.get(&grid.domain(free)).copied().unwrap_or(0) + 1 >= most);
        }
    }

    /// With nodes as domains, whatever is acknowledged decodes without any one of them.
    #[test]
    fn every_ack_set_of_a_placement_survives_every_node(
        count in 2u8..9, drives in 1u8..4, profile in profiles(), seed in any::<u64>(), synced in any::<u32>(),
    ) {
        let grid = nodes(count, drives);
        let near = Some(NodeId::from_bytes([(seed % u64::from(count)) as u8; 16]));
        let Ok(placement) = place_near(profile, &grid, near, &[], &mut seeded(seed)) else {
            let carried = usize::from(count) * usize::from(drives);
            prop_assert!(profile.total_chunks() > usize::from(count) || carried < profile.data_chunks());
            return Ok(());
        };
        let node = |id: &DriveId| grid.drive(*id).unwrap().node;
        let synced: Vec<NodeId> = (0..)
            .zip(&placement.drives)
            .filter(|(index, _)| synced & (1 << index) != 0)
            .filter_map(|(_, drive)| drive.as_ref().map(node))
            .collect();
        let acked: Vec<FailureDomain> = synced.iter().map(|node| FailureDomain(node.to_string())).collect();
        if profile.loss_tolerance() > 0 && ack_set_reached(profile, &acked, domains_in_grid(&grid)) {
            for lost in grid.drives.iter().map(|drive| drive.node) {
                let left = synced.iter().filter(|node| **node != lost).count();
                prop_assert!(left >= profile.data_chunks(), "{} chunks without {}", left, lost);
            }
        }
    }

    #[test]
    fn what_an_ack_set_promises(
        profile in profiles(),
        acked in prop::collection::vec(0u8..6, 0..12),
        in_grid in 2usize..8,
    ) {
        let acked: Vec<FailureDomain> = acked.iter().map(|d| FailureDomain(d.to_string())).collect();
        let survives = |lost: &FailureDomain| acked.iter().filter(|d| *d != lost).count() >= profile.data_chunks();
        let every_loss = acked.len() >= profile.data_chunks() && acked.iter().all(survives);
        if profile.loss_tolerance() > 0 {
            prop_assert_eq!(ack_set_reached(profile, &acked, in_grid), every_loss);
        } else {
            prop_assert_eq!(ack_set_reached(profile, &acked, in_grid), acked.len() >= profile.data_chunks());
        }
    }

    #[test]
    fn auto_always_gives_what_can_be_placed(grid in grids(), small in any::<bool>(), degraded in any::<bool>()) {
        let got = profile_for(ProfileChoice::Auto, small, &grid, degraded);
        let writable = Domains::new(&grid).writable();
        match got {
            Ok(profile) => {
                prop_assert!(place(profile, &grid, &[], &mut |_| 0).is_ok(), "{} cannot be placed", profile);
                if profile == Profile::Copies(1) {
                    prop_assert!(degraded || domains_in_grid(&grid) <= 1);
                }
            }
            Err(_) => prop_assert!(writable == 0 || (writable == 1 && domains_in_grid(&grid) >= 2 && !degraded)),
        }
    }
}

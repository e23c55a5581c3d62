//! `auto` takes writes whenever two failure domains do, with a profile that is durable now, and never silently otherwise.

use std::collections::BTreeSet;

use grid_types::{DriveState, FailureDomain, Profile, ProfileChoice};
use placement::{ack_set_reached, auto_profile, domains_in_grid, place, profile_for};

use crate::grids::{Draw, SEEDS, grid};

#[test]
fn auto_writes_durably_wherever_two_domains_do_and_asks_otherwise() {
    let (mut whole, mut weaker, mut refused) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut draw = Draw::new(seed);
        let mut grid = grid(&mut draw);
        let small = draw.below(2) == 0;
        // Nodes go away one after the other, until nobody is left.
        let mut nodes: Vec<_> =
            grid.drives.iter().map(|drive| drive.node).collect::<BTreeSet<_>>().into_iter().collect();
        draw.shuffle(&mut nodes);
        for away in std::iter::once(None).chain(nodes.iter().map(Some)) {
            for drive in grid.drives.iter_mut().filter(|drive| Some(&drive.node) == away) {
                if drive.state == DriveState::Active {
                    drive.state = DriveState::Suspect;
                }
            }
            let in_grid = domains_in_grid(&grid);
            let domains = |counts: fn(&grid_types::DriveSnapshot) -> bool| {
                let drives = grid.drives.iter().filter(|drive| counts(drive));
                drives.map(|drive| grid.domain(drive)).collect::<BTreeSet<FailureDomain>>().len()
            };
            let writable = domains(grid_types::DriveSnapshot::writable);
            let in_service = domains(|drive| matches!(drive.state, DriveState::Active | DriveState::Suspect));
            let given = profile_for(ProfileChoice::Auto, small, &grid, false);
            let accepted = profile_for(ProfileChoice::Auto, small, &grid, true);
            if writable >= 2 {
                let profile = given.clone().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                assert_eq!(accepted, given, "seed {seed}: nothing is degraded here");
                assert!(profile.loss_tolerance() > 0, "seed {seed}: {profile} with {writable} domains");
                let placement = place(profile, &grid, &[], &mut |bound| draw.below(bound)).unwrap();
                let synced: Vec<FailureDomain> = placement
                    .drives
                    .iter()
                    .flatten()
                    .map(|drive| grid.domain(grid.drive(*drive).unwrap()))
                    .collect();
                assert!(ack_set_reached(profile, &synced, in_grid), "seed {seed}: {profile}");
                // No row for more domains could have been had.
                let stronger = (1..=in_service).rev().map(|row| auto_profile(row, small));
                for row in stronger.take_while(|row| *row != profile) {
                    assert!(place(row, &grid, &[], &mut |_| 0).is_err(), "seed {seed}: {row}, not {profile}");
                    weaker += 1;
                }
                whole += u64::from(profile == auto_profile(in_service, small));
            } else if in_grid >= 2 {
                assert!(given.is_err(), "seed {seed}: {given:?} with {writable} of {in_grid} domains");
                let expected = (writable == 1).then_some(());
                assert_eq!(accepted.as_ref().ok().map(|_| ()), expected, "seed {seed}: {accepted:?}");
                if let Ok(profile) = accepted {
                    assert!(place(profile, &grid, &[], &mut |_| 0).is_ok(), "seed {seed}: {profile}");
                }
                refused += 1;
            } else {
                let expected = (writable == 1).then_some(Profile::Copies(1));
                assert_eq!(given.ok(), expected, "seed {seed}: one domain in all");
            }
        }
    }
    assert!(whole > SEEDS && weaker > SEEDS && refused > SEEDS, "{whole} {weaker} {refused}");
}

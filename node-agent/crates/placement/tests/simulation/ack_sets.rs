//! What was acknowledged can be read after the loss of any one failure domain, in whatever order chunks were synced.

use std::collections::BTreeSet;

use grid_types::{DriveId, FailureDomain};
use placement::{ack_set_reached, domains_in_grid};

use crate::grids::{Draw, SEEDS, choice, domain, grid, write};

#[test]
fn what_is_acknowledged_survives_every_domain_in_any_order() {
    let (mut acknowledged, mut early, mut tight) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut draw = Draw::new(seed);
        let grid = grid(&mut draw);
        let in_grid = domains_in_grid(&grid);
        for _ in 0..2 {
            let asked = choice(&mut draw);
            let Ok((profile, placement)) = write(&grid, asked, &mut draw) else { continue };
            let mut drives: Vec<DriveId> = placement.drives.iter().flatten().copied().collect();
            draw.shuffle(&mut drives);
            let mut synced: Vec<FailureDomain> = Vec::new();
            let mut reached = false;
            for drive in &drives {
                synced.push(domain(&grid, *drive));
                let now = ack_set_reached(profile, &synced, in_grid);
                assert!(now || !reached, "seed {seed}: one more chunk undoes an ack set of {profile}");
                reached = now;
                if !reached {
                    continue;
                }
                let domains: BTreeSet<&FailureDomain> = synced.iter().collect();
                for lost in domains {
                    let left = synced.iter().filter(|domain| *domain != lost).count();
                    if profile.loss_tolerance() > 0 && in_grid > 1 {
                        assert!(
                            left >= profile.data_chunks(),
                            "seed {seed}: {left} of {profile} without {lost:?}"
                        );
                        tight += u64::from(left == profile.data_chunks());
                    }
                }
                assert!(synced.len() >= profile.data_chunks(), "seed {seed}: {profile}");
                early += u64::from(synced.len() < drives.len());
            }
            assert!(reached, "seed {seed}: all chunks of {profile} are synced and that is not enough");
            acknowledged += 1;
        }
    }
    assert!(acknowledged > SEEDS && early > SEEDS && tight > SEEDS / 2, "{acknowledged} {early} {tight}");
}

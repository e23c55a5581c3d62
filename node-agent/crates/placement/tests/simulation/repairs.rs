//! A segment that was acknowledged outlives any number of lost nodes, if what one loss took is rebuilt before the next.

use std::collections::BTreeSet;

use grid_types::{DriveId, DriveState, FailureDomain, GridSnapshot, NodeId, Profile};
use placement::{ack_set_reached, domains_in_grid, place_one};

use crate::grids::{Draw, SEEDS, choice, domain, grid, write};

struct Stored {
    profile: Profile,
    /// Chunk → drive.
    chunks: Vec<Option<DriveId>>,
}

impl Stored {
    fn drives(&self) -> Vec<DriveId> {
        self.chunks.iter().flatten().copied().collect()
    }

    fn lose(&mut self, grid: &GridSnapshot, node: NodeId) {
        for chunk in &mut self.chunks {
            if chunk.is_some_and(|drive| grid.drive(drive).unwrap().node == node) {
                *chunk = None;
            }
        }
    }

    /// Rebuilds what it lacks, where a drive can be had.
    fn repair(&mut self, grid: &GridSnapshot, draw: &mut Draw) {
        for index in 0..self.chunks.len() {
            if self.chunks[index].is_none() {
                self.chunks[index] = place_one(grid, &self.drives(), &[], &mut |bound| draw.below(bound));
            }
        }
    }
}

#[test]
fn rebuilding_after_each_lost_node_keeps_everything() {
    let (mut losses, mut rebuilt) = (0, 0);
    for seed in 0..SEEDS {
        let mut draw = Draw::new(seed);
        let mut grid = grid(&mut draw);
        let mut stored = Vec::new();
        for _ in 0..8 {
            let asked = choice(&mut draw);
            let Ok((profile, placement)) = write(&grid, asked, &mut draw) else { continue };
            // The writer stops where the ack set is reached; the rest is left to repair.
            let mut order: Vec<usize> = (0..placement.drives.len()).collect();
            draw.shuffle(&mut order);
            let mut chunks = vec![None; placement.drives.len()];
            let mut synced: Vec<FailureDomain> = Vec::new();
            for index in order {
                if ack_set_reached(profile, &synced, domains_in_grid(&grid)) {
                    break;
                }
                chunks[index] = placement.drives[index];
                synced.extend(chunks[index].map(|drive| domain(&grid, drive)));
            }
            stored.push(Stored { profile, chunks });
        }
        loop {
            let living: BTreeSet<NodeId> =
                grid.drives.iter().filter(|drive| drive.writable()).map(|drive| drive.node).collect();
            if living.len() < 3 {
                break;
            }
            let node = draw.pick(&living.into_iter().collect::<Vec<_>>());
            for segment in &mut stored {
                let bears = segment.profile.loss_tolerance() > 0
                    && ack_set_reached(
                        segment.profile,
                        &segment.drives().iter().map(|drive| domain(&grid, *drive)).collect::<Vec<_>>(),
                        2,
                    );
                let before = segment.drives().len();
                segment.lose(&grid, node);
                let left = segment.drives().len();
                if bears {
                    assert!(left >= segment.profile.data_chunks(), "seed {seed}: {} lost", segment.profile);
                }
                losses += u64::from(left < before);
            }
            // Its drives are gone for good.
            grid.drives.iter_mut().filter(|drive| drive.node == node).for_each(|drive| {
                drive.state = DriveState::Removed;
            });
            let able = grid.drives.iter().filter(|drive| drive.writable()).count();
            for segment in &mut stored {
                if segment.drives().len() < segment.profile.data_chunks() {
                    continue;
                }
                segment.repair(&grid, &mut draw);
                let drives = segment.drives();
                assert_eq!(drives.iter().collect::<BTreeSet<_>>().len(), drives.len(), "seed {seed}");
                assert!(
                    drives.len() >= able.min(segment.profile.total_chunks()),
                    "seed {seed}: a drive was free"
                );
                rebuilt += 1;
            }
        }
    }
    assert!(losses > SEEDS && rebuilt > 10 * SEEDS, "{losses} losses, {rebuilt} rebuilt");
}

//! Chunks lie on distinct drives that take writes, as evenly over failure domains as these allow.

use std::collections::{BTreeMap, BTreeSet};

use grid_types::{DriveId, FailureDomain, GridSnapshot};

use crate::grids::{Draw, SEEDS, choice, domain, grid, write};

/// The most even counts that domains with so many drives each allow, in descending order: chunks are dealt out one a
/// domain in turn, as long as it has a drive left.
fn most_even(drives: &[usize], chunks: usize) -> Vec<usize> {
    let mut counts = vec![0; drives.len()];
    let mut left = chunks.min(drives.iter().sum());
    while left > 0 {
        for (count, has) in counts.iter_mut().zip(drives) {
            if *count < *has && left > 0 {
                *count += 1;
                left -= 1;
            }
        }
    }
    counts.retain(|count| *count > 0);
    counts.sort_unstable_by(|one, other| other.cmp(one));
    counts
}

fn writable_by_domain(grid: &GridSnapshot) -> Vec<usize> {
    let mut by_domain: BTreeMap<FailureDomain, usize> = BTreeMap::new();
    for drive in grid.drives.iter().filter(|drive| drive.writable()) {
        *by_domain.entry(grid.domain(drive)).or_default() += 1;
    }
    by_domain.into_values().collect()
}

#[test]
fn chunks_are_spread_as_evenly_as_the_domains_allow() {
    let (mut placed, mut doubled) = (0, 0);
    for seed in 0..SEEDS {
        let mut draw = Draw::new(seed);
        let grid = grid(&mut draw);
        let able = writable_by_domain(&grid);
        for _ in 0..2 {
            let asked = choice(&mut draw);
            let Ok((profile, placement)) = write(&grid, asked, &mut draw) else { continue };
            let drives: Vec<DriveId> = placement.drives.iter().flatten().copied().collect();
            assert_eq!(drives.iter().collect::<BTreeSet<_>>().len(), drives.len(), "seed {seed}: {profile}");
            assert!(
                drives.iter().all(|drive| grid.drive(*drive).unwrap().writable()),
                "seed {seed}: {profile}"
            );
            let mut by_domain: BTreeMap<FailureDomain, usize> = BTreeMap::new();
            for drive in &drives {
                *by_domain.entry(domain(&grid, *drive)).or_default() += 1;
            }
            let mut counts: Vec<usize> = by_domain.into_values().collect();
            counts.sort_unstable_by(|one, other| other.cmp(one));
            assert_eq!(
                counts,
                most_even(&able, profile.total_chunks()),
                "seed {seed}: {profile} over {able:?}"
            );
            placed += 1;
            doubled += u64::from(counts[0] > 1);
        }
    }
    assert!(placed > SEEDS && doubled > SEEDS / 10, "{placed} placed, {doubled} with two on a domain");
}

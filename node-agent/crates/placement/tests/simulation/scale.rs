//! A grid that fills up stays even, and the whole of it rebuilds a lost node. `cargo run -p placement --example scale`
//! prints the same for large ones.

#[path = "../../examples/scale/simulated.rs"]
mod simulated;

use simulated::{Evenness, Plan, simulate};

const SEEDS: u64 = 3;
const SEGMENTS: u32 = 500;

/// No node holds less than `least` or more than `most` times its share.
fn check(nodes: u32, scores_differ: bool, least: f64, most: f64, deviation: f64) {
    for seed in 0..SEEDS {
        let plan = Plan { nodes, segments: SEGMENTS, seed, scores_differ };
        let mut placed = false;
        let outcome = simulate(plan, || placed = true);
        let Evenness { least: emptiest, most: fullest, deviation: found } = outcome.fill;
        assert!(placed && outcome.refused == 0, "{plan:?}: {outcome:?}");
        assert!(emptiest >= least && fullest <= most && found <= deviation, "{plan:?}: {outcome:?}");
        // All that the lost node held is made anew, by all that have room.
        let rebuild = &outcome.rebuild;
        assert_eq!(rebuild.rebuilt_bytes, outcome.lost_bytes, "{plan:?}: {outcome:?}");
        assert_eq!(rebuild.sources, nodes as usize - 1, "{} {plan:?}: {outcome:?}", outcome.profile);
        assert!(rebuild.targets + 3 >= nodes as usize - 1, "{plan:?}: {outcome:?}");
        assert!(rebuild.busiest_bytes <= 3 * rebuild.mean_bytes, "{plan:?}: {outcome:?}");
        assert!(rebuild.segments > 0 && rebuild.segments <= plan.segments as usize);
    }
}

#[test]
fn nodes_of_different_size_fill_alike() {
    check(40, false, 0.75, 1.35, 0.12);
}

#[test]
fn slower_nodes_take_less_and_not_nothing() {
    check(40, true, 0.60, 1.45, 0.20);
}

/// `ec:6+3` puts a chunk on nine of ten nodes: a small one is asked nearly as often as a large one.
#[test]
fn a_small_grid_with_wide_segments_fills_small_nodes_first() {
    check(10, false, 0.45, 1.60, 0.40);
}

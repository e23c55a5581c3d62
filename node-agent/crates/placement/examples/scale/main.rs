//! Placement in large grids: how evenly nodes fill, what a placement costs, and who rebuilds a lost node.
//! `cargo run -p placement --example scale [-- SEGMENTS [NODES...]]`.

mod simulated;

use std::error::Error;
use std::time::Duration;

use simulated::{Plan, simulate};

const SEGMENTS_DEFAULT: u32 = 100_000;
const NODES_DEFAULT: [u32; 3] = [10, 100, 1_000];
/// What a board moves in a second, over its network and drives.
const NODE_BYTES_PER_SECOND: f64 = 50e6;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let segments = arguments.next().map_or(Ok(SEGMENTS_DEFAULT), |text| text.parse())?;
    let mut nodes: Vec<u32> = arguments.map(|text| text.parse()).collect::<Result<_, _>>()?;
    if nodes.is_empty() {
        nodes = NODES_DEFAULT.to_vec();
    }
    println!(
        "| nodes | scores | profile | segments | refused | fill, least/most of mean | deviation | time a placement | \
         lost, made anew | segments hit | sources | targets | busiest | mean | rebuild at 50 MB/s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for nodes in nodes {
        for scores_differ in [false, true] {
            #[expect(
                clippy::disallowed_methods,
                reason = "an example that measures; nothing else sees the time"
            )]
            let started = std::time::Instant::now();
            let mut placing = Duration::ZERO;
            let plan = Plan { nodes, segments, seed: 1, scores_differ };
            let outcome = simulate(plan, || placing = started.elapsed());
            let (fill, rebuild) = (outcome.fill, &outcome.rebuild);
            let gigabytes = |bytes: u64| bytes as f64 / 1e9;
            println!(
                "| {nodes} | {} | `{}` | {segments} | {} | {:.2}/{:.2} | {:.1} % | {:.0} µs | {:.0}, {:.0} GB | {} | {} | {} | {:.1} GB | {:.1} GB | {:.1} min |",
                if scores_differ { "40–100" } else { "equal" },
                outcome.profile,
                outcome.refused,
                fill.least,
                fill.most,
                fill.deviation * 100.0,
                placing.as_secs_f64() * 1e6 / f64::from(segments),
                gigabytes(outcome.lost_bytes),
                gigabytes(rebuild.rebuilt_bytes),
                rebuild.segments,
                rebuild.sources,
                rebuild.targets,
                gigabytes(rebuild.busiest_bytes),
                gigabytes(rebuild.mean_bytes),
                rebuild.busiest_bytes as f64 / NODE_BYTES_PER_SECOND / 60.0,
            );
        }
    }
    Ok(())
}

//! A grid that is filled and then loses a node: how even it stays, and who rebuilds.

use std::collections::BTreeSet;

use grid_types::{
    DriveId, DriveSnapshot, DriveState, FailureDomain, GridSnapshot, NodeId, ProfileChoice, Score,
};
use placement::{place, place_one, profile_for};

const MIB: u64 = 1 << 20;
/// Drives of a node, at most.
const DRIVES_MAX: u64 = 3;
/// Of all room, so much is filled.
const FILLED_PERCENT: u64 = 60;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Nodes of the grid.
    pub nodes: u32,
    /// Segments placed.
    pub segments: u32,
    /// What the grid and all draws come from.
    pub seed: u64,
    /// Write scores are drawn from 40 to 100, else all are 100.
    pub scores_differ: bool,
}

/// Of one number for each node.
#[derive(Debug, Clone, Copy)]
pub struct Evenness {
    /// The smallest, over the mean.
    pub least: f64,
    /// The largest, over the mean.
    pub most: f64,
    /// Standard deviation, over the mean.
    pub deviation: f64,
}

/// The rebuild after one node is lost.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// Segments that lost a chunk.
    pub segments: usize,
    /// Nodes that something is read from.
    pub sources: usize,
    /// Nodes that something is rebuilt on.
    pub targets: usize,
    /// Bytes written, in all.
    pub rebuilt_bytes: u64,
    /// Bytes that the busiest node reads out and takes in (a target takes in k chunks for each that it makes).
    pub busiest_bytes: u64,
    /// The same, of a mean node.
    pub mean_bytes: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The profile of the segments, as `auto` chose.
    pub profile: String,
    /// How full nodes are, by bytes over room: 1 = a node holds its share of all bytes.
    pub fill: Evenness,
    /// Segments that could not be placed.
    pub refused: u32,
    /// Bytes of the node that was lost.
    pub lost_bytes: u64,
    /// What its loss costs.
    pub rebuild: Rebuild,
}

/// A small generator (xorshift64*, Vigna 2016): the same numbers everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 8) % bound
    }
}

fn wide(number: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id
}

fn number_of(drive: DriveId) -> usize {
    let bytes = drive.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

/// Nodes with 1 to 3 drives; the room of a drive is 1 to 4 parts of one size.
fn grid(plan: Plan, part_bytes: u64, draw: &mut Draw) -> (GridSnapshot, Vec<usize>) {
    let (mut drives, mut node_of) = (Vec::new(), Vec::new());
    for node in 0..plan.nodes {
        for _ in 0..=draw.below(DRIVES_MAX) {
            let number = u32::try_from(drives.len()).unwrap_or(u32::MAX);
            let score = if plan.scores_differ { 40 + draw.below(61) } else { 100 };
            let room = part_bytes * (1 + draw.below(4));
            drives.push(DriveSnapshot {
                id: DriveId::from_bytes(wide(number)),
                node: NodeId::from_bytes(wide(node)),
                file_system: FailureDomain(number.to_string()),
                state: DriveState::Active,
                read_score: Score::BEST,
                write_score: Score::new(u8::try_from(score).unwrap_or(100)),
                total_bytes: room,
                free_bytes: room,
            });
            node_of.push(node as usize);
        }
    }
    (GridSnapshot { epoch: 1, drives, all_have_aes: true }, node_of)
}

fn evenness(values: &[f64]) -> Evenness {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Evenness {
        least: values.iter().copied().fold(f64::INFINITY, f64::min) / mean,
        most: values.iter().copied().fold(0.0, f64::max) / mean,
        deviation: variance.sqrt() / mean,
    }
}

/// Fills a grid with large segments of `auto`, 64 MiB each, takes the node away that holds most, and rebuilds
/// that. `placed` is called when all segments are placed.
pub fn simulate(plan: Plan, placed: impl FnOnce()) -> Outcome {
    let mut draw = Draw(plan.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let chunks_guess = 11;
    // Sizes follow from the number of segments, so that every plan ends with the same fill.
    let mut part_bytes = u64::from(plan.segments) * 8 * MIB * chunks_guess / u64::from(plan.nodes);
    let (probe, _) = grid(plan, part_bytes, &mut Draw(draw.0));
    let profile = profile_for(ProfileChoice::Auto, false, &probe, false).expect("all drives are empty");
    let chunk_bytes = 64 * MIB / profile.data_chunks() as u64;
    let room: u64 = probe.drives.iter().map(|drive| drive.total_bytes / part_bytes).sum();
    let all_bytes = u64::from(plan.segments) * chunk_bytes * profile.total_chunks() as u64;
    part_bytes = all_bytes * 100 / FILLED_PERCENT / room;
    let (mut grid, node_of) = grid(plan, part_bytes, &mut draw);

    let mut segments: Vec<Vec<usize>> = Vec::new();
    let mut refused = 0;
    for _ in 0..plan.segments {
        match place(profile, &grid, &[], &mut |bound| draw.below(bound)) {
            Ok(placement) => {
                let drives: Vec<usize> = placement.drives.iter().flatten().copied().map(number_of).collect();
                for drive in &drives {
                    let free = &mut grid.drives[*drive].free_bytes;
                    *free = free.saturating_sub(chunk_bytes);
                }
                segments.push(drives);
            }
            Err(_) => refused += 1,
        }
    }

    placed();

    let nodes = plan.nodes as usize;
    let (mut held, mut room) = (vec![0u64; nodes], vec![0u64; nodes]);
    for (drive, node) in grid.drives.iter().zip(&node_of) {
        room[*node] += drive.total_bytes;
    }
    for drive in segments.iter().flatten() {
        held[node_of[*drive]] += chunk_bytes;
    }
    let fill: Vec<f64> = held.iter().zip(&room).map(|(held, room)| *held as f64 / *room as f64).collect();
    let lost = (0..nodes).max_by_key(|node| held[*node]).unwrap_or(0);
    let rebuild =
        rebuild(&mut grid, &node_of, &segments, lost, (profile.data_chunks(), chunk_bytes), &mut draw);
    Outcome { profile: profile.to_string(), fill: evenness(&fill), refused, lost_bytes: held[lost], rebuild }
}

/// One node is gone. Each chunk of it is made anew where `place_one` says, from k of the others, drawn.
fn rebuild(
    grid: &mut GridSnapshot,
    node_of: &[usize],
    segments: &[Vec<usize>],
    lost: usize,
    (k, chunk_bytes): (usize, u64),
    draw: &mut Draw,
) -> Rebuild {
    for (drive, node) in grid.drives.iter_mut().zip(node_of) {
        if *node == lost {
            drive.state = DriveState::Failing;
        }
    }
    let mut busy = vec![0u64; node_of.last().map_or(0, |last| last + 1)];
    let (mut sources, mut targets) = (BTreeSet::new(), BTreeSet::new());
    let (mut touched, mut rebuilt_bytes) = (0, 0);
    for segment in segments {
        let mut left: Vec<usize> = segment.iter().copied().filter(|drive| node_of[*drive] != lost).collect();
        let missing = segment.len() - left.len();
        touched += usize::from(missing > 0);
        for _ in 0..missing {
            let occupied: Vec<DriveId> = left.iter().map(|drive| grid.drives[*drive].id).collect();
            let Some(target) = place_one(grid, &occupied, &[], &mut |bound| draw.below(bound)) else {
                continue;
            };
            let target = number_of(target);
            // Any k of the others, drawn: the first k after a few swaps.
            for chosen in 0..usize::min(k, left.len()) {
                let rest = (left.len() - chosen) as u64;
                left.swap(chosen, chosen + usize::try_from(draw.below(rest)).unwrap_or(0));
                let source = node_of[left[chosen]];
                busy[source] += chunk_bytes;
                sources.insert(source);
            }
            busy[node_of[target]] += k as u64 * chunk_bytes;
            targets.insert(node_of[target]);
            let free = &mut grid.drives[target].free_bytes;
            *free = free.saturating_sub(chunk_bytes);
            rebuilt_bytes += chunk_bytes;
            left.push(target);
        }
    }
    Rebuild {
        segments: touched,
        sources: sources.len(),
        targets: targets.len(),
        rebuilt_bytes,
        busiest_bytes: busy.iter().copied().max().unwrap_or(0),
        mean_bytes: busy.iter().sum::<u64>() / (busy.len() as u64 - 1).max(1),
    }
}

//! Random grids of 2 to 12 nodes with 1 to 4 drives each, random profiles, and the draw that goes with a seed.

use grid_types::{
    DriveId, DriveSnapshot, DriveState, FailureDomain, GridSnapshot, NodeId, Profile, ProfileChoice, Score,
};
use placement::{Placement, PlacementError, place_near, profile_for};

/// Histories of each simulation.
pub const SEEDS: u64 = 1_000;
const GIB: u64 = 1 << 30;

/// A small generator (xorshift64*, Vigna 2016): the same numbers everywhere.
pub struct Draw(u64);

impl Draw {
    /// Seeds that are near each other give histories that are not.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }

    fn byte(&mut self, bound: u64) -> u8 {
        u8::try_from(self.below(bound)).unwrap()
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// In random order.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, usize::try_from(self.below(last as u64 + 1)).unwrap());
        }
    }
}

/// A grid as it may be at some moment: most drives serve, some are full, slow, locked or going; whole nodes are away.
pub fn grid(draw: &mut Draw) -> GridSnapshot {
    let nodes = 2 + draw.byte(11);
    let mut drives = Vec::new();
    for node in 0..nodes {
        let away = draw.below(6) == 0;
        let count = 1 + draw.byte(4);
        // Some nodes have two drives on one file system.
        let file_systems = if draw.below(4) == 0 { 1 + draw.byte(u64::from(count)) } else { count };
        for number in 0..count {
            let state = match draw.below(16) {
                _ if away => DriveState::Suspect,
                0 => DriveState::Suspect,
                1 => DriveState::Failing,
                2 => DriveState::Draining,
                3 => DriveState::Waiting,
                _ => DriveState::Active,
            };
            drives.push(DriveSnapshot {
                id: DriveId::from_bytes([node * 4 + number; 16]),
                node: NodeId::from_bytes([node; 16]),
                file_system: FailureDomain(format!("{node}/{}", number % file_systems)),
                state,
                read_score: Score::BEST,
                write_score: if draw.below(12) == 0 { Score::LOCKED } else { Score::new(draw.byte(100) + 1) },
                total_bytes: 200 * GIB,
                free_bytes: if draw.below(12) == 0 { 0 } else { (draw.below(100) + 1) * GIB },
            });
        }
    }
    GridSnapshot { epoch: 1, drives, all_have_aes: true }
}

/// What a user may ask for, and whether the segment is small.
pub fn choice(draw: &mut Draw) -> (ProfileChoice, bool) {
    let choice = match draw.below(4) {
        0 | 1 => ProfileChoice::Auto,
        2 => ProfileChoice::Fixed(Profile::Copies(1 + draw.byte(5))),
        _ => ProfileChoice::Fixed(Profile::Ec { k: 1 + draw.byte(8), m: 1 + draw.byte(4) }),
    };
    (choice, draw.below(2) == 0)
}

/// A segment as a writer places it: through one of the nodes.
pub fn write(
    grid: &GridSnapshot,
    asked: (ProfileChoice, bool),
    draw: &mut Draw,
) -> Result<(Profile, Placement), PlacementError> {
    let profile = profile_for(asked.0, asked.1, grid, false)?;
    let nodes: Vec<NodeId> = grid.drives.iter().map(|drive| drive.node).collect();
    let near = draw.pick(&nodes);
    let near = (draw.below(3) > 0).then_some(near);
    Ok((profile, place_near(profile, grid, near, &[], &mut |bound| draw.below(bound))?))
}

/// The domain of each drive.
pub fn domain(grid: &GridSnapshot, drive: DriveId) -> FailureDomain {
    grid.domain(grid.drive(drive).unwrap())
}

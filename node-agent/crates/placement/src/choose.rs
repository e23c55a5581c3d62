//! Draws an ordered list of drives, weighted by score and free room, spread over failure domains.

use grid_types::{DriveId, GridSnapshot, Profile};

/// Why no drives could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Too few failure domains take writes.
    #[error("{profile} needs {needed} writable failure domains, {writable} take writes now")]
    InsufficientDomains {
        /// The profile asked for.
        profile: Profile,
        /// Domains (or drives) needed for its ack set.
        needed: usize,
        /// Writable now.
        writable: usize,
    },
    /// Every drive that could take it is full.
    #[error("no room: every writable drive is at its reserve")]
    StorageFull,
}

/// Where the chunks of a segment go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Chunk index → drive, `profile.total_chunks()` entries, distinct drives.
    pub drives: Vec<DriveId>,
}

/// Chooses distinct drives, preferring distinct domains; fewer domains than chunks is allowed only where the ack set
/// can still be reached (several drives of one domain). `draw(n)` returns a uniform number below n.
/// `avoid` are never chosen (repair: drives that hold another chunk of the segment).
pub fn place(
    _profile: Profile,
    _grid: &GridSnapshot,
    _avoid: &[DriveId],
    _draw: &mut dyn FnMut(u64) -> u64,
) -> Result<Placement, PlacementError> {
    todo!()
}

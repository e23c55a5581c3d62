//! The table of `auto` (design/data.md) and its fallback.

use grid_types::{GridSnapshot, Profile, ProfileChoice};

use crate::PlacementError;

/// The row of the table for so many failure domains.
pub fn auto_profile(_domains: usize, _small: bool) -> Profile {
    todo!()
}

/// The profile to use now for a choice: the table's row for all domains if its ack set can be reached with those
/// writable now, else the strongest row that can (the caller lists the segment for uplift). Errors as the design says:
/// a grid of 2 or more domains with fewer than 2 writable refuses unless `accept_degraded`.
pub fn profile_for(
    _choice: ProfileChoice,
    _small: bool,
    _grid: &GridSnapshot,
    _accept_degraded: bool,
) -> Result<Profile, PlacementError> {
    todo!()
}

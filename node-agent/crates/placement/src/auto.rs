//! The table of `auto` (design/data.md) and its fallback.

use grid_types::{GridSnapshot, Profile, ProfileChoice};

use crate::PlacementError;
use crate::ack_set::ack_set_domains;
use crate::choose::reaches_ack_set;
use crate::domains::Domains;

/// The row of the table for so many failure domains.
///
/// | domains | small | large |
/// |---|---|---|
/// | 1 | `copies:1` | `copies:1` |
/// | 2 | `copies:2` | `copies:2` |
/// | 3 | `copies:3` | `ec:2+1` |
/// | 4 | `copies:3` | `ec:2+2` |
/// | 5 | `copies:3` | `ec:3+2` |
/// | 6–8 | `copies:3` | `ec:4+2` |
/// | 9–11 | `copies:3` | `ec:6+3` |
/// | 12 and more | `copies:3` | `ec:8+3` |
pub fn auto_profile(domains: usize, small: bool) -> Profile {
    match (domains, small) {
        (0 | 1, _) => Profile::Copies(1),
        (2, _) => Profile::Copies(2),
        (_, true) => Profile::Copies(3),
        (3, false) => Profile::Ec { k: 2, m: 1 },
        (4, false) => Profile::Ec { k: 2, m: 2 },
        (5, false) => Profile::Ec { k: 3, m: 2 },
        (6..=8, false) => Profile::Ec { k: 4, m: 2 },
        (9..=11, false) => Profile::Ec { k: 6, m: 3 },
        (12.., false) => Profile::Ec { k: 8, m: 3 },
    }
}

/// The profile to use now for a choice: the table's row for all domains if its ack set can be reached with those
/// writable now, else the strongest row that can (the caller lists the segment for uplift). Errors as the design says:
/// a grid of 2 or more domains with fewer than 2 writable refuses unless `accept_degraded`.
///
/// A fixed choice comes back as it is; whether it can be placed is `place`'s to say.
pub fn profile_for(
    choice: ProfileChoice,
    small: bool,
    grid: &GridSnapshot,
    accept_degraded: bool,
) -> Result<Profile, PlacementError> {
    if let ProfileChoice::Fixed(profile) = choice {
        return Ok(profile);
    }
    let domains = Domains::new(grid);
    let (all, writable) = (domains.in_service(), domains.writable());
    let wanted = auto_profile(all, small);
    let refuse = |profile: Profile| {
        if domains.writable_but_for_room() > writable {
            return PlacementError::StorageFull;
        }
        let needed = ack_set_domains(profile).min(2);
        PlacementError::InsufficientDomains { profile, needed, writable }
    };
    if writable == 0 || (domains.in_grid() >= 2 && writable < 2 && !accept_degraded) {
        return Err(refuse(auto_profile(domains.in_grid(), small)));
    }
    // Rows from the strongest downwards; with one writable domain the last of them, copies:1, is what is left.
    (1..=all)
        .rev()
        .map(|row| auto_profile(row, small))
        .find(|profile| reaches_ack_set(*profile, grid, &[]))
        .or((writable == 1).then_some(Profile::Copies(1)))
        .ok_or_else(|| refuse(wanted))
}

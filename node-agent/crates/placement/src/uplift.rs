//! Which segments could be better protected than they are: what `auto` would give them now against what they have.

use std::collections::BTreeMap;

use grid_types::{DriveId, DriveState, GridSnapshot, Profile, ProfileChoice, SMALL_BYTES_MAX, Segment};

use crate::auto::{auto_profile, profile_for};
use crate::choose::place;
use crate::domains::Domains;

/// From so many domains on the table of `auto` does not change any more.
const TABLE_ROWS: usize = 12;

/// What `auto` gives now, with how many failure domains a segment may lose that is placed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// The profile.
    pub profile: Profile,
    /// Domains that may be lost.
    pub tolerance: usize,
}

/// What `auto` wishes for in one picture of the grid. As long as two of them are equal in what they wish for, a segment
/// that needs nothing by the one needs nothing by the other.
#[derive(Debug, Clone)]
pub struct Uplift {
    domains: BTreeMap<DriveId, usize>,
    wishes: Wishes,
}

/// What decides whether all segments must be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    /// For segments of up to 128 KiB; `None` while writes are refused.
    pub small: Option<Wish>,
    /// For larger ones.
    pub large: Option<Wish>,
    /// Domains in service, or away and expected back.
    pub domains: usize,
    /// A domain is a node; else a file system. Drives that were several domains become one when a second node joins.
    pub by_node: bool,
}

impl Uplift {
    /// In this picture of the grid.
    pub fn new(grid: &GridSnapshot) -> Self {
        let named = Domains::new(grid);
        let mut numbers = BTreeMap::new();
        let mut domains = BTreeMap::new();
        // What was removed is as good as unknown: see `tolerance`.
        for drive in grid.drives.iter().filter(|drive| drive.state != DriveState::Removed) {
            let next = numbers.len();
            domains.insert(drive.id, *numbers.entry(named.of(drive)).or_insert(next));
        }
        let wish = |small: bool| {
            // A wish that a write could not have now either has to wait, whatever degraded writes are allowed to do.
            let profile = profile_for(ProfileChoice::Auto, small, grid, false).ok()?;
            let drives = place(profile, grid, &[], &mut |_| 0).ok()?.drives;
            Some(Wish { profile, tolerance: tolerance(&domains, profile, &drives) })
        };
        let (domains_in_service, by_node) = (named.in_service(), grid.node_count() >= 2);
        let wishes = Wishes { small: wish(true), large: wish(false), domains: domains_in_service, by_node };
        Self { domains, wishes }
    }

    /// All that it wishes for.
    pub fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// How many failure domains the segment may lose and still be read. A chunk that is missing, or on a drive that the
    /// grid does not know any more, counts as being where it will be rebuilt: on a domain of its own.
    pub fn tolerance(&self, segment: &Segment) -> usize {
        tolerance(&self.domains, segment.profile, &segment.drives)
    }

    /// The profile that a segment should be re-coded to, which was written as `choice` says; `None` where it is well as
    /// it is. It is re-coded where it may lose fewer domains than it could (a fallback, or a grid that had fewer domains,
    /// or drives of a single node that became one domain when others joined), and from copies to a code that may lose as
    /// many in less room. Never because of room alone otherwise: `ec:2+2` stays when a fifth domain comes.
    ///
    /// A fixed choice has no fallback, so it is what it was meant to be; and so is a profile that `auto` never gives.
    pub fn profile_for(&self, segment: &Segment, choice: ProfileChoice) -> Option<Profile> {
        let small = segment.length <= SMALL_BYTES_MAX;
        let wish = if small { self.wishes.small } else { self.wishes.large }?;
        let by_auto = row_of(segment.profile, true).or(row_of(segment.profile, false)).is_some();
        if choice != ProfileChoice::Auto || !by_auto {
            return None;
        }
        let better =
            is_better((segment.profile, self.tolerance(segment)), (wish.profile, wish.tolerance), small);
        better.then_some(wish.profile)
    }

    /// Is the re-coded segment what was hoped for? Drives that refused may have spoilt it.
    pub fn improves(&self, old: &Segment, new: &Segment) -> bool {
        let small = old.length <= SMALL_BYTES_MAX;
        is_better((old.profile, self.tolerance(old)), (new.profile, self.tolerance(new)), small)
    }
}

fn is_better(old: (Profile, usize), new: (Profile, usize), small: bool) -> bool {
    let less_room = || {
        let (Profile::Copies(_), Profile::Ec { .. }) = (old.0, new.0) else { return false };
        row_of(old.0, small) < row_of(new.0, small) && row_of(old.0, small).is_some()
    };
    new.1 > old.1 || (new.1 == old.1 && less_room())
}

/// The first row of the table that gives this profile.
fn row_of(profile: Profile, small: bool) -> Option<usize> {
    (1..=TABLE_ROWS).find(|domains| auto_profile(*domains, small) == profile)
}

fn tolerance(domains: &BTreeMap<DriveId, usize>, profile: Profile, drives: &[Option<DriveId>]) -> usize {
    let mut chunks: BTreeMap<usize, usize> = BTreeMap::new();
    let mut alone = 0;
    for drive in drives {
        match drive.and_then(|drive| domains.get(&drive)) {
            Some(domain) => *chunks.entry(*domain).or_default() += 1,
            None => alone += 1,
        }
    }
    let mut counts: Vec<usize> = chunks.into_values().chain(std::iter::repeat_n(1, alone)).collect();
    // The worst that can happen is that those with the most chunks go first.
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    let mut left = drives.len();
    let bearable = |count: &&usize| {
        left = left.saturating_sub(**count);
        left >= profile.data_chunks()
    };
    counts.iter().take_while(bearable).count()
}

#[cfg(test)]
#[path = "uplift_tests.rs"]
mod tests;

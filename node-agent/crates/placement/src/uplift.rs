//! Which segments could be better protected than they are: what `auto` would give them now against what they have, and
//! chunks that crowd one domain while another is free. And which hold a leaving drive back, having more chunks than there
//! will be drives.

use std::collections::{BTreeMap, BTreeSet};

use grid_types::{DriveId, DriveState, GridSnapshot, Profile, ProfileChoice, SMALL_BYTES_MAX, Segment};

use crate::ack_set::{ack_set_domains, durable_after_any_domain_loss};
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

/// What to do about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Write it anew in this profile.
    Recode(Profile),
    /// Move this chunk to a domain with fewer of them, as `place_one` chooses.
    Move(u8),
    /// Let this chunk go, with the drive that leaves: there will be fewer drives than chunks, and the others are enough. It
    /// is rebuilt when there is a drive for it.
    Release(u8),
}

/// What there is to wish for in one picture of the grid. As long as two of them are equal in what they wish for, a segment
/// that needs nothing by the one needs nothing by the other.
#[derive(Debug, Clone)]
pub struct Uplift {
    domains: BTreeMap<DriveId, usize>,
    /// Drives in service, or away and expected back.
    staying: BTreeSet<DriveId>,
    leaving: BTreeSet<DriveId>,
    /// Drives that take chunks now.
    writable: BTreeSet<DriveId>,
    domains_in_grid: usize,
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
    /// Drives that are ordered to leave.
    pub leaving: usize,
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
        let in_state = |states: &[DriveState]| -> BTreeSet<DriveId> {
            let here = grid.drives.iter().filter(|drive| states.contains(&drive.state));
            here.map(|drive| drive.id).collect()
        };
        let leaving = in_state(&[DriveState::Draining]);
        let wishes = Wishes {
            small: wish(true),
            large: wish(false),
            domains: named.in_service(),
            leaving: leaving.len(),
            by_node: grid.node_count() >= 2,
        };
        Self {
            staying: in_state(&[DriveState::Active, DriveState::Suspect]),
            leaving,
            writable: grid.drives.iter().filter(|drive| drive.writable()).map(|drive| drive.id).collect(),
            domains_in_grid: named.in_grid(),
            domains,
            wishes,
        }
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

    /// What should be done about a segment that was written as `choice` says; `None` where it is well as it is.
    ///
    /// One of `auto` is changed where it may lose fewer domains than it could (a fallback, or a grid that had fewer domains,
    /// or drives of a single node that became one domain when others joined), and from copies to a code that may lose as
    /// many in less room. Never because of room alone otherwise: `ec:2+2` stays when a fifth domain comes. It is re-coded
    /// where moving chunks would not do; and where drives leave and it has more chunks than drives stay, down to what they
    /// can carry. Not to less than that because some of them are away.
    ///
    /// A fixed choice keeps its profile, and so does a profile that `auto` never gives: its chunks are spread better, or let
    /// go with a drive that leaves as long as a write would be acknowledged with the others.
    pub fn change_for(&self, segment: &Segment, choice: ProfileChoice) -> Option<Change> {
        let by_auto = row_of(segment.profile, true).or(row_of(segment.profile, false)).is_some();
        if choice != ProfileChoice::Auto || !by_auto {
            let released = self.surplus(segment).filter(|_| self.may_go_on_with(segment));
            let moved = || self.spread(segment).map(|(index, _)| Change::Move(index));
            return released.map(Change::Release).or_else(moved);
        }
        let small = segment.length <= SMALL_BYTES_MAX;
        let wish = self.wish(segment)?;
        if self.is_stranded(segment) && wish.profile == auto_profile(self.wishes.domains, small) {
            let Profile::Copies(_) = segment.profile else { return Some(Change::Recode(wish.profile)) };
            // What is left of copies needs no writing.
            let left = self.kept(segment).into_iter().map(Some).collect::<Vec<_>>();
            let enough = tolerance(&self.domains, segment.profile, &left) >= wish.tolerance;
            return self.surplus(segment).filter(|_| enough && !left.is_empty()).map(Change::Release);
        }
        let now = self.tolerance(segment);
        if !is_better((segment.profile, now), (wish.profile, wish.tolerance), small) {
            return None;
        }
        let moved = self.spread(segment).filter(|(_, reached)| *reached >= wish.tolerance);
        Some(moved.map_or(Change::Recode(wish.profile), |(index, _)| Change::Move(index)))
    }

    /// Is the re-coded segment what was hoped for? Drives that refused may have spoilt it.
    pub fn improves(&self, old: &Segment, new: &Segment) -> bool {
        let small = old.length <= SMALL_BYTES_MAX;
        let reached = self.tolerance(new);
        let as_wished = || self.wish(old).is_some_and(|wish| reached >= wish.tolerance);
        is_better((old.profile, self.tolerance(old)), (new.profile, reached), small)
            || (self.is_stranded(old) && !self.is_stranded(new) && as_wished())
    }

    /// The drives of those of its chunks that no order moves.
    pub fn kept(&self, segment: &Segment) -> Vec<DriveId> {
        segment.drives.iter().flatten().filter(|drive| self.staying.contains(drive)).copied().collect()
    }

    fn wish(&self, segment: &Segment) -> Option<Wish> {
        if segment.length <= SMALL_BYTES_MAX { self.wishes.small } else { self.wishes.large }
    }

    /// It has a chunk that is missing or must leave, and never a drive for all of them.
    fn is_stranded(&self, segment: &Segment) -> bool {
        let homeless =
            |drive: &Option<DriveId>| drive.as_ref().is_none_or(|drive| self.leaving.contains(drive));
        segment.drives.len() > self.staying.len() && segment.drives.iter().any(homeless)
    }

    /// A chunk on a leaving drive that has nowhere to go: parity rather than data.
    fn surplus(&self, segment: &Segment) -> Option<u8> {
        if segment.drives.iter().flatten().count() <= self.staying.len() {
            return None;
        }
        let leaves = |drive: &Option<DriveId>| drive.is_some_and(|drive| self.leaving.contains(&drive));
        segment.drives.iter().rposition(leaves).and_then(|index| u8::try_from(index).ok())
    }

    /// Would a write be acknowledged with the chunks that stay?
    fn may_go_on_with(&self, segment: &Segment) -> bool {
        let (profile, kept) = (segment.profile, self.kept(segment));
        if profile.loss_tolerance() == 0 || self.domains_in_grid <= 1 {
            return kept.len() >= ack_set_domains(profile);
        }
        let domains: Vec<usize> = kept.iter().filter_map(|drive| self.domains.get(drive).copied()).collect();
        durable_after_any_domain_loss(profile.data_chunks(), &domains)
    }

    /// The chunk to move first so that in the end the segment may lose more domains than now, and how many those are.
    fn spread(&self, segment: &Segment) -> Option<(u8, usize)> {
        let mut drives = segment.drives.clone();
        let mut first = None;
        // Each move takes from the fullest domain: no chunk moves twice.
        for _ in 0..drives.len() {
            let Some((index, target)) = self.next_move(&drives) else { break };
            first = first.or(Some(index));
            drives[index] = Some(target);
        }
        let reached = tolerance(&self.domains, segment.profile, &drives);
        let index = first.filter(|_| reached > self.tolerance(segment))?;
        Some((u8::try_from(index).ok()?, reached))
    }

    /// From the domain with the most chunks to one with at least two less.
    fn next_move(&self, drives: &[Option<DriveId>]) -> Option<(usize, DriveId)> {
        let mut chunks: BTreeMap<usize, usize> = BTreeMap::new();
        for domain in drives.iter().flatten().filter_map(|drive| self.domains.get(drive)) {
            *chunks.entry(*domain).or_default() += 1;
        }
        let on_domain_of = |drive: &DriveId| {
            self.domains.get(drive).and_then(|domain| chunks.get(domain)).copied().unwrap_or(0)
        };
        let free = self.writable.iter().filter(|drive| !drives.contains(&Some(**drive)));
        let target = free.min_by_key(|drive| on_domain_of(drive))?;
        let staying = |drive: &Option<DriveId>| drive.filter(|drive| self.staying.contains(drive));
        let crowded = |(index, drive)| Some((index, on_domain_of(&staying(drive)?)));
        let (index, most) = drives.iter().enumerate().filter_map(crowded).max_by_key(|(_, most)| *most)?;
        (on_domain_of(target) + 2 <= most).then_some((index, *target))
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

//! Draws an ordered list of drives, weighted by score and free room, spread over failure domains.

use std::collections::BTreeMap;

use grid_types::{DriveId, DriveSnapshot, FailureDomain, GridSnapshot, NodeId, Profile};

use crate::ack_set::{ack_set_domains, durable_after_any_domain_loss};
use crate::domains::Domains;

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
    /// Chunk index → drive, `profile.total_chunks()` entries, distinct drives. `None` where no drive is left for the
    /// chunk although those placed reach the ack set: only at the end, so parity goes without before data does.
    pub drives: Vec<Option<DriveId>>,
}

/// Chooses distinct drives, preferring distinct domains; fewer domains than chunks is allowed only where the ack set
/// can still be reached (several drives of one domain, or chunks left for repair). `draw(n)` returns a uniform number
/// below n. `avoid` are never chosen (drives that just failed, or hold another chunk of the segment).
pub fn place(
    profile: Profile,
    grid: &GridSnapshot,
    avoid: &[DriveId],
    draw: &mut dyn FnMut(u64) -> u64,
) -> Result<Placement, PlacementError> {
    place_near(profile, grid, None, avoid, draw)
}

/// As `place`, with the first chunk on a drive of node `near`, where that node is among equals: it has at least its
/// share of all room and score. That saves one way over the network; a node that fills up faster than the others
/// because of it is no longer preferred.
pub fn place_near(
    profile: Profile,
    grid: &GridSnapshot,
    near: Option<NodeId>,
    avoid: &[DriveId],
    draw: &mut dyn FnMut(u64) -> u64,
) -> Result<Placement, PlacementError> {
    let mut spread = Spread::new(grid, avoid);
    let near = near.filter(|near| spread.has_its_share(*near));
    let mut drives = Vec::with_capacity(profile.total_chunks());
    for chunk in 0..profile.total_chunks() {
        let near = near.filter(|_| chunk == 0);
        drives.push(spread.draw(near, draw).map(|drive| drive.id));
    }
    if spread.reaches(profile) {
        return Ok(Placement { drives });
    }
    let domains = Domains::new(grid);
    let writable = domains.writable();
    if domains.writable_but_for_room() > writable && avoid.is_empty() {
        return Err(PlacementError::StorageFull);
    }
    Err(PlacementError::InsufficientDomains { profile, needed: ack_set_domains(profile), writable })
}

/// Chooses one more drive for a segment that has chunks on `occupied` already: a drive of a domain with the fewest of
/// them, weighted as in `place`. `None` when no writable drive is left. What repair, drain and uplift ask.
pub fn place_one(
    grid: &GridSnapshot,
    occupied: &[DriveId],
    avoid: &[DriveId],
    draw: &mut dyn FnMut(u64) -> u64,
) -> Option<DriveId> {
    let mut spread = Spread::new(grid, avoid);
    for id in occupied {
        spread.occupy(*id);
    }
    spread.draw(None, draw).map(|drive| drive.id)
}

/// True when `place` would succeed for this profile: `draw` decides which drives, never whether.
pub(crate) fn reaches_ack_set(profile: Profile, grid: &GridSnapshot, avoid: &[DriveId]) -> bool {
    place(profile, grid, avoid, &mut |_| 0).is_ok()
}

/// Drives still to be had, and how many chunks each domain has already.
struct Spread<'a> {
    domains: Domains<'a>,
    grid: &'a GridSnapshot,
    candidates: Vec<Candidate<'a>>,
    chunks: BTreeMap<FailureDomain, usize>,
}

struct Candidate<'a> {
    drive: &'a DriveSnapshot,
    domain: FailureDomain,
    weight: u64,
}

impl<'a> Spread<'a> {
    fn new(grid: &'a GridSnapshot, avoid: &[DriveId]) -> Self {
        let domains = Domains::new(grid);
        let candidates = grid
            .drives
            .iter()
            .filter(|drive| drive.writable() && !avoid.contains(&drive.id))
            .map(|drive| Candidate { drive, domain: domains.of(drive), weight: weight(drive) })
            .collect();
        Self { domains, grid, candidates, chunks: BTreeMap::new() }
    }

    /// Takes a drive out and counts its chunk.
    fn occupy(&mut self, id: DriveId) {
        self.candidates.retain(|candidate| candidate.drive.id != id);
        if let Some(drive) = self.grid.drive(id) {
            *self.chunks.entry(self.domains.of(drive)).or_default() += 1;
        }
    }

    /// Is the weight of this node's drives at least the mean of all nodes that take writes?
    fn has_its_share(&self, node: NodeId) -> bool {
        let mut by_node: BTreeMap<NodeId, u64> = BTreeMap::new();
        for candidate in &self.candidates {
            *by_node.entry(candidate.drive.node).or_default() += candidate.weight;
        }
        let all: u64 = by_node.values().sum();
        by_node.get(&node).is_some_and(|weight| weight.saturating_mul(by_node.len() as u64) >= all)
    }

    /// One drive of those whose domain has the fewest chunks; of node `near` alone, where it is given.
    fn draw(&mut self, near: Option<NodeId>, draw: &mut dyn FnMut(u64) -> u64) -> Option<&'a DriveSnapshot> {
        let chunks_on = |candidate: &Candidate| self.chunks.get(&candidate.domain).copied().unwrap_or(0);
        let fewest = self.candidates.iter().map(chunks_on).min()?;
        let eligible: Vec<usize> = (0..self.candidates.len())
            .filter(|index| chunks_on(&self.candidates[*index]) == fewest)
            .filter(|index| near.is_none_or(|near| self.candidates[*index].drive.node == near))
            .collect();
        let total: u64 = eligible.iter().map(|index| self.candidates[*index].weight).sum();
        let mut ticket = draw(total);
        let chosen = eligible.into_iter().find(|index| {
            let weight = self.candidates[*index].weight;
            let here = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            here
        })?;
        let candidate = self.candidates.swap_remove(chosen);
        *self.chunks.entry(candidate.domain).or_default() += 1;
        Some(candidate.drive)
    }

    /// Do all chunks placed, once synced, make an ack set? In a grid of a single domain (drives of one file system)
    /// the loss of the domain is beyond any profile; there a profile that may lose chunks wants k + 1 distinct drives.
    fn reaches(&self, profile: Profile) -> bool {
        let placed: usize = self.chunks.values().sum();
        if profile.loss_tolerance() == 0 || self.domains.in_grid() <= 1 {
            return placed >= ack_set_domains(profile);
        }
        let acked: Vec<FailureDomain> = self
            .chunks
            .iter()
            .flat_map(|(domain, count)| std::iter::repeat_n(domain.clone(), *count))
            .collect();
        durable_after_any_domain_loss(profile.data_chunks(), &acked)
    }
}

/// Score times free room in MiB: 100 × 2^44 at most for a drive of 16 EiB, so a sum over 4,000 such drives fits u64.
fn weight(drive: &DriveSnapshot) -> u64 {
    u64::from(drive.write_score.get()) * ((drive.free_bytes >> 20) + 1)
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;

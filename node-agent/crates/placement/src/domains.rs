//! Which failure domains there are, and which of them take writes now.

use std::collections::BTreeSet;

use grid_types::{DriveSnapshot, DriveState, FailureDomain, GridSnapshot};

/// The domains of one snapshot. Names are computed once, because a snapshot decides by its node count what a domain is.
pub struct Domains<'a> {
    grid: &'a GridSnapshot,
    by_node: bool,
}

impl<'a> Domains<'a> {
    /// Of this snapshot.
    pub fn new(grid: &'a GridSnapshot) -> Self {
        Self { grid, by_node: grid.node_count() >= 2 }
    }

    /// The domain of one of its drives; the same as `GridSnapshot::domain`.
    pub fn of(&self, drive: &DriveSnapshot) -> FailureDomain {
        if self.by_node { FailureDomain(drive.node.to_string()) } else { drive.file_system.clone() }
    }

    fn count(&self, mut counts: impl FnMut(&DriveSnapshot) -> bool) -> usize {
        let names: BTreeSet<FailureDomain> =
            self.grid.drives.iter().filter(|drive| counts(drive)).map(|drive| self.of(drive)).collect();
        names.len()
    }

    /// Domains whose loss the grid's promise is about: those in service or broken without an order. A drive that is
    /// being drained leaves by order and counts no more; one that waits or is foreign does not count yet.
    pub fn in_grid(&self) -> usize {
        self.count(|drive| {
            matches!(drive.state, DriveState::Active | DriveState::Suspect | DriveState::Failing)
        })
    }

    /// Domains that the table of `auto` counts: in service, or away and expected back.
    pub fn in_service(&self) -> usize {
        self.count(|drive| matches!(drive.state, DriveState::Active | DriveState::Suspect))
    }

    /// Domains that take writes now.
    pub fn writable(&self) -> usize {
        self.count(DriveSnapshot::writable)
    }

    /// Domains that would take writes now if none of their drives was full.
    pub fn writable_but_for_room(&self) -> usize {
        self.count(|drive| drive.state.writable() && drive.write_score > grid_types::Score::LOCKED)
    }
}

/// Domains in the grid, as `ack_set_reached` wants them.
pub fn domains_in_grid(grid: &GridSnapshot) -> usize {
    Domains::new(grid).in_grid()
}

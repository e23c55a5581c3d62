//! The state machine of a drive, drawn in docs/formats and design/membership.md:
//! waiting → active ⇄ suspect → failing → draining → removed; foreign.

use serde::{Deserialize, Serialize};

/// Where a drive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriveState {
    /// Known, not yet in service.
    Waiting,
    /// Takes reads and writes.
    Active,
    /// Missing or slow; read if nothing better is there, no new chunks.
    Suspect,
    /// A failed sync or a missing label: out of service, its chunks are rebuilt elsewhere.
    Failing,
    /// By order: readable, no new chunks, its chunks move away.
    Draining,
    /// Left the grid.
    Removed,
    /// Carries another node's or grid's label; offered for adoption, never touched.
    Foreign,
}

/// What moves a drive from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveEvent {
    /// An order (`init`, `drive add`) put it in service.
    Accepted,
    /// It stopped answering or answers too slowly.
    Lost,
    /// A probe succeeded: label right, reads and synced writes work.
    Probed,
    /// A sync failed or the label is gone or wrong.
    Failed,
    /// The operator ordered it emptied.
    DrainOrdered,
    /// Nothing that the grid needs is left on it.
    Emptied,
    /// A label of another node or grid was found.
    ForeignLabel,
}

impl DriveState {
    /// The state after `event`; `None` where the event makes no sense in this state.
    pub fn after(self, event: DriveEvent) -> Option<Self> {
        use DriveEvent as E;
        Some(match (self, event) {
            (Self::Removed, _) => return None,
            (_, E::ForeignLabel) => Self::Foreign,
            (Self::Foreign | Self::Waiting | Self::Failing, E::Accepted) => Self::Active,
            (Self::Active, E::Lost) => Self::Suspect,
            (Self::Suspect, E::Probed) => Self::Active,
            (Self::Active | Self::Suspect, E::Failed) => Self::Failing,
            (Self::Active | Self::Suspect | Self::Failing, E::DrainOrdered) => Self::Draining,
            (Self::Draining | Self::Failing, E::Emptied) => Self::Removed,
            _ => return None,
        })
    }

    /// May a new chunk go there?
    pub const fn writable(self) -> bool {
        matches!(self, Self::Active)
    }

    /// May a chunk be read from there?
    pub const fn readable(self) -> bool {
        matches!(self, Self::Active | Self::Suspect | Self::Draining)
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;

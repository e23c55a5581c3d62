//! An immutable picture of the grid, published by whoever watches it and read by placement, reads and repair.

use serde::{Deserialize, Serialize};

use crate::{DriveId, DriveState, NodeId};

/// 0..=100; 0 means locked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Score(u8);

impl Score {
    /// Takes nothing.
    pub const LOCKED: Self = Self(0);
    /// As good as it gets.
    pub const BEST: Self = Self(100);

    /// Clamped to 100.
    pub fn new(value: u8) -> Self {
        Self(value.min(100))
    }

    /// 0..=100.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// What is lost together. Ordered from wide to narrow; a drive shares a domain with another one when the ids are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FailureDomain(pub String);

/// One drive as the grid sees it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveSnapshot {
    /// The drive.
    pub id: DriveId,
    /// The node that holds it.
    pub node: NodeId,
    /// The file system it lies on: two drives on one are one failure domain.
    pub file_system: FailureDomain,
    /// Its state.
    pub state: DriveState,
    /// Read score; 0 = locked.
    pub read_score: Score,
    /// Write score; 0 = locked.
    pub write_score: Score,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// Bytes that clients may still fill: free space less what the drive keeps back.
    pub free_bytes: u64,
}

impl DriveSnapshot {
    /// May a new chunk go there?
    pub fn writable(&self) -> bool {
        self.state.writable() && self.write_score > Score::LOCKED && self.free_bytes > 0
    }

    /// May a chunk be read from there?
    pub fn readable(&self) -> bool {
        self.state.readable() && self.read_score > Score::LOCKED
    }
}

/// The grid at one moment. `epoch` grows with each change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridSnapshot {
    /// Grows by one with each change.
    pub epoch: u64,
    /// All drives that are not removed, ordered by id.
    pub drives: Vec<DriveSnapshot>,
    /// True when every member has AES instructions: new segments may be sealed with AES-256-GCM.
    pub all_have_aes: bool,
}

impl GridSnapshot {
    /// The drive with this id.
    pub fn drive(&self, id: DriveId) -> Option<&DriveSnapshot> {
        self.drives.iter().find(|drive| drive.id == id)
    }

    /// Nodes that hold at least one drive in service, away or failing: a node that is down counts, since what is written
    /// without it must survive another loss; one whose drives all wait, are foreign or are being drained does not.
    pub fn node_count(&self) -> usize {
        let counts = |drive: &&DriveSnapshot| {
            matches!(drive.state, DriveState::Active | DriveState::Suspect | DriveState::Failing)
        };
        let nodes: std::collections::BTreeSet<NodeId> =
            self.drives.iter().filter(counts).map(|drive| drive.node).collect();
        nodes.len()
    }

    /// The failure domain at the level that profiles count: the node where there are two or more,
    /// else the drive's file system.
    pub fn domain(&self, drive: &DriveSnapshot) -> FailureDomain {
        if self.node_count() >= 2 { FailureDomain(drive.node.to_string()) } else { drive.file_system.clone() }
    }
}

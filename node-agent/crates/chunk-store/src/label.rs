//! The label that makes a directory a drive: grid, node and drive id, in a file at its root.

use grid_types::{DriveId, GridId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use sys::Disk;

/// The file's name at the root of the drive.
pub const LABEL_FILE: &str = "shoal-drive";

/// Who a drive is and whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveLabel {
    /// The grid.
    pub grid: GridId,
    /// The node.
    pub node: NodeId,
    /// The drive.
    pub drive: DriveId,
    /// Grows with each rewrite.
    pub generation: u64,
    /// When the label was first made.
    pub created: Timestamp,
}

/// Reads a label; `Ok(None)` where the directory has none; an error where it has one that is damaged.
pub fn read(_disk: &dyn Disk) -> std::io::Result<Option<DriveLabel>> {
    todo!()
}

/// Makes a directory a drive. Refuses (`AlreadyExists`) one that has a label or, unless `allow_not_empty`, any entry
/// other than `lost+found`.
pub fn create(_disk: &dyn Disk, _label: &DriveLabel, _allow_not_empty: bool) -> std::io::Result<()> {
    todo!()
}

//! The metadata home: on which drives of this node the log and the snapshots live.

use std::sync::Arc;

use grid_types::DriveId;
use sys::Disk;

/// Mirrors of the log a node keeps where it has as many drives.
pub const MIRRORS_WANTED: usize = 3;

/// A drive that may carry a mirror; everything lies under `meta/` on it.
#[derive(Clone)]
pub struct HomeDrive {
    /// The drive.
    pub id: DriveId,
    /// Its disk.
    pub disk: Arc<dyn Disk>,
}

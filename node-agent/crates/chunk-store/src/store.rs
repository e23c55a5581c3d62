//! All drives of this node.

use std::sync::Arc;

use grid_types::DriveId;

use crate::Drive;

/// All drives of this node that could be opened. Cheap to clone.
#[derive(Clone)]
pub struct ChunkStore {
    drives: Arc<parking_lot::RwLock<Vec<Drive>>>,
}

impl ChunkStore {
    /// Starts with these drives.
    pub fn new(drives: Vec<Drive>) -> Self {
        Self { drives: Arc::new(parking_lot::RwLock::new(drives)) }
    }

    /// The drive with this id, in service or not.
    pub fn drive(&self, id: DriveId) -> Option<Drive> {
        self.drives.read().iter().find(|drive| drive.id() == id).cloned()
    }

    /// All drives.
    pub fn drives(&self) -> Vec<Drive> {
        self.drives.read().clone()
    }

    /// Adds a drive, or replaces the handle with the same id (a drive that came back).
    pub fn add(&self, drive: Drive) {
        let mut drives = self.drives.write();
        drives.retain(|known| known.id() != drive.id());
        drives.push(drive);
    }

    /// Forgets a drive.
    pub fn remove(&self, id: DriveId) {
        self.drives.write().retain(|known| known.id() != id);
    }
}

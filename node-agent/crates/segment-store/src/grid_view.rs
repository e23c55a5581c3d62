//! The current `GridSnapshot`, published by whoever watches the drives; and the way back to him: drives that writes had
//! to leave behind.

use std::sync::Arc;

use arc_swap::ArcSwap;
use grid_types::{DriveId, GridSnapshot};

use crate::health::SlowDrives;

/// A shared pointer to the newest snapshot. Cheap to clone.
#[derive(Clone, Default)]
pub struct GridView {
    current: Arc<ArcSwap<GridSnapshot>>,
    pub(crate) slow: Arc<SlowDrives>,
}

impl GridView {
    /// The newest snapshot.
    pub fn load(&self) -> Arc<GridSnapshot> {
        self.current.load_full()
    }

    /// Publishes a newer one.
    pub fn publish(&self, snapshot: GridSnapshot) {
        self.current.store(Arc::new(snapshot));
    }

    /// Drives that writes went on without twice within a minute, since the last call. Whoever watches the drives gives
    /// them no new chunks until a probe succeeds.
    pub fn take_slow_drives(&self) -> Vec<DriveId> {
        self.slow.take()
    }
}

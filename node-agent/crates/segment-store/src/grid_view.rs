//! The current `GridSnapshot`, published by whoever watches the drives.

use std::sync::Arc;

use arc_swap::ArcSwap;
use grid_types::GridSnapshot;

/// A shared pointer to the newest snapshot. Cheap to clone.
#[derive(Clone, Default)]
pub struct GridView {
    current: Arc<ArcSwap<GridSnapshot>>,
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
}

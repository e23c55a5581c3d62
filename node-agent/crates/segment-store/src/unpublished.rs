//! Chunks that are synced, or about to be, while no row names them.

use std::sync::Arc;

use chunk_store::ChunkError;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use grid_types::{ChunkKey, DriveId, FailureDomain, SegmentId};

use crate::store::Shared;

/// The end of one chunk: its index, its drive, the domain of that, and how it went.
pub(crate) type Finishing = BoxFuture<'static, (usize, DriveId, FailureDomain, Result<(), ChunkError>)>;

/// Chunks that are synced or about to be while no row names them. Dropped without `publish`, it waits for the syncs
/// in the background and removes the chunks; what a crash leaves is the reaper's.
pub(crate) struct Unpublished {
    shared: Arc<Shared>,
    segment: SegmentId,
    pub finishing: FuturesUnordered<Finishing>,
    /// Those synced, and those of which nobody knows.
    pub synced: Vec<(ChunkKey, DriveId)>,
    published: bool,
}

impl Unpublished {
    pub fn new(shared: Arc<Shared>, segment: SegmentId) -> Self {
        Self { shared, segment, finishing: FuturesUnordered::new(), synced: Vec::new(), published: false }
    }

    /// The row will name what is synced; stragglers are reaped.
    pub fn publish(mut self) {
        self.published = true;
    }
}

impl Drop for Unpublished {
    fn drop(&mut self) {
        if self.published || (self.synced.is_empty() && self.finishing.is_empty()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, segment) = (self.shared.clone(), self.segment);
        let mut finishing = std::mem::take(&mut self.finishing);
        let mut synced = std::mem::take(&mut self.synced);
        runtime.spawn(async move {
            while let Some((index, drive, _, result)) = finishing.next().await {
                if matches!(result, Ok(()) | Err(ChunkError::Unreachable { .. })) {
                    synced.push((ChunkKey { segment, index: index as u8 }, drive));
                }
            }
            for (chunk, drive) in synced {
                if let Some(drive) = shared.drives.drive(drive)
                    && let Err(error) = drive.remove(vec![chunk]).await
                {
                    tracing::warn!(%chunk, %error, "a chunk of a failed write stays until it is reaped");
                }
            }
        });
    }
}

//! Dropping segments that no row will ever name.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use grid_types::{ChunkKey, DriveId, Segment};

use crate::SegmentStore;

impl SegmentStore {
    /// Removes the chunks of segments whose commit was never proposed or was refused: no row names them and none ever
    /// will. Does what it can; what stays is an orphan for the reaper.
    pub async fn discard(&self, segments: &[Segment]) {
        let mut by_drive: BTreeMap<DriveId, Vec<ChunkKey>> = BTreeMap::new();
        for (chunk, drive) in segments.iter().flat_map(Segment::chunks) {
            by_drive.entry(drive).or_default().push(chunk);
        }
        let removals = by_drive.into_iter().filter_map(|(id, chunks)| {
            let drive = self.shared.drives.drive(id)?;
            Some(async move {
                if let Err(error) = drive.remove(chunks).await {
                    tracing::debug!(drive = %id, %error, "chunks of a failed write stay for the reaper");
                }
            })
        });
        // At once: a node that does not answer must not keep the others waiting.
        join_all(removals).await;
    }
}

//! Dropping segments that no row will ever name.

use std::collections::BTreeMap;

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
        for (id, chunks) in by_drive {
            let Some(drive) = self.shared.chunks.drive(id) else { continue };
            if let Err(error) = drive.remove(chunks).await {
                tracing::debug!(drive = %id, %error, "chunks of a failed write stay for the reaper");
            }
        }
    }
}

//! Segments of a backup as they lie now: repair may have moved their chunks since the list was written.

use chunk_store::{ChunkStore, Drive};
use grid_types::{ChunkKey, Segment};

/// The same segment with each chunk on a drive that has it now.
pub(super) async fn located(chunks: &ChunkStore, segment: &Segment) -> Segment {
    let mut now = segment.clone();
    for (index, place) in (0u8..).zip(&mut now.drives) {
        let chunk = ChunkKey { segment: segment.id, index };
        let listed = place.and_then(|id| chunks.drive(id));
        *place = None;
        for drive in listed.into_iter().chain(chunks.drives()) {
            if has(&drive, chunk).await {
                *place = Some(drive.id());
                break;
            }
        }
    }
    now
}

async fn has(drive: &Drive, chunk: ChunkKey) -> bool {
    drive.info(chunk).await.is_ok()
}

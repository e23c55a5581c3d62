//! Rebuilding lost or rotten chunks from the others: works on ciphertext, needs no key.

use grid_types::{DriveId, Segment};

use crate::{SegmentError, SegmentStore};

impl SegmentStore {
    /// Rebuilds chunk `index` onto `target`: reads any k good chunks, codes, writes, syncs, re-reads. The new chunk is
    /// not in the row yet: the caller relocates or reaps.
    pub async fn rebuild_chunk(
        &self,
        _segment: &Segment,
        _index: u8,
        _target: DriveId,
    ) -> Result<(), SegmentError> {
        todo!()
    }
}

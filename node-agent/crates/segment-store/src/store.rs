//! The entry point.

use std::ops::Range;
use std::sync::Arc;

use chunk_store::ChunkStore;
use grid_types::{ChunkKey, DriveId, MemoryBudget, Segment};
use keyring::BucketKey;
use sys::Random;

use crate::{GridView, SegmentConfig, SegmentError, SegmentReader, SegmentSpec, SegmentWriter};

/// Seals, codes and spreads segments. Cheap to clone.
#[derive(Clone)]
pub struct SegmentStore {}

impl SegmentStore {
    /// Over this node's drives.
    pub fn new(
        _chunks: ChunkStore,
        _grid: GridView,
        _random: Arc<dyn Random>,
        _budget: MemoryBudget,
        _config: SegmentConfig,
    ) -> Self {
        todo!()
    }

    /// The current picture of the grid.
    pub fn grid(&self) -> &GridView {
        todo!()
    }

    /// Starts a segment: draws its id, chooses drives, opens chunks. Waits for memory in line.
    pub async fn begin(&self, _spec: SegmentSpec) -> Result<SegmentWriter, SegmentError> {
        todo!()
    }

    /// Reads `range` (of plaintext, non-empty, within the segment).
    pub fn read(&self, _segment: Segment, _key: BucketKey, _range: Range<u64>) -> SegmentReader {
        todo!()
    }

    /// Chunks that reads found bad or missing since the last call: repair's queue (bounded, newest kept).
    pub fn take_damaged(&self) -> Vec<(ChunkKey, DriveId)> {
        todo!()
    }
}

//! The entry point.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use chunk_store::ChunkStore;
use codec::{ErasureCode, ErasureError};
use grid_types::{BudgetError, ChunkKey, DriveId, MemoryBudget, MemoryPermit, NodeId, Profile, Segment};
use keyring::BucketKey;
use parking_lot::Mutex;
use rpc::Network;
use sys::Random;

use crate::buffers::BufferPool;
use crate::health::DamagedChunks;
use crate::{
    DriveDirectory, GridView, SegmentConfig, SegmentError, SegmentReader, SegmentSpec, SegmentWriter,
};

/// Seals, codes and spreads segments. Cheap to clone.
#[derive(Clone)]
pub struct SegmentStore {
    pub(crate) shared: Arc<Shared>,
}

/// What all writers and readers share.
pub(crate) struct Shared {
    pub drives: DriveDirectory,
    pub grid: GridView,
    pub random: Arc<dyn Random>,
    pub budget: MemoryBudget,
    pub config: SegmentConfig,
    pub buffers: Arc<BufferPool>,
    pub damaged: DamagedChunks,
    codes: Mutex<BTreeMap<(u8, u8), ErasureCode>>,
}

impl SegmentStore {
    /// Over this node's drives alone.
    pub fn new(
        chunks: ChunkStore,
        grid: GridView,
        random: Arc<dyn Random>,
        budget: MemoryBudget,
        config: SegmentConfig,
    ) -> Self {
        Self::over(DriveDirectory::local(chunks, grid), random, budget, config)
    }

    /// Over the drives of this node, `own`, and those of all others that `grid` names.
    pub fn spread(
        own: NodeId,
        network: Arc<dyn Network>,
        chunks: ChunkStore,
        grid: GridView,
        random: Arc<dyn Random>,
        budget: MemoryBudget,
        config: SegmentConfig,
    ) -> Self {
        let drives = DriveDirectory::new(own, network, chunks, grid, config.remote.clone());
        Self::over(drives, random, budget, config)
    }

    fn over(
        drives: DriveDirectory,
        random: Arc<dyn Random>,
        budget: MemoryBudget,
        config: SegmentConfig,
    ) -> Self {
        let shared = Shared {
            grid: drives.grid().clone(),
            drives,
            random,
            budget,
            config,
            buffers: Arc::default(),
            damaged: DamagedChunks::default(),
            codes: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All drives of the grid, as this node reaches them.
    pub fn drives(&self) -> &DriveDirectory {
        &self.shared.drives
    }

    /// The current picture of the grid.
    pub fn grid(&self) -> &GridView {
        &self.shared.grid
    }

    /// Starts a segment: draws its id, chooses drives, opens chunks. Waits for memory in line. Drives that refuse are
    /// replaced by others as long as the ack set can be reached. Safe to drop.
    pub async fn begin(&self, spec: SegmentSpec) -> Result<SegmentWriter, SegmentError> {
        SegmentWriter::begin(self.shared.clone(), spec).await
    }

    /// Reads `range` (of plaintext, non-empty, within the segment).
    pub fn read(&self, segment: Segment, key: BucketKey, range: Range<u64>) -> SegmentReader {
        SegmentReader::new(self.shared.clone(), segment, &key, range)
    }

    /// Chunks that reads found bad or missing since the last call: repair's queue (bounded, newest kept).
    pub fn take_damaged(&self) -> Vec<(ChunkKey, DriveId)> {
        self.shared.damaged.take()
    }

    /// Gives buffers kept for the next stripe back to the system: for an idle node.
    pub fn trim_memory(&self) {
        self.shared.buffers.clear();
    }

    /// Chunks that writes left behind since the start, for metrics.
    pub fn cut_offs(&self) -> u64 {
        self.shared.grid.slow.cut_offs()
    }
}

impl Shared {
    /// The code of a profile; `None` for copies. Matrices are made once.
    pub fn code(&self, profile: Profile) -> Result<Option<ErasureCode>, ErasureError> {
        let Profile::Ec { k, m } = profile else { return Ok(None) };
        let mut codes = self.codes.lock();
        if let Some(code) = codes.get(&(k, m)) {
            return Ok(Some(code.clone()));
        }
        let code = ErasureCode::new(usize::from(k), usize::from(m))?;
        codes.insert((k, m), code.clone());
        Ok(Some(code))
    }

    /// Waits in line for memory, but not for ever. More than the limit has in all is cut to what it has.
    pub async fn memory(&self, bytes: u64) -> Result<MemoryPermit, SegmentError> {
        let bytes = bytes.min(self.budget.total());
        if let Ok(permit) = self.budget.try_acquire(bytes) {
            return Ok(permit);
        }
        match tokio::time::timeout(self.config.memory_wait_max, self.budget.acquire(bytes)).await {
            Ok(permit) => Ok(permit?),
            Err(_) => Err(BudgetError::Exhausted { limit: "segment streams" }.into()),
        }
    }
}

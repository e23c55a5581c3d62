//! One drive: the handle that everybody else holds. Cheap to clone. Dropping the last handle stops its threads.

use std::sync::Arc;

use bytes::Bytes;
use grid_types::{ChunkKey, DriveId, Profile};
use sys::{Clock, Disk};

use crate::{ChunkError, ChunkHeader, ChunkWriter, DriveConfig, DriveLabel};

/// A chunk without its frames.
#[derive(Debug, Clone)]
pub struct ChunkInfo {
    /// Its header, `plain_len` filled from the footer.
    pub header: ChunkHeader,
    /// What the writer put into the footer (for a version's last segment: the sealed object record).
    pub footer: Vec<u8>,
    /// Bytes on the drive, everything included.
    pub stored_len: u64,
}

/// Counters since start.
#[derive(Debug, Clone, Default)]
pub struct DriveStats {
    /// Bytes of frames read.
    pub read_bytes: u64,
    /// Bytes written, headers included.
    pub written_bytes: u64,
    /// Completed syncs.
    pub syncs: u64,
    /// Frames, headers or records that did not match their hash.
    pub corruptions: u64,
    /// p95 of the last reads, in microseconds.
    pub read_p95_us: u64,
    /// p95 of the last syncs, in microseconds.
    pub sync_p95_us: u64,
}

/// What status shows of a drive.
#[derive(Debug, Clone)]
pub struct DriveSummary {
    /// Its label.
    pub label: DriveLabel,
    /// Names its file system.
    pub file_system: String,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// Bytes that clients may still fill (free less the reserve).
    pub free_bytes: u64,
    /// `None` in service; else why not, in words.
    pub out_of_service: Option<String>,
    /// Counters.
    pub stats: DriveStats,
}

/// One drive in service. All methods may be called from any task; a dropped future of a read is safe, a dropped
/// future of `ChunkWriter::finish` runs to completion.
#[derive(Clone)]
pub struct Drive {}

impl Drive {
    /// Opens a labelled drive: checks the label, completes or rebuilds the index, removes unfinished files.
    /// Blocks; call on a blocking thread.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _clock: Arc<dyn Clock>,
        _config: DriveConfig,
    ) -> Result<Self, ChunkError> {
        todo!()
    }

    /// Its id.
    pub fn id(&self) -> DriveId {
        todo!()
    }

    /// What status shows; asks the file system for its room.
    pub fn summary(&self) -> DriveSummary {
        todo!()
    }

    /// Starts a chunk of at most `payload_len_max` payload bytes (decides pack or file; reserves the room).
    pub async fn begin(
        &self,
        _header: ChunkHeader,
        _payload_len_max: u64,
    ) -> Result<ChunkWriter, ChunkError> {
        todo!()
    }

    /// Reads and verifies frames `first..first + count`; one `Bytes` (the block, without hash) a frame.
    /// `profile` and lengths come from the chunk's own header and footer.
    pub async fn read_frames(
        &self,
        _chunk: ChunkKey,
        _first: u64,
        _count: u64,
    ) -> Result<Vec<Bytes>, ChunkError> {
        todo!()
    }

    /// Header and footer, both verified.
    pub async fn info(&self, _chunk: ChunkKey) -> Result<ChunkInfo, ChunkError> {
        todo!()
    }

    /// Verifies a whole chunk: header, every frame, footer.
    pub async fn verify(&self, _chunk: ChunkKey) -> Result<(), ChunkError> {
        todo!()
    }

    /// Removes chunks, durably, in one batch; those that are not there count as removed.
    pub async fn remove(&self, _chunks: Vec<ChunkKey>) -> Result<(), ChunkError> {
        todo!()
    }

    /// Chunks on this drive in key order, after `after`, at most `limit`.
    pub async fn list(&self, _after: Option<ChunkKey>, _limit: usize) -> Result<Vec<ChunkKey>, ChunkError> {
        todo!()
    }

    /// Compacts the pack with the least live data if less than half of it lives. True if one was compacted.
    pub async fn compact_once(&self) -> Result<bool, ChunkError> {
        todo!()
    }

    /// Re-reads the label and tries a small synced write: what a prober calls. Takes the drive out of service on failure.
    pub async fn probe(&self) -> Result<(), ChunkError> {
        todo!()
    }

    /// Takes the drive out of service; every later call fails with `OutOfService`.
    pub fn take_out_of_service(&self, _reason: &str) {
        todo!()
    }

    /// The disk under it, for metadata home and drive files.
    pub fn disk(&self) -> Arc<dyn Disk> {
        todo!()
    }
}

#[allow(unused)]
const fn _profile_is_used(_: Profile) {}

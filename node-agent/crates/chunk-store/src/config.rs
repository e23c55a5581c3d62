//! Limits and periods of one drive.

/// Limits and periods of one drive; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct DriveConfig {
    /// Chunks with up to this payload go into packs.
    pub pack_chunk_bytes_max: u64,
    /// A pack file is closed at this size.
    pub pack_bytes_max: u64,
    /// Kept back for log, SQLite and compaction: max(this share of the drive in per mille, `reserve_bytes_min`).
    pub reserve_per_mille: u64,
    /// See `reserve_per_mille`.
    pub reserve_bytes_min: u64,
    /// Threads that read and write chunk files of this drive.
    pub io_threads: usize,
    /// Chunk files kept open for reading, and as many packs.
    pub open_files_max: usize,
    /// Jobs that may queue for them; more wait at the sender.
    pub queue_jobs_max: usize,
}

impl Default for DriveConfig {
    fn default() -> Self {
        Self {
            pack_chunk_bytes_max: grid_types::PACK_CHUNK_BYTES_MAX,
            pack_bytes_max: 256 << 20,
            reserve_per_mille: 10,
            reserve_bytes_min: 256 << 20,
            io_threads: 4,
            open_files_max: 32,
            queue_jobs_max: 64,
        }
    }
}

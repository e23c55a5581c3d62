//! What every part of one drive shares: the disk, whether it is in service, its index, caches and counters.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use grid_types::{ChunkKey, DriveId};
use parking_lot::Mutex;
use sys::{Clock, Disk, DiskFile};

use crate::buffer_pool::BufferPool;
use crate::handle_cache::HandleCache;
use crate::index::Index;
use crate::room::Room;
use crate::source::Source;
use crate::stats::Counters;
use crate::{ChunkError, DriveConfig};

/// Every place that makes something durable, by the label that it passes. Tests leave one out at a time and must notice.
pub(crate) mod site {
    /// The directories of a drive, at each opening.
    pub const LAYOUT: &str = "drive directories";
    /// Directories of chunk files that an earlier process made and had no time to sync.
    pub const LAYOUT_CHUNKS: &str = "drive chunk directories";
    /// The bytes of a chunk file, before its rename.
    pub const CHUNK_BYTES: &str = "chunk bytes";
    /// The name of a finished chunk file.
    pub const CHUNK_NAME: &str = "chunk name";
    /// The name of the directory that chunk files with one first byte share.
    pub const CHUNK_DIRECTORY: &str = "chunk directory";
    /// The names of removed chunk files.
    pub const CHUNK_REMOVAL: &str = "chunk removal";
    /// A batch of records with its mark.
    pub const PACK_BATCH: &str = "pack batch";
    /// The last batch of a process that may have ended before its sync.
    pub const PACK_REOPEN: &str = "pack reopen";
    /// The name of a new pack.
    pub const PACK_NAME: &str = "pack name";
    /// The name of a compacted pack.
    pub const PACK_REMOVAL: &str = "pack removal";
    /// The label of a drive.
    pub const LABEL: &str = "drive label";
    /// What a probe writes.
    pub const PROBE: &str = "drive probe";
}

pub(crate) struct DriveCore {
    pub id: DriveId,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub config: DriveConfig,
    pub room: Arc<Room>,
    pub index: Index,
    pub open_chunks: HandleCache<ChunkKey, Arc<Source>>,
    pub open_packs: HandleCache<u64, Arc<dyn DiskFile>>,
    pub buffers: BufferPool,
    pub counters: Counters,
    /// Which of the directories of chunk files are there, durably; by first byte of the segment id.
    pub chunk_directories: Mutex<[bool; 256]>,
    /// Makes names of unfinished files.
    pub next_temporary: AtomicU64,
    stopped: AtomicBool,
    reason: Mutex<Option<String>>,
}

impl DriveCore {
    pub fn new(
        id: DriveId,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: DriveConfig,
        index: Index,
    ) -> Self {
        Self {
            id,
            room: Arc::new(Room::new(disk.clone(), clock.clone(), &config)),
            open_chunks: HandleCache::new(config.open_files_max),
            open_packs: HandleCache::new(config.open_files_max),
            disk,
            clock,
            config,
            index,
            buffers: BufferPool::default(),
            counters: Counters::default(),
            chunk_directories: Mutex::new([false; 256]),
            next_temporary: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            reason: Mutex::new(None),
        }
    }

    pub fn check_in_service(&self) -> Result<(), ChunkError> {
        if self.stopped.load(Ordering::Acquire) { Err(self.out_of_service()) } else { Ok(()) }
    }

    /// The error of a drive that is out of service, or whose threads have ended.
    pub fn out_of_service(&self) -> ChunkError {
        let reason = self.reason().unwrap_or_else(|| "it was closed".to_owned());
        ChunkError::OutOfService { drive: self.id, reason }
    }

    pub fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// The first reason stays.
    pub fn take_out_of_service(&self, reason: &str) {
        let mut known = self.reason.lock();
        if known.is_none() {
            tracing::error!(drive = %self.id, reason, "drive taken out of service");
            *known = Some(reason.to_owned());
        }
        self.stopped.store(true, Ordering::Release);
    }

    /// Names the failed operation; a full disk is `Full` whatever was tried.
    pub fn io_error(&self, operation: &'static str, source: io::Error) -> ChunkError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                self.room.forget();
                ChunkError::Full { drive: self.id }
            }
            _ => ChunkError::Io { drive: self.id, operation, source },
        }
    }

    pub fn corrupt(&self, chunk: ChunkKey, what: impl Into<String>) -> ChunkError {
        self.counters.corruptions.fetch_add(1, Ordering::Relaxed);
        ChunkError::Corrupt { drive: self.id, chunk, what: what.into() }
    }

    pub fn missing(&self, chunk: ChunkKey) -> ChunkError {
        ChunkError::Missing { drive: self.id, chunk }
    }

    /// The error of a caller that broke the contract of this crate.
    pub fn misuse(&self, what: impl Into<String>) -> ChunkError {
        let source = io::Error::new(io::ErrorKind::InvalidInput, what.into());
        ChunkError::Io { drive: self.id, operation: "checking a call", source }
    }

    pub fn sync_file(&self, site: &'static str, file: &dyn DiskFile) -> Result<(), ChunkError> {
        self.synced(site, || file.sync_data(site))
    }

    pub fn sync_dir(&self, site: &'static str, path: &str) -> Result<(), ChunkError> {
        self.synced(site, || self.disk.sync_dir(path, site))
    }

    /// A failed sync is final: the kernel may have dropped the bytes and would call the next sync a success.
    fn synced(&self, site: &'static str, sync: impl FnOnce() -> io::Result<()>) -> Result<(), ChunkError> {
        let begun = self.clock.since_boot();
        let result = sync();
        self.counters.sync_times.record(self.clock.since_boot().saturating_sub(begun));
        match result {
            Ok(()) => {
                self.counters.syncs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(source) => {
                self.take_out_of_service(&format!("a sync failed ({site}): {source}"));
                Err(self.out_of_service())
            }
        }
    }

    pub fn count_written(&self, bytes: u64) {
        self.counters.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An index that lost its footing is thrown away at the next start; until then the drive stops.
    pub fn index_error(&self, source: rusqlite::Error) -> ChunkError {
        use rusqlite::ErrorCode as Code;
        match source.sqlite_error_code() {
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
                self.index.distrust();
                self.take_out_of_service("its index is damaged and will be rebuilt at the next start");
                self.out_of_service()
            }
            Some(Code::DiskFull) => {
                self.room.forget();
                ChunkError::Full { drive: self.id }
            }
            _ => ChunkError::Io {
                drive: self.id,
                operation: "asking the index",
                source: io::Error::other(source),
            },
        }
    }
}

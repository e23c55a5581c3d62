//! One drive: the handle that everybody else holds. Cheap to clone. Dropping the last handle stops its threads.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use grid_types::{ChunkKey, DriveId};
use parking_lot::Mutex;
use sys::{Clock, Disk};
use tokio::sync::oneshot;

use crate::chunk_file;
use crate::core::{DriveCore, site};
use crate::frames::FrameCut;
use crate::index::Index;
use crate::io_threads::{self, IoQueue, Lane};
use crate::label;
use crate::pack::{PackJob, PackQueue, PackWriter};
use crate::recovery::recover;
use crate::source::with_source;
use crate::{ChunkError, ChunkHeader, ChunkWriter, DriveConfig, DriveLabel, DriveStats};

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

/// File of the index on the drive.
const INDEX_FILE: &str = "chunk-index.sqlite";
/// What `probe` writes.
const PROBE_FILE: &str = "probe";
/// Bytes of it.
const PROBE_BYTES: usize = 512;

/// One drive in service. All methods may be called from any task; a dropped future of a read is safe, a dropped
/// future of `ChunkWriter::finish`, `remove` or `compact_once` runs to completion.
#[derive(Clone)]
pub struct Drive {
    handle: Arc<Handle>,
}

struct Handle {
    label: DriveLabel,
    core: Arc<DriveCore>,
    io: Arc<IoQueue>,
    packs: Arc<PackQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.io.close();
        self.packs.close();
    }
}

impl Drive {
    /// Opens a labelled drive: checks the label, completes or rebuilds the index, removes unfinished files.
    /// Blocks; call on a blocking thread.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: DriveConfig) -> Result<Self, ChunkError> {
        let nobody = DriveId::from_bytes([0; 16]);
        let read = label::read(&*disk);
        let read =
            read.map_err(|source| ChunkError::Io { drive: nobody, operation: "reading the label", source })?;
        let label = read.ok_or_else(|| ChunkError::OutOfService {
            drive: nobody,
            reason: "the directory carries no drive label".to_owned(),
        })?;
        let id = label.drive;
        let broken = |source: rusqlite::Error| ChunkError::Io {
            drive: id,
            operation: "opening the index",
            source: io::Error::other(source),
        };
        let index = Index::open(disk.local_path(INDEX_FILE), id).map_err(broken)?;
        let core = Arc::new(DriveCore::new(id, disk, clock, config, index));
        chunk_file::prepare(&core)?;
        let recovered = recover(&core)?;

        let io = Arc::new(IoQueue::new(core.config.io_threads, core.config.queue_jobs_max));
        let packs = Arc::new(PackQueue::new());
        let watched = core.clone();
        let panicked: Arc<dyn Fn() + Send + Sync> =
            Arc::new(move || watched.take_out_of_service("a thread of this drive panicked: a bug"));
        let spawn_error = |source| ChunkError::Io { drive: id, operation: "starting threads", source };
        let mut threads = io_threads::start(&io, core.config.io_threads, &panicked).map_err(spawn_error)?;
        let writer = PackWriter::new(core.clone(), packs.clone(), recovered);
        let queue = packs.clone();
        let appender = std::thread::Builder::new().name("chunk-pack".to_owned()).spawn(move || {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run())).is_err() {
                panicked();
                queue.close_and_drop();
            }
        });
        match appender {
            Ok(thread) => threads.push(thread),
            Err(source) => {
                io.close();
                return Err(spawn_error(source));
            }
        }
        Ok(Self { handle: Arc::new(Handle { label, core, io, packs, threads: Mutex::new(threads) }) })
    }

    /// Finishes what was begun and ends the threads; clones fail with `OutOfService` from now on. Blocks.
    pub fn close(self) {
        self.handle.io.close();
        let threads = std::mem::take(&mut *self.handle.threads.lock());
        let (appender, io): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|thread| thread.thread().name() == Some("chunk-pack"));
        // I/O jobs may hand work to the pack writer, never the other way round.
        io.into_iter().for_each(|thread| drop(thread.join()));
        self.handle.packs.close();
        appender.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Its id.
    pub fn id(&self) -> DriveId {
        self.handle.core.id
    }

    /// Its label, as it was when the drive was opened.
    pub fn label(&self) -> &DriveLabel {
        &self.handle.label
    }

    /// Why it is out of service; `None` in service.
    pub fn out_of_service(&self) -> Option<String> {
        self.core().reason()
    }

    /// Counters since start; cheap.
    pub fn stats(&self) -> DriveStats {
        self.core().counters.snapshot()
    }

    /// p95 of the last reads in microseconds, waiting for a thread included; cheap: what a hedged read asks.
    pub fn read_p95_us(&self) -> u64 {
        self.core().counters.reads.p95_us()
    }

    /// What status shows; asks the file system for its room.
    pub fn summary(&self) -> DriveSummary {
        let core = self.core();
        let (space, free) = core.room.measure().unwrap_or((sys::Space { total: 0, free: 0 }, 0));
        DriveSummary {
            label: self.handle.label.clone(),
            file_system: core.disk.file_system().unwrap_or_default(),
            total_bytes: space.total,
            free_bytes: free,
            out_of_service: core.reason(),
            stats: core.counters.snapshot(),
        }
    }

    pub(crate) fn core(&self) -> &Arc<DriveCore> {
        &self.handle.core
    }

    pub(crate) fn io(&self) -> &Arc<IoQueue> {
        &self.handle.io
    }

    pub(crate) fn packs(&self) -> &Arc<PackQueue> {
        &self.handle.packs
    }

    /// Starts a chunk of at most `payload_len_max` payload bytes (decides pack or file; reserves the room).
    /// A chunk of the same name is replaced when the new one is finished.
    pub async fn begin(&self, header: ChunkHeader, payload_len_max: u64) -> Result<ChunkWriter, ChunkError> {
        ChunkWriter::begin(self.clone(), header, payload_len_max)
    }

    /// Reads and verifies frames `first..first + count`; one `Bytes` (the block, without hash) a frame, all of one
    /// buffer. `profile` and lengths come from the chunk's own header and footer. Safe to drop.
    pub async fn read_frames(
        &self,
        chunk: ChunkKey,
        first: u64,
        count: u64,
    ) -> Result<Vec<Bytes>, ChunkError> {
        self.read_cut(chunk, first, count, FrameCut::Blocks).await
    }

    /// As `read_frames`, but each `Bytes` is hash ‖ block as stored: for who sends frames on, so that the receiver
    /// can verify them again. Safe to drop.
    pub async fn read_whole_frames(
        &self,
        chunk: ChunkKey,
        first: u64,
        count: u64,
    ) -> Result<Vec<Bytes>, ChunkError> {
        self.read_cut(chunk, first, count, FrameCut::Whole).await
    }

    async fn read_cut(
        &self,
        chunk: ChunkKey,
        first: u64,
        count: u64,
        cut: FrameCut,
    ) -> Result<Vec<Bytes>, ChunkError> {
        let begun = self.core().clock.since_boot();
        let result = self
            .read(move |core| {
                with_source(core, chunk, |source| source.frames(core, chunk, first, count, cut))
            })
            .await;
        let core = self.core();
        core.counters.reads.record(core.clock.since_boot().saturating_sub(begun));
        result
    }

    /// Header and footer, both verified. Safe to drop.
    pub async fn info(&self, chunk: ChunkKey) -> Result<ChunkInfo, ChunkError> {
        self.read(move |core| {
            with_source(core, chunk, |source| {
                let (mut header, footer) = source.ends(core, chunk)?;
                header.plain_len = footer.plain_len;
                Ok(ChunkInfo { header, footer: footer.note, stored_len: source.stored_len() })
            })
        })
        .await
    }

    /// Verifies a whole chunk: header, every frame, footer. Safe to drop.
    pub async fn verify(&self, chunk: ChunkKey) -> Result<(), ChunkError> {
        self.read(move |core| with_source(core, chunk, |source| source.verify(core, chunk))).await
    }

    /// Is a finished chunk of this name here? Its bytes are not looked at. Safe to drop.
    pub async fn contains(&self, chunk: ChunkKey) -> Result<bool, ChunkError> {
        self.read(move |core| {
            if core.index.lookup(chunk).map_err(|error| core.index_error(error))?.is_some() {
                return Ok(true);
            }
            match core.disk.open_read(&chunk_file::path(chunk)) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(core.io_error("looking for a chunk file", error)),
            }
        })
        .await
    }

    /// Removes chunks, durably, in one batch; those that are not there count as removed.
    pub async fn remove(&self, chunks: Vec<ChunkKey>) -> Result<(), ChunkError> {
        let core = self.core().clone();
        core.check_in_service()?;
        let permit = self.io().permit(Lane::Write).await;
        let (done, answer) = oneshot::channel();
        let packs = self.packs().clone();
        self.io().push(
            Lane::Write,
            Box::new(move || {
                let in_pack = |key| {
                    let found = core.index.lookup(key).map_err(|error| core.index_error(error))?;
                    Ok(found.is_some())
                };
                let files = chunk_file::remove(&core, &chunks, in_pack);
                let packed: Result<Vec<ChunkKey>, ChunkError> = files.and_then(|()| {
                    let mut packed = Vec::new();
                    for key in chunks {
                        if in_pack(key)? {
                            packed.push(key);
                        }
                    }
                    Ok(packed)
                });
                drop(permit);
                match packed {
                    Ok(keys) if keys.is_empty() => drop(done.send(Ok(()))),
                    Ok(keys) => packs.push(PackJob::Remove { keys, done }),
                    Err(error) => drop(done.send(Err(error))),
                }
            }),
        );
        self.answer(answer).await
    }

    /// Chunks on this drive in key order, after `after`, at most `limit`. Safe to drop.
    pub async fn list(&self, after: Option<ChunkKey>, limit: usize) -> Result<Vec<ChunkKey>, ChunkError> {
        if self.core().index.waiting() > 0 {
            let (done, answer) = oneshot::channel();
            self.packs().push(PackJob::Flush { done });
            self.answer(answer).await?;
        }
        self.read(move |core| {
            let mut keys = chunk_file::list(core, after, limit)?;
            keys.extend(core.index.page(after, limit).map_err(|error| core.index_error(error))?);
            keys.sort_unstable();
            keys.dedup();
            keys.truncate(limit);
            Ok(keys)
        })
        .await
    }

    /// Compacts the pack with the least live data if less than half of it lives. True if one was compacted.
    pub async fn compact_once(&self) -> Result<bool, ChunkError> {
        self.core().check_in_service()?;
        let (done, answer) = oneshot::channel();
        self.packs().push(PackJob::Compact { done });
        self.answer(answer).await
    }

    /// Re-reads the label and tries a small synced write: what a prober calls. Takes the drive out of service on failure.
    /// A full disk is no failure.
    pub async fn probe(&self) -> Result<(), ChunkError> {
        let expected = self.handle.label.clone();
        self.on_io(Lane::Write, move |core| {
            let result = probe(core, &expected);
            if let Err(error) = &result {
                core.take_out_of_service(&format!("probe failed: {error}"));
            }
            result
        })
        .await
    }

    /// Takes the drive out of service; every later call fails with `OutOfService`.
    pub fn take_out_of_service(&self, reason: &str) {
        self.core().take_out_of_service(reason);
    }

    /// The disk under it, for metadata home and drive files.
    pub fn disk(&self) -> Arc<dyn Disk> {
        self.core().disk.clone()
    }

    /// Gives buffers kept for the next read back to the system: for an idle node.
    pub fn trim_memory(&self) {
        self.core().buffers.clear();
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DriveCore) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        self.on_io(Lane::Read, work).await
    }

    async fn on_io<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce(&DriveCore) -> Result<T, ChunkError> + Send + 'static,
    ) -> Result<T, ChunkError> {
        let core = self.core().clone();
        core.check_in_service()?;
        let permit = self.io().permit(lane).await;
        let (done, answer) = oneshot::channel();
        self.io().push(
            lane,
            Box::new(move || {
                // Nobody waits any more: a hedged read that another drive won.
                if !done.is_closed() {
                    drop(done.send(work(&core)));
                }
                drop(permit);
            }),
        );
        self.answer(answer).await
    }

    pub(crate) async fn answer<T>(
        &self,
        answer: oneshot::Receiver<Result<T, ChunkError>>,
    ) -> Result<T, ChunkError> {
        match answer.await {
            Ok(result) => result,
            Err(_) => Err(self.core().out_of_service()),
        }
    }
}

fn probe(core: &DriveCore, expected: &DriveLabel) -> Result<(), ChunkError> {
    let found = label::read(&*core.disk).map_err(|error| core.io_error("reading the label", error))?;
    if found.as_ref() != Some(expected) {
        let reason = match found {
            None => "its label is gone".to_owned(),
            Some(other) => {
                format!("it now carries the label of drive {}, generation {}", other.drive, other.generation)
            }
        };
        return Err(ChunkError::OutOfService { drive: core.id, reason });
    }
    let failed = |error| core.io_error("writing a probe", error);
    let file = match core.disk.open(PROBE_FILE) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => core.disk.create_new(PROBE_FILE),
        Err(error) => Err(error),
    };
    let file = file.map_err(failed)?;
    let mut bytes = [0; PROBE_BYTES];
    bytes[..8].copy_from_slice(&core.clock.now().0.to_le_bytes());
    match file.write_all_at(0, &bytes).map_err(failed) {
        Err(ChunkError::Full { .. }) => return Ok(()),
        written => written?,
    }
    core.sync_file(site::PROBE, &*file)
}

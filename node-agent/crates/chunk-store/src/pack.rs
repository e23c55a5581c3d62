//! Packs: append-only files that hold small chunks. One thread a drive appends to them: all who wait share one sync.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use grid_types::ChunkKey;
use parking_lot::{Condvar, Mutex};
use sys::DiskFile;
use tokio::sync::oneshot;

use crate::ChunkError;
use crate::chunk_file::Frame;
use crate::compaction::Compaction;
use crate::core::{DriveCore, site};
use crate::format::{PACK_HEADER_BYTES, PRELUDE_BYTES, Prelude, encode_pack_header};
use crate::frames::FrameShape;
use crate::index::{Covered, IndexChange, Place, WAITING_MAX};
use crate::recovery::Recovered;

/// The directory of packs.
pub(crate) const PACKS: &str = "packs";
/// Bytes that one batch, hence one sync, takes; the rest waits for the next.
const BATCH_BYTES_MAX: u64 = 16 << 20;
/// Jobs of one batch.
const BATCH_JOBS_MAX: usize = 256;
/// Index changes that wait in memory while there is other work.
const FLUSH_CHANGES: usize = 512;

/// Answers a job.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ChunkError>>;

/// The file of a pack.
pub(crate) fn path(number: u64) -> String {
    format!("{PACKS}/{number:016x}.pack")
}

/// The number in the name of a pack file.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_suffix(".pack")?, 16).ok()?;
    (path(number).strip_prefix(PACKS)?.strip_prefix('/')? == name).then_some(number)
}

/// A pack's file, open; `None` when it is not there (any more).
pub(crate) fn open(core: &DriveCore, number: u64) -> Result<Option<Arc<dyn DiskFile>>, ChunkError> {
    let (open, epoch) = core.open_packs.get(number);
    if open.is_some() {
        return Ok(open);
    }
    match core.disk.open(&path(number)) {
        Ok(file) => {
            core.open_packs.insert(epoch, number, file.clone());
            Ok(Some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(core.io_error("opening a pack", error)),
    }
}

/// A small chunk, whole, on its way to a pack.
pub(crate) struct PackedChunk {
    pub key: ChunkKey,
    pub shape: FrameShape,
    pub header: Vec<u8>,
    pub frames: Vec<Frame>,
    pub footer: Vec<u8>,
}

pub(crate) enum PackJob {
    Append {
        chunk: PackedChunk,
        done: Reply<()>,
    },
    /// Chunks that lie in packs; others are passed over.
    Remove {
        keys: Vec<ChunkKey>,
        done: Reply<()>,
    },
    /// Writes the index.
    Flush {
        done: Reply<()>,
    },
    Compact {
        done: Reply<bool>,
    },
}

/// What the pack writer has to do. Bounded by who puts jobs in: an open writer or a caller that waits has one each.
pub(crate) struct PackQueue {
    state: Mutex<Jobs>,
    ready: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<PackJob>,
    closed: bool,
}

impl PackQueue {
    pub fn new() -> Self {
        Self { state: Mutex::default(), ready: Condvar::new() }
    }

    pub fn push(&self, job: PackJob) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return drop(job);
        }
        state.waiting.push_back(job);
        drop(state);
        self.ready.notify_one();
    }

    /// The thread ends when the queue is empty.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }

    /// After a panic nobody works here any more: who waits must hear of it.
    pub fn close_and_drop(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(dropped);
    }

    fn is_empty(&self) -> bool {
        self.state.lock().waiting.is_empty()
    }

    /// The jobs of one batch; waits for one if `wait`. `None` after `close`.
    fn take(&self, wait: bool) -> Option<Vec<PackJob>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            if !wait {
                return Some(Vec::new());
            }
            self.ready.wait(&mut state);
        }
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while jobs.len() < BATCH_JOBS_MAX && bytes < BATCH_BYTES_MAX {
            let Some(job) = state.waiting.pop_front() else { break };
            if let PackJob::Append { chunk, .. } = &job {
                bytes += chunk.shape.frames_len();
            }
            jobs.push(job);
        }
        Some(jobs)
    }
}

/// What a record does to the index once it is synced.
enum Effect {
    Put { key: ChunkKey, header_len: u64, footer_len: u64, shape: FrameShape },
    Remove(ChunkKey),
    Carry,
}

struct Record {
    parts: Vec<Bytes>,
    len: u64,
    effect: Effect,
}

/// Records that share one sync.
#[derive(Default)]
pub(crate) struct Batch {
    records: Vec<Record>,
    bytes: u64,
}

impl Batch {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push(&mut self, parts: Vec<Bytes>, effect: Effect) {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        self.bytes += len;
        self.records.push(Record { parts, len, effect });
    }

    fn chunk(&mut self, chunk: PackedChunk) {
        let PackedChunk { key, shape, header, frames, footer } = chunk;
        let (header_len, footer_len) = (header.len() as u64, footer.len() as u64);
        let record_len = PRELUDE_BYTES + header_len + shape.frames_len() + footer_len;
        let prelude = Prelude::Chunk {
            key,
            header_len: header_len as u16,
            footer_len: footer_len as u32,
            record_len: record_len as u32,
        };
        let mut parts = Vec::with_capacity(frames.len() * 3 + 2);
        let mut begin = prelude.encode().to_vec();
        begin.extend_from_slice(&header);
        parts.push(Bytes::from(begin));
        for frame in frames {
            parts.push(Bytes::copy_from_slice(&frame.hash));
            parts.extend(frame.block);
        }
        parts.push(Bytes::from(footer));
        self.push(parts, Effect::Put { key, header_len, footer_len, shape });
    }

    fn tombstone(&mut self, key: ChunkKey) {
        self.push(vec![Bytes::copy_from_slice(&Prelude::Tombstone(key).encode())], Effect::Remove(key));
    }

    /// A tombstone of a pack that is compacted, still needed.
    pub fn carried_tombstone(&mut self, key: ChunkKey) {
        self.push(vec![Bytes::copy_from_slice(&Prelude::Tombstone(key).encode())], Effect::Carry);
    }

    /// A whole record of a pack that is compacted.
    pub fn copy(&mut self, key: ChunkKey, place: &Place, record: Bytes) {
        let Place { header_len, footer_len, shape, .. } = *place;
        self.push(vec![record], Effect::Put { key, header_len, footer_len, shape });
    }
}

/// The pack that is appended to.
pub(crate) struct CurrentPack {
    pub number: u64,
    pub file: Arc<dyn DiskFile>,
    /// Up to the end of its last mark.
    pub len: u64,
}

/// Owns the packs of one drive; lives on one thread.
pub(crate) struct PackWriter {
    core: Arc<DriveCore>,
    queue: Arc<PackQueue>,
    current: Option<CurrentPack>,
    next_number: u64,
    sequence: u64,
    compaction: Option<Compaction>,
    compaction_waits: Vec<Reply<bool>>,
    /// Packs that could not be compacted since the start.
    stuck: HashSet<u64>,
}

impl PackWriter {
    pub fn new(core: Arc<DriveCore>, queue: Arc<PackQueue>, recovered: Recovered) -> Self {
        let Recovered { current, next_number, sequence } = recovered;
        Self {
            core,
            queue,
            current,
            next_number,
            sequence,
            compaction: None,
            compaction_waits: Vec::new(),
            stuck: HashSet::new(),
        }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        while let Some(jobs) = self.queue.take(self.compaction.is_none()) {
            self.turn(jobs);
        }
        if self.core.check_in_service().is_ok() {
            let _ = self.flush();
        }
    }

    fn turn(&mut self, jobs: Vec<PackJob>) {
        let mut batch = Batch::default();
        let (mut waits, mut flushes) = (Vec::new(), Vec::new());
        // Records of a compaction go first: a removal in this batch must stand behind the copy that it removes.
        let step = self.compaction_step(&mut batch);
        let mut failure = None;
        for job in jobs {
            match job {
                PackJob::Append { chunk, done } => {
                    batch.chunk(chunk);
                    waits.push(done);
                }
                PackJob::Remove { keys, done } => {
                    if let Err(error) = self.remove(&mut batch, &keys) {
                        failure = Some(error);
                    }
                    waits.push(done);
                }
                PackJob::Flush { done } => flushes.push(done),
                PackJob::Compact { done } => self.compaction_waits.push(done),
            }
        }
        let committed = match failure {
            Some(error) => Err(error),
            None => self.commit(&batch),
        };
        drop(batch);
        let failed = committed.as_ref().err().map(|error| matches!(error, ChunkError::Full { .. }));
        answer(&self.core, waits, committed);
        let wanted = !flushes.is_empty();
        let idle = self.queue.is_empty();
        let flushed =
            if wanted || idle || self.core.index.waiting() >= FLUSH_CHANGES { self.flush() } else { Ok(()) };
        if let Err(error) = &flushed {
            tracing::warn!(drive = %self.core.id, %error, "index changes wait in memory");
        }
        answer(&self.core, flushes, flushed);
        self.compaction_turn(step, failed);
    }

    fn flush(&self) -> Result<(), ChunkError> {
        self.core.index.flush().map_err(|error| self.core.index_error(error))
    }

    fn remove(&self, batch: &mut Batch, keys: &[ChunkKey]) -> Result<(), ChunkError> {
        for &key in keys {
            let stored = self.core.index.lookup(key).map_err(|error| self.core.index_error(error))?.is_some();
            let queued = batch.records.iter().any(|record| match &record.effect {
                Effect::Put { key: put, .. } => *put == key,
                _ => false,
            });
            if stored || queued {
                batch.tombstone(key);
            }
        }
        Ok(())
    }

    /// Appends the batch and its mark, syncs, tells the index. On failure the pack ends where it ended before.
    fn commit(&mut self, batch: &Batch) -> Result<(), ChunkError> {
        let core = self.core.clone();
        core.check_in_service()?;
        if batch.records.is_empty() {
            return Ok(());
        }
        if core.index.waiting() >= WAITING_MAX {
            self.flush()?;
        }
        let sequence = self.sequence + 1;
        let (number, file, base) = {
            let current = self.current()?;
            (current.number, current.file.clone(), current.len)
        };
        let mut slices: Vec<&[u8]> = Vec::with_capacity(batch.records.len() * 4 + 1);
        let mut changes = Vec::with_capacity(batch.records.len());
        let mut at = base;
        for record in &batch.records {
            slices.extend(record.parts.iter().map(|part| &part[..]));
            changes.push(match record.effect {
                Effect::Put { key, header_len, footer_len, shape } => {
                    let place =
                        Place { pack: number, offset: at, len: record.len, header_len, footer_len, shape };
                    IndexChange::Put(key, place)
                }
                Effect::Remove(key) => IndexChange::Remove(key, number),
                Effect::Carry => IndexChange::Carried(number),
            });
            at += record.len;
        }
        let mark = Prelude::Mark { sequence, offset: at }.encode();
        slices.push(&mark);
        let end = at + PRELUDE_BYTES;
        if let Err(error) = file.write_all_vectored_at(base, &slices) {
            let error = core.io_error("appending to a pack", error);
            if let Err(error) = file.set_len(base) {
                core.take_out_of_service(&format!("a torn append could not be cut off: {error}"));
            }
            return Err(error);
        }
        core.sync_file(site::PACK_BATCH, &*file)?;
        core.count_written(end - base);
        core.index.apply(&changes, Covered { pack: number, offset: end, sequence });
        self.sequence = sequence;
        if let Some(current) = &mut self.current {
            current.len = end;
        }
        Ok(())
    }

    /// The pack to append to; begins a new one when there is none or it is full.
    fn current(&mut self) -> Result<&CurrentPack, ChunkError> {
        let full = |pack: &CurrentPack| pack.len >= self.core.config.pack_bytes_max;
        if self.current.as_ref().is_none_or(full) {
            let number = self.next_number;
            let core = &*self.core;
            let file = core
                .disk
                .create_new(&path(number))
                .map_err(|error| core.io_error("beginning a pack", error))?;
            // Whether this pack succeeds or not, its number is used up.
            self.next_number += 1;
            let header = encode_pack_header(core.id, number);
            let begun =
                file.write_all_at(0, &header).map_err(|error| core.io_error("beginning a pack", error));
            if let Err(error) = begun {
                let _ = core.disk.remove(&path(number));
                return Err(error);
            }
            core.sync_dir(site::PACK_NAME, PACKS)?;
            self.current = Some(CurrentPack { number, file, len: PACK_HEADER_BYTES });
        }
        self.current.as_ref().ok_or_else(|| self.core.misuse("no pack is open"))
    }

    fn compaction_step(&mut self, batch: &mut Batch) -> Result<bool, ChunkError> {
        let Some(compaction) = &mut self.compaction else { return Ok(false) };
        self.core.check_in_service()?;
        compaction.step(&self.core, batch)
    }

    /// Ends or begins a compaction. `step` is true when all of the pack has been copied with this batch; `failed` says
    /// whether the batch failed, and for want of room.
    fn compaction_turn(&mut self, step: Result<bool, ChunkError>, failed: Option<bool>) {
        if let Some(compaction) = &mut self.compaction {
            let result = match step {
                Err(error) => Some(Err(error)),
                Ok(_) if failed.is_some() => Some(Err(match self.core.check_in_service() {
                    Err(error) => error,
                    Ok(()) if failed == Some(true) => ChunkError::Full { drive: self.core.id },
                    Ok(()) => {
                        let source = io::Error::other("the batch with its copies failed");
                        self.core.io_error("compacting a pack", source)
                    }
                })),
                Ok(false) => None,
                Ok(true) => Some(compaction.retire(&self.core)),
            };
            if let Some(result) = result {
                if let Err(error) = &result {
                    tracing::warn!(drive = %self.core.id, pack = compaction.pack(), %error, "compaction given up");
                    if !matches!(error, ChunkError::Full { .. }) {
                        self.stuck.insert(compaction.pack());
                    }
                }
                self.compaction = None;
                let waits = std::mem::take(&mut self.compaction_waits);
                answer(&self.core, waits, result.map(|()| true));
            }
        } else if !self.compaction_waits.is_empty() {
            let chosen = self.flush().and_then(|()| Compaction::choose(&self.core, &self.stuck));
            match chosen {
                Ok(Some(compaction)) => self.compaction = Some(compaction),
                Ok(None) => answer(&self.core, std::mem::take(&mut self.compaction_waits), Ok(false)),
                Err(error) => answer(&self.core, std::mem::take(&mut self.compaction_waits), Err(error)),
            }
        }
    }
}

/// Gives one result to all: the first one who waits gets the cause, the others its kind.
fn answer<T: Copy>(core: &DriveCore, waits: Vec<Reply<T>>, result: Result<T, ChunkError>) {
    let again = match &result {
        Ok(value) => Ok(*value),
        Err(ChunkError::Full { .. }) => Err(None),
        Err(ChunkError::Io { operation, source, .. }) => Err(Some((*operation, source.kind()))),
        Err(_) => Err(None),
    };
    let is_full = matches!(result, Err(ChunkError::Full { .. }));
    let mut result = Some(result);
    for done in waits {
        let copy = || match &again {
            Ok(value) => Ok(*value),
            Err(Some((operation, kind))) => {
                Err(ChunkError::Io { drive: core.id, operation, source: io::Error::from(*kind) })
            }
            Err(None) if is_full => Err(ChunkError::Full { drive: core.id }),
            Err(None) => Err(core.out_of_service()),
        };
        let _ = done.send(result.take().unwrap_or_else(copy));
    }
}

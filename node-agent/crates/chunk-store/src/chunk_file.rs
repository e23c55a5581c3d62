//! Chunks in files of their own: temporary name, write, sync, rename, directory sync.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use codec::FRAME_HASH_BYTES;
use grid_types::ChunkKey;
use parking_lot::{Condvar, Mutex};
use sys::DiskFile;

use crate::ChunkError;
use crate::core::{DriveCore, site};
use crate::format::HEADER_BYTES;

/// Holds finished chunk files, in one directory for each first byte of the segment id.
pub(crate) const CHUNKS: &str = "chunks";
/// Holds unfinished ones; emptied when the drive is opened.
pub(crate) const TEMPORARY: &str = "tmp";
/// After so many bytes the kernel is told to begin writing, so that the sync at the end is short.
const WRITEBACK_BYTES: u64 = 4 << 20;

/// A frame on its way to the disk.
pub(crate) struct Frame {
    pub hash: [u8; FRAME_HASH_BYTES],
    pub block: Vec<Bytes>,
}

impl Frame {
    pub fn block_len(&self) -> u64 {
        self.block.iter().map(|piece| piece.len() as u64).sum()
    }
}

fn directory(first: u8) -> String {
    format!("{CHUNKS}/{first:02x}")
}

/// The file of a chunk.
pub(crate) fn path(key: ChunkKey) -> String {
    format!("{}/{key}", directory(key.segment.as_bytes()[0]))
}

/// The chunk that a name in its directory stands for.
fn parse_name(name: &str) -> Option<ChunkKey> {
    let (segment, index) = name.split_once('.')?;
    let key = ChunkKey { segment: segment.parse().ok()?, index: index.parse().ok()? };
    (key.to_string() == name).then_some(key)
}

/// Makes the directories and removes unfinished files.
pub(crate) fn prepare(core: &DriveCore) -> Result<(), ChunkError> {
    for path in [CHUNKS, TEMPORARY, crate::pack::PACKS] {
        core.disk.create_dir_all(path).map_err(|error| core.io_error("making the directories", error))?;
    }
    core.sync_dir(site::LAYOUT, "")?;
    core.sync_dir(site::LAYOUT_CHUNKS, CHUNKS)?;
    let list = |path: &str| core.disk.list(path).map_err(|error| core.io_error("listing a directory", error));
    let mut known = core.chunk_directories.lock();
    for entry in list(CHUNKS)? {
        if entry.is_dir
            && let Ok(first) = u8::from_str_radix(&entry.name, 16)
        {
            known[usize::from(first)] = true;
        }
    }
    for entry in list(TEMPORARY)? {
        let path = format!("{TEMPORARY}/{}", entry.name);
        core.disk.remove(&path).map_err(|error| core.io_error("removing an unfinished chunk", error))?;
    }
    Ok(())
}

/// Chunk files after `after` in key order, at most `limit`.
pub(crate) fn list(
    core: &DriveCore,
    after: Option<ChunkKey>,
    limit: usize,
) -> Result<Vec<ChunkKey>, ChunkError> {
    let mut found = Vec::new();
    let first = after.map_or(0, |key| key.segment.as_bytes()[0]);
    for byte in first..=u8::MAX {
        if !core.chunk_directories.lock()[usize::from(byte)] {
            continue;
        }
        let entries = core.disk.list(&directory(byte));
        let entries = entries.map_err(|error| core.io_error("listing chunk files", error))?;
        let keys = entries.iter().filter_map(|entry| parse_name(&entry.name));
        let begin = found.len();
        found.extend(keys.filter(|key| after.is_none_or(|after| *key > after)));
        found[begin..].sort_unstable();
        if found.len() >= limit {
            found.truncate(limit);
            break;
        }
    }
    Ok(found)
}

/// Removes chunk files, durably. `packed` says whether a chunk that has no file lies in a pack.
pub(crate) fn remove(
    core: &DriveCore,
    keys: &[ChunkKey],
    packed: impl Fn(ChunkKey) -> Result<bool, ChunkError>,
) -> Result<(), ChunkError> {
    let mut touched = [false; 256];
    for &key in keys {
        let first = usize::from(key.segment.as_bytes()[0]);
        match core.disk.remove(&path(key)) {
            Ok(()) => {
                touched[first] = true;
                core.open_chunks.forget(key);
            }
            // An earlier call may have removed it and ended before its sync.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                touched[first] |= core.chunk_directories.lock()[first] && !packed(key)?;
            }
            Err(error) => return Err(core.io_error("removing a chunk file", error)),
        }
    }
    for byte in 0..=u8::MAX {
        if touched[usize::from(byte)] {
            core.sync_dir(site::CHUNK_REMOVAL, &directory(byte))?;
        }
    }
    Ok(())
}

/// A chunk file being written. Its methods block: they run on the I/O threads.
pub(crate) struct FileInProgress {
    core: Arc<DriveCore>,
    key: ChunkKey,
    temporary: String,
    header: Vec<u8>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    file: Option<Arc<dyn DiskFile>>,
    at: u64,
    hinted: u64,
    /// A write was handed over and has not ended.
    busy: bool,
    /// A write failed: the file can only be dropped.
    broken: bool,
    failure: Option<ChunkError>,
}

impl FileInProgress {
    /// `header` is encoded; padding is added here.
    pub fn new(core: Arc<DriveCore>, key: ChunkKey, mut header: Vec<u8>) -> Self {
        header.resize(HEADER_BYTES as usize, 0);
        let number = core.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{TEMPORARY}/{key}.{number}");
        Self { core, key, temporary, header, state: Mutex::default(), idle: Condvar::new() }
    }

    /// Announces a `write` that is being queued, so that `finish` waits for it.
    pub fn announce(&self) {
        self.state.lock().busy = true;
    }

    /// Appends frames. A failure is kept for `take_failure` or `finish`.
    pub fn write(&self, frames: &[Frame]) {
        let mut state = self.state.lock();
        if !state.broken
            && let Err(error) = self.append(&mut state, frames, &[])
        {
            state.broken = true;
            state.failure = Some(error);
        }
        state.busy = false;
        self.idle.notify_all();
    }

    /// Why a write failed.
    pub fn take_failure(&self) -> Option<ChunkError> {
        self.state.lock().failure.take()
    }

    fn append(&self, state: &mut State, frames: &[Frame], end: &[u8]) -> Result<(), ChunkError> {
        let core = &*self.core;
        core.check_in_service()?;
        let mut slices: Vec<&[u8]> = Vec::with_capacity(frames.len() * 3 + 2);
        let file = match &state.file {
            Some(file) => file.clone(),
            None => {
                let file = core.disk.create_new(&self.temporary);
                let file = file.map_err(|error| core.io_error("creating a chunk file", error))?;
                slices.push(&self.header);
                state.file.insert(file).clone()
            }
        };
        for frame in frames {
            slices.push(&frame.hash);
            slices.extend(frame.block.iter().map(|piece| &piece[..]));
        }
        if !end.is_empty() {
            slices.push(end);
        }
        let len: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        file.write_all_vectored_at(state.at, &slices)
            .map_err(|error| core.io_error("writing a chunk file", error))?;
        state.at += len;
        core.count_written(len);
        if state.at - state.hinted >= WRITEBACK_BYTES {
            file.start_writeback(state.hinted, state.at - state.hinted);
            state.hinted = state.at;
        }
        Ok(())
    }

    /// Appends the last frames and the footer, syncs, publishes. Leaves nothing behind when it fails.
    pub fn finish(&self, frames: &[Frame], footer: &[u8]) -> Result<(), ChunkError> {
        let result = self.publish(frames, footer);
        if result.is_err() {
            self.abandon();
        }
        result
    }

    fn publish(&self, frames: &[Frame], footer: &[u8]) -> Result<(), ChunkError> {
        let core = &*self.core;
        let mut state = self.state.lock();
        // The write before stands before this job in the queue, so another thread is at it.
        while state.busy {
            self.idle.wait(&mut state);
        }
        if state.broken {
            return Err(state
                .failure
                .take()
                .unwrap_or_else(|| core.misuse("a write of this chunk failed before")));
        }
        self.append(&mut state, frames, footer)?;
        let Some(file) = state.file.take() else { return Err(core.misuse("a chunk without a file")) };
        core.sync_file(site::CHUNK_BYTES, &*file)?;
        drop(file);
        let first = self.key.segment.as_bytes()[0];
        let directory = directory(first);
        {
            let mut known = core.chunk_directories.lock();
            if !known[usize::from(first)] {
                core.disk
                    .create_dir_all(&directory)
                    .map_err(|error| core.io_error("making a directory of chunks", error))?;
                core.sync_dir(site::CHUNK_DIRECTORY, CHUNKS)?;
                known[usize::from(first)] = true;
            }
        }
        core.disk
            .rename(&self.temporary, &path(self.key))
            .map_err(|error| core.io_error("naming a chunk file", error))?;
        core.open_chunks.forget(self.key);
        core.sync_dir(site::CHUNK_NAME, &directory)
    }

    /// Removes what was written; what cannot be removed now goes at the next start.
    pub fn abandon(&self) {
        let mut state = self.state.lock();
        while state.busy {
            self.idle.wait(&mut state);
        }
        state.broken = true;
        state.file = None;
        match self.core.disk.remove(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(drive = %self.core.id, chunk = %self.key, %error, "unfinished chunk stays until restart");
            }
            _ => {}
        }
    }
}

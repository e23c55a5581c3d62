//! One stored chunk, in a file or in a pack: where its pieces lie, and reading them, verified.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use codec::FrameHasher;
use grid_types::ChunkKey;
use sys::DiskFile;

use crate::core::DriveCore;
use crate::format::{
    ChunkHeader, Footer, HEADER_BYTES, PRELUDE_BYTES, Prelude, TRAILER_BYTES, decode_file_header,
    decode_footer, decode_header, footer_len,
};
use crate::frames::{FrameCut, FrameShape};
use crate::index::Place;
use crate::{ChunkError, chunk_file, pack};

/// Read at once when a whole chunk is verified.
const VERIFY_BYTES: u64 = 1 << 20;
/// Read from the end of a chunk file in the hope that it holds the whole footer.
const TAIL_BYTES: u64 = 4_096;

/// Where the pieces of a chunk lie.
pub(crate) struct Source {
    file: Arc<dyn DiskFile>,
    header_at: u64,
    frames_at: u64,
    footer_at: u64,
    end: u64,
    /// Of a packed chunk.
    prelude_at: Option<u64>,
    pub shape: FrameShape,
}

impl Source {
    /// A packed chunk.
    pub fn packed(file: Arc<dyn DiskFile>, place: &Place) -> Self {
        let end = place.offset + place.len;
        let header_at = place.offset + PRELUDE_BYTES;
        Self {
            file,
            header_at,
            frames_at: header_at + place.header_len,
            footer_at: end.saturating_sub(place.footer_len),
            end,
            prelude_at: Some(place.offset),
            shape: place.shape,
        }
    }

    /// Opens a chunk file and checks header, footer and length.
    pub fn open_file(core: &DriveCore, key: ChunkKey) -> Result<Self, ChunkError> {
        let file = match core.disk.open_read(&chunk_file::path(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(core.missing(key)),
            Err(error) => return Err(core.io_error("opening a chunk file", error)),
        };
        let len = file.len().map_err(|error| core.io_error("asking a chunk's length", error))?;
        if len < HEADER_BYTES + TRAILER_BYTES as u64 {
            return Err(core.corrupt(key, "file cut short"));
        }
        let tail_len = (len - HEADER_BYTES).min(TAIL_BYTES);
        let tail = read(core, key, &*file, len - tail_len, len)?;
        let trailer = tail.slice(tail.len() - TRAILER_BYTES..);
        let footer_len = footer_len(&trailer).map_err(|what| core.corrupt(key, what))?;
        let footer_at = len.checked_sub(footer_len).filter(|at| *at >= HEADER_BYTES);
        let footer_at = footer_at.ok_or_else(|| core.corrupt(key, "footer longer than its file"))?;
        let header = read(core, key, &*file, 0, HEADER_BYTES)?;
        let header = decode_file_header(key, &header).map_err(|what| core.corrupt(key, what))?;
        let footer = if footer_len <= tail_len {
            tail.slice(tail.len() - footer_len as usize..)
        } else {
            read(core, key, &*file, footer_at, len)?
        };
        let footer = decode_footer(key, &footer).map_err(|what| core.corrupt(key, what))?;
        let shape = FrameShape::of(&header, footer.plain_len);
        if HEADER_BYTES + shape.frames_len() != footer_at {
            return Err(core.corrupt(key, "file of a wrong length"));
        }
        let prelude_at = None;
        Ok(Self { file, header_at: 0, frames_at: HEADER_BYTES, footer_at, end: len, prelude_at, shape })
    }

    /// Bytes on the drive.
    pub fn stored_len(&self) -> u64 {
        self.end - self.prelude_at.unwrap_or(self.header_at)
    }

    /// Frames `first..first + count`, verified: one read, no copy.
    pub fn frames(
        &self,
        core: &DriveCore,
        key: ChunkKey,
        first: u64,
        count: u64,
        cut: FrameCut,
    ) -> Result<Vec<Bytes>, ChunkError> {
        let Some(range) = self.shape.range(first, count) else {
            let frames = self.shape.count();
            return Err(core.misuse(format!("frames {first} and {count} more of {frames} in chunk {key}")));
        };
        let bytes = read(core, key, &*self.file, self.frames_at + range.start, self.frames_at + range.end)?;
        core.counters.read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.shape
            .split(&FrameHasher::new(key), first, count, &bytes, cut)
            .map_err(|number| core.corrupt(key, format!("frame {number}")))
    }

    /// Header and footer, verified.
    pub fn ends(&self, core: &DriveCore, key: ChunkKey) -> Result<(ChunkHeader, Footer), ChunkError> {
        let bytes = read(core, key, &*self.file, self.header_at, self.frames_at)?;
        let header = match self.prelude_at {
            None => decode_file_header(key, &bytes),
            Some(_) => decode_header(key, &bytes).and_then(|(header, len)| {
                if len == bytes.len() { Ok(header) } else { Err("header of a wrong length".to_owned()) }
            }),
        };
        let header = header.map_err(|what| core.corrupt(key, what))?;
        let bytes = read(core, key, &*self.file, self.footer_at, self.end)?;
        let footer = decode_footer(key, &bytes).map_err(|what| core.corrupt(key, what))?;
        if FrameShape::of(&header, footer.plain_len) != self.shape {
            return Err(core.corrupt(key, "header and footer do not fit the chunk's length"));
        }
        Ok((header, footer))
    }

    /// Everything: prelude, header, each frame, footer.
    pub fn verify(&self, core: &DriveCore, key: ChunkKey) -> Result<(), ChunkError> {
        if let Some(at) = self.prelude_at {
            let bytes = read(core, key, &*self.file, at, at + PRELUDE_BYTES)?;
            let sound = matches!(Prelude::decode(&bytes, at), Some(prelude @ Prelude::Chunk { key: stored, .. })
                if stored == key && at + prelude.record_len() == self.end);
            if !sound {
                return Err(core.corrupt(key, "record does not match its checksum"));
            }
        }
        self.ends(core, key)?;
        let frames = self.shape.count();
        let first_len = self.shape.range(0, 1).map_or(1, |range| range.end);
        let at_once = (VERIFY_BYTES / first_len).max(1);
        let mut first = 0;
        while first < frames {
            let count = at_once.min(frames - first);
            self.frames(core, key, first, count, FrameCut::Blocks)?;
            first += count;
        }
        Ok(())
    }
}

fn read(
    core: &DriveCore,
    key: ChunkKey,
    file: &dyn DiskFile,
    from: u64,
    to: u64,
) -> Result<Bytes, ChunkError> {
    let len = to.checked_sub(from).and_then(|len| usize::try_from(len).ok());
    let len = len.ok_or_else(|| core.corrupt(key, "lengths make no sense"))?;
    let mut buffer = core.buffers.take(len);
    match file.read_exact_at(from, buffer.as_mut()) {
        Ok(()) => Ok(buffer.freeze()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(core.corrupt(key, "file cut short"))
        }
        Err(error) => Err(core.io_error("reading a chunk", error)),
    }
}

/// Runs `work` on the chunk's source. Handles from the cache may be stale (a file replaced by a repaired one, a pack
/// compacted away): then it runs once more on a fresh one.
pub(crate) fn with_source<T>(
    core: &DriveCore,
    key: ChunkKey,
    work: impl Fn(&Source) -> Result<T, ChunkError>,
) -> Result<T, ChunkError> {
    core.check_in_service()?;
    let mut last_try = false;
    loop {
        let found = core.index.lookup(key).map_err(|error| core.index_error(error))?;
        let (result, stale) = match found {
            Some(place) => {
                let result = pack::open(core, place.pack).and_then(|file| match file {
                    Some(file) => work(&Source::packed(file, &place)),
                    None => Err(core.missing(key)),
                });
                let compacted = matches!(result, Err(ChunkError::Missing { .. }));
                (result, compacted)
            }
            None => {
                let (cached, epoch) = core.open_chunks.get(key);
                match cached {
                    Some(source) if !last_try => {
                        let result = work(&source);
                        let replaced = matches!(result, Err(ChunkError::Corrupt { .. }));
                        (result, replaced)
                    }
                    _ => {
                        let source = Source::open_file(core, key).map(Arc::new);
                        let result = source.and_then(|source| {
                            let result = work(&source)?;
                            core.open_chunks.insert(epoch, key, source);
                            Ok(result)
                        });
                        (result, false)
                    }
                }
            }
        };
        if !stale || last_try {
            return result;
        }
        last_try = true;
    }
}

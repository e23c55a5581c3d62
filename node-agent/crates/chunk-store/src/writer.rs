//! A chunk being written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use grid_types::ChunkKey;
use tokio::sync::oneshot;

use crate::chunk_file::{FileInProgress, Frame};
use crate::format::{FOOTER_OVERHEAD_BYTES, HEADER_BYTES, encode_footer, encode_header};
use crate::frames::FrameShape;
use crate::io_threads::Lane;
use crate::pack::{PackJob, PackedChunk};
use crate::room::RoomPermit;
use crate::{ChunkError, ChunkHeader, Drive};

/// Frames of a file are handed over in writes of about this size; as many bytes may gather while one is written, so a
/// writer holds at most twice this and a frame. A whole stripe stays in memory with each frame, so this is small: two
/// full blocks.
const WRITE_BYTES: u64 = 256 << 10;
/// What a chunk takes beyond its frames is guessed to be no more, for the room that it is promised.
const ENDS_BYTES: u64 = HEADER_BYTES + FOOTER_OVERHEAD_BYTES as u64 + 4_096;

/// A chunk being written to one drive. Dropping it before `finish` leaves nothing behind.
pub struct ChunkWriter {
    drive: Drive,
    header: ChunkHeader,
    payload_len_max: u64,
    payload_len: u64,
    frames: u64,
    gathered: Vec<Frame>,
    gathered_bytes: u64,
    /// Frames handed over and not yet written.
    queued: Arc<AtomicUsize>,
    target: Target,
    _room: RoomPermit,
}

enum Target {
    /// The encoded header; the frames gather until `finish`.
    Pack(Vec<u8>),
    File {
        file: Arc<FileInProgress>,
        /// Ends when the write that was handed over ends.
        writing: Option<oneshot::Receiver<()>>,
    },
    /// Handed to `finish`, or failed and cleaned up.
    Done,
}

impl ChunkWriter {
    pub(crate) fn begin(drive: Drive, header: ChunkHeader, payload_len_max: u64) -> Result<Self, ChunkError> {
        let core = drive.core().clone();
        core.check_in_service()?;
        let encoded = encode_header(&header).map_err(|defect| core.misuse(defect))?;
        let room = core.room.promise(payload_len_max.saturating_add(ENDS_BYTES));
        let room = room.map_err(|error| core.io_error("asking for room", error))?;
        let room = room.ok_or(ChunkError::Full { drive: core.id })?;
        let target = if payload_len_max <= core.config.pack_chunk_bytes_max {
            Target::Pack(encoded)
        } else {
            let file = Arc::new(FileInProgress::new(core, header.chunk, encoded));
            Target::File { file, writing: None }
        };
        Ok(Self {
            drive,
            header,
            payload_len_max,
            payload_len: 0,
            frames: 0,
            gathered: Vec::new(),
            gathered_bytes: 0,
            queued: Arc::default(),
            target,
            _room: room,
        })
    }

    /// The chunk.
    pub fn key(&self) -> ChunkKey {
        self.header.chunk
    }

    /// Appends one frame: its hash (from `codec::FrameHasher`) and its block, which may come in pieces (not copied).
    /// Frames of a file gather to writes of 256 KiB; waits while one is written and another one is full. When the future
    /// is dropped, the chunk must be dropped as well.
    pub async fn write_frame(
        &mut self,
        hash: [u8; codec::FRAME_HASH_BYTES],
        block: Vec<Bytes>,
    ) -> Result<(), ChunkError> {
        let frame = Frame { hash, block };
        let len = frame.block_len();
        if self.payload_len + len > self.payload_len_max {
            return Err(self.drive.core().misuse("more payload than was announced"));
        }
        self.payload_len += len;
        self.frames += 1;
        self.gathered_bytes += len;
        self.gathered.push(frame);
        let Target::File { file, writing } = &mut self.target else { return Ok(()) };
        if self.gathered_bytes < WRITE_BYTES {
            return Ok(());
        }
        if let Some(writing) = writing.take() {
            let _ = writing.await;
        }
        if let Some(failure) = file.take_failure() {
            return Err(failure);
        }
        let permit = self.drive.io().permit(Lane::Write).await;
        let frames = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let (done, waiting) = oneshot::channel();
        self.queued.fetch_add(frames.len(), Ordering::Relaxed);
        let (queued, file) = (self.queued.clone(), file.clone());
        file.announce();
        let job = move || {
            file.write(&frames);
            queued.fetch_sub(frames.len(), Ordering::Relaxed);
            drop(permit);
            let _ = done.send(());
        };
        self.drive.io().push(Lane::Write, Box::new(job));
        *writing = Some(waiting);
        Ok(())
    }

    /// Full frames that may gather here before any of them is written: who feeds frames from a fixed number of buffers
    /// needs one more. All of them for a chunk that goes into a pack.
    pub fn frames_held_max(&self) -> usize {
        match &self.target {
            Target::Pack(_) => usize::MAX,
            Target::File { .. } | Target::Done => {
                let block = u64::from(self.header.block_packets) * grid_types::PACKET_SEALED_BYTES;
                // At most a few thousand, for blocks of one packet.
                WRITE_BYTES.div_ceil(block.max(1)) as usize
            }
        }
    }

    /// Frames handed over and not yet written: how far this drive lags.
    pub fn queued_frames(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Writes the footer, syncs bytes and name, publishes the chunk. Durable when it returns. Runs to completion when
    /// the future is dropped after its first poll.
    pub async fn finish(mut self, plain_len: u64, footer: Vec<u8>) -> Result<(), ChunkError> {
        let core = self.drive.core().clone();
        let shape = FrameShape::of(&self.header, plain_len);
        if !shape.is_sane() || shape.count() != self.frames || shape.payload_len() != self.payload_len {
            let (frames, bytes) = (self.frames, self.payload_len);
            return Err(core
                .misuse(format!("{frames} frames of {bytes} bytes are no {plain_len} bytes of plaintext")));
        }
        let key = self.header.chunk;
        let footer = encode_footer(key, plain_len, &footer).map_err(|defect| core.misuse(defect))?;
        let frames = std::mem::take(&mut self.gathered);
        let (done, answer) = oneshot::channel();
        match std::mem::replace(&mut self.target, Target::Done) {
            Target::Pack(header) => {
                let chunk = PackedChunk { key, shape, header, frames, footer };
                self.drive.packs().push(PackJob::Append { chunk, done });
            }
            Target::File { file, .. } => {
                let packs = self.drive.packs().clone();
                let job = move || {
                    let result = file.finish(&frames, &footer);
                    // An older chunk of this name in a pack would be found first.
                    let packed = result.is_ok() && core.index.lookup(key).is_ok_and(|place| place.is_some());
                    if packed {
                        packs.push(PackJob::Remove { keys: vec![key], done });
                    } else {
                        let _ = done.send(result);
                    }
                };
                self.drive.io().push(Lane::Write, Box::new(job));
            }
            Target::Done => return Err(core.misuse("the chunk is finished")),
        }
        self.drive.answer(answer).await
    }
}

impl Drop for ChunkWriter {
    fn drop(&mut self) {
        if let Target::File { file, .. } = std::mem::replace(&mut self.target, Target::Done) {
            self.drive.io().push(Lane::Write, Box::new(move || file.abandon()));
        }
    }
}

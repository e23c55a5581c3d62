//! A drive, wherever it is.

use bytes::Bytes;
use chunk_store::{ChunkError, ChunkHeader, ChunkInfo, ChunkWriter, Drive};
use grid_types::{ChunkKey, DriveId};

use super::{RemoteDrive, RemoteWriter};

/// A drive of this node or of another one; the methods do what those of `chunk_store::Drive` do. Cheap to clone.
#[derive(Clone)]
pub enum DriveHandle {
    /// Of this node.
    Local(Drive),
    /// Of another one.
    Remote(RemoteDrive),
}

impl DriveHandle {
    /// Its id.
    pub fn id(&self) -> DriveId {
        match self {
            Self::Local(drive) => drive.id(),
            Self::Remote(drive) => drive.id(),
        }
    }

    /// Is it one of this node's?
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Why it should not be asked now; `None` where nothing speaks against it. Of another node's drive this is a memory
    /// of a few seconds, not an answer.
    pub fn out_of_service(&self) -> Option<String> {
        match self {
            Self::Local(drive) => drive.out_of_service(),
            Self::Remote(drive) => drive.distrusted(),
        }
    }

    /// p95 of the last reads in microseconds, the way there and back included.
    pub fn read_p95_us(&self) -> u64 {
        match self {
            Self::Local(drive) => drive.read_p95_us(),
            Self::Remote(drive) => drive.read_p95_us(),
        }
    }

    /// Starts a chunk of at most `payload_len_max` payload bytes. Safe to drop.
    pub async fn begin(&self, header: ChunkHeader, payload_len_max: u64) -> Result<DriveWriter, ChunkError> {
        match self {
            Self::Local(drive) => Ok(DriveWriter::Local(drive.begin(header, payload_len_max).await?)),
            Self::Remote(drive) => Ok(DriveWriter::Remote(drive.begin(header, payload_len_max).await?)),
        }
    }

    /// Reads and verifies frames `first..first + count`; the block of each. Safe to drop.
    pub async fn read_frames(
        &self,
        chunk: ChunkKey,
        first: u64,
        count: u64,
    ) -> Result<Vec<Bytes>, ChunkError> {
        match self {
            Self::Local(drive) => drive.read_frames(chunk, first, count).await,
            Self::Remote(drive) => drive.read_frames(chunk, first, count).await,
        }
    }

    /// Header and footer, both verified. Safe to drop.
    pub async fn info(&self, chunk: ChunkKey) -> Result<ChunkInfo, ChunkError> {
        match self {
            Self::Local(drive) => drive.info(chunk).await,
            Self::Remote(drive) => drive.info(chunk).await,
        }
    }

    /// Verifies a whole chunk where it lies. Safe to drop.
    pub async fn verify(&self, chunk: ChunkKey) -> Result<(), ChunkError> {
        match self {
            Self::Local(drive) => drive.verify(chunk).await,
            Self::Remote(drive) => drive.verify(chunk).await,
        }
    }

    /// Is a finished chunk of this name there? Safe to drop.
    pub async fn contains(&self, chunk: ChunkKey) -> Result<bool, ChunkError> {
        match self {
            Self::Local(drive) => drive.contains(chunk).await,
            Self::Remote(drive) => drive.contains(chunk).await,
        }
    }

    /// Removes chunks, durably; those that are not there count as removed. An error says that some may be left.
    pub async fn remove(&self, chunks: Vec<ChunkKey>) -> Result<(), ChunkError> {
        match self {
            Self::Local(drive) => drive.remove(chunks).await,
            Self::Remote(drive) => drive.remove(chunks).await,
        }
    }

    /// Chunks in key order, after `after`, at most `limit`; an empty page is the end. Safe to drop.
    pub async fn list(&self, after: Option<ChunkKey>, limit: usize) -> Result<Vec<ChunkKey>, ChunkError> {
        match self {
            Self::Local(drive) => drive.list(after, limit).await,
            Self::Remote(drive) => drive.list(after, limit).await,
        }
    }
}

/// A chunk being written, wherever its drive is. Dropping it before `finish` leaves nothing behind.
pub enum DriveWriter {
    /// On a drive of this node.
    Local(ChunkWriter),
    /// On a drive of another one.
    Remote(RemoteWriter),
}

impl DriveWriter {
    /// Appends one frame: its hash and its block, which may come in pieces (not copied). When the future is dropped, the
    /// writer must be dropped as well.
    pub async fn write_frame(
        &mut self,
        hash: [u8; codec::FRAME_HASH_BYTES],
        block: Vec<Bytes>,
    ) -> Result<(), ChunkError> {
        match self {
            Self::Local(writer) => writer.write_frame(hash, block).await,
            Self::Remote(writer) => writer.write_frame(hash, block).await,
        }
    }

    /// Full frames that may gather before any of them is written.
    pub fn frames_held_max(&self) -> usize {
        match self {
            Self::Local(writer) => writer.frames_held_max(),
            Self::Remote(writer) => writer.frames_held_max(),
        }
    }

    /// Frames handed over and not yet written (to another node: still held by the connection).
    pub fn queued_frames(&self) -> usize {
        match self {
            Self::Local(writer) => writer.queued_frames(),
            Self::Remote(writer) => writer.queued_frames(),
        }
    }

    /// Syncs and publishes the chunk. `Ok` means durable; an error of another node's drive may also mean that its answer
    /// was lost.
    pub async fn finish(self, plain_len: u64, footer: Vec<u8>) -> Result<(), ChunkError> {
        match self {
            Self::Local(writer) => writer.finish(plain_len, footer).await,
            Self::Remote(writer) => writer.finish(plain_len, footer).await,
        }
    }
}

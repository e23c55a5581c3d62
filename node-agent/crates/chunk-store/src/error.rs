//! Errors of one drive.

use grid_types::{ChunkKey, DriveId, ErrorCode};

/// What can go wrong on one drive.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The chunk is not on this drive.
    #[error("chunk {chunk} is not on drive {drive}")]
    Missing {
        /// The drive asked.
        drive: DriveId,
        /// The chunk.
        chunk: ChunkKey,
    },
    /// A frame, header or footer does not match its hash.
    #[error("chunk {chunk} on drive {drive} is corrupt: {what}")]
    Corrupt {
        /// The drive asked.
        drive: DriveId,
        /// The chunk.
        chunk: ChunkKey,
        /// Which piece, for example `frame 3`.
        what: String,
    },
    /// At its reserve.
    #[error("drive {drive} is full: its reserve for deletes and metadata is all that is left")]
    Full {
        /// The drive.
        drive: DriveId,
    },
    /// Out of service: failed sync, vanished label or stopped.
    #[error("drive {drive} is out of service: {reason}")]
    OutOfService {
        /// The drive.
        drive: DriveId,
        /// Why, in words for the operator.
        reason: String,
    },
    /// The node that holds the drive does not answer, or its answer was lost: what was asked may have been done.
    /// Nothing in this crate says so; it stands here so that drives of other nodes fail like those of this one.
    #[error("drive {drive} on another node cannot be reached: {reason}")]
    Unreachable {
        /// The drive.
        drive: DriveId,
        /// Why, in words for the operator.
        reason: String,
    },
    /// The disk refused an operation.
    #[error("drive {drive}: {operation}: {source}")]
    Io {
        /// The drive.
        drive: DriveId,
        /// What was tried.
        operation: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

impl ChunkError {
    /// The code that crosses borders.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing { .. } => ErrorCode::SegmentLost,
            Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::Full { .. } => ErrorCode::StorageFull,
            Self::OutOfService { .. } => ErrorCode::NoSuchDrive,
            Self::Unreachable { .. } => ErrorCode::Unavailable,
            Self::Io { .. } => ErrorCode::DriveFailed,
        }
    }
}

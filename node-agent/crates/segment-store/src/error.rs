//! Errors of whole segments.

use grid_types::{ErrorCode, SegmentId};

/// What can go wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// No drives could be chosen.
    #[error("choosing drives: {0}")]
    Placement(#[from] placement::PlacementError),
    /// Too few chunks were synced to acknowledge.
    #[error("segment {segment}: {synced} of {needed} chunks synced; first failure: {cause}")]
    AckSet {
        /// The write attempt.
        segment: SegmentId,
        /// Chunks synced.
        synced: usize,
        /// Chunks of the ack set.
        needed: usize,
        /// The first drive error, in words.
        cause: String,
        /// Its code.
        code: ErrorCode,
    },
    /// The caller gave no byte, or more than it announced.
    #[error("{given} bytes were written to a segment announced for 1 to {announced}")]
    Length {
        /// Bytes given.
        given: u64,
        /// Bytes announced at most.
        announced: u64,
    },
    /// The range is empty or leaves the segment, or the segment's row contradicts itself.
    #[error("segment {segment}: {what}")]
    Row {
        /// The segment.
        segment: SegmentId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Fewer than k good chunks are left, or answer now.
    #[error(
        "segment {segment}: {good} of {needed} good chunks found, {away} more on drives that do not answer"
    )]
    Lost {
        /// The segment.
        segment: SegmentId,
        /// Good chunks found.
        good: usize,
        /// Chunks needed.
        needed: usize,
        /// Chunks on drives that are away or failed to read.
        away: usize,
    },
    /// Packets that verify as frames do not authenticate: wrong key, or malice.
    #[error(transparent)]
    Seal(#[from] codec::SealError),
    /// A code could not be applied.
    #[error(transparent)]
    Erasure(#[from] codec::ErasureError),
    /// A drive error that ends the operation.
    #[error(transparent)]
    Chunk(#[from] chunk_store::ChunkError),
    /// Memory for another stream is not there.
    #[error(transparent)]
    Budget(#[from] grid_types::BudgetError),
}

impl SegmentError {
    /// The code that crosses borders.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Placement(placement::PlacementError::StorageFull) => ErrorCode::StorageFull,
            Self::Placement(_) => ErrorCode::InsufficientDomains,
            Self::AckSet { code, .. } => *code,
            Self::Length { .. } => ErrorCode::InvalidArgument,
            Self::Row { .. } => ErrorCode::Internal,
            Self::Lost { good, needed, away, .. } if good + away >= *needed => ErrorCode::Unavailable,
            Self::Lost { .. } => ErrorCode::SegmentLost,
            Self::Seal(_) | Self::Erasure(_) => ErrorCode::Corrupt,
            Self::Chunk(error) => error.code(),
            Self::Budget(_) => ErrorCode::SlowDown,
        }
    }
}

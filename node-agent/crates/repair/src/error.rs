//! Why a step failed.

use chunk_store::ChunkError;
use meta_store::MetaError;
use segment_store::SegmentError;

/// Why a step failed; the worker backs off and tries again.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The metadata refused or did not answer.
    #[error("asking the metadata: {0}")]
    Meta(#[from] MetaError),
    /// A segment could not be read or written.
    #[error("rebuilding a chunk: {0}")]
    Segment(#[from] SegmentError),
    /// A drive failed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A worker's own file on a drive.
    #[error("{operation}: {source}")]
    State {
        /// What was tried.
        operation: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

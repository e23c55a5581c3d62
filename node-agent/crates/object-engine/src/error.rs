//! Errors of object operations.

use grid_types::ErrorCode;

use crate::BodyError;

/// What can go wrong with an object operation.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request cannot be done; the code says why, the detail is for the user.
    #[error("{detail}")]
    Refused {
        /// Why.
        code: ErrorCode,
        /// A sentence for the user.
        detail: String,
    },
    /// Read conditions: 304.
    #[error("not modified")]
    NotModified {
        /// The current ETag, for the answer.
        etag: String,
        /// Its time.
        modified: grid_types::Timestamp,
    },
    /// The body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Metadata.
    #[error(transparent)]
    Meta(#[from] meta_store::MetaError),
    /// Segments.
    #[error(transparent)]
    Segment(#[from] segment_store::SegmentError),
    /// Keys.
    #[error(transparent)]
    Keyring(#[from] keyring::KeyringError),
}

impl EngineError {
    /// Refuses with a code and a sentence.
    pub fn refused(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into() }
    }

    /// The code that crosses borders.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::NotModified { .. } => ErrorCode::PreconditionFailed,
            Self::Body(_) => ErrorCode::IncompleteBody,
            Self::Meta(error) => error.code(),
            Self::Segment(error) => error.code(),
            Self::Keyring(_) => ErrorCode::KeyMissing,
        }
    }
}

//! Errors of object operations.

use grid_types::ErrorCode;

use crate::BodyError;
use crate::digest::DigestLost;

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
    /// No byte of the object lies in the range: 416 with the object's size.
    #[error("The requested range is not satisfiable")]
    InvalidRange {
        /// Bytes of the object.
        size: u64,
    },
    /// The object has no such part: 416.
    #[error("The requested partnumber is not satisfiable")]
    PartNotSatisfiable {
        /// As asked.
        part: u16,
        /// Parts of the object; 0 for a plain one.
        part_count: u16,
    },
    /// The body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Its digest.
    #[error(transparent)]
    Digest(#[from] DigestLost),
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
            Self::InvalidRange { .. } | Self::PartNotSatisfiable { .. } => ErrorCode::InvalidRange,
            Self::Body(_) => ErrorCode::IncompleteBody,
            Self::Digest(_) => ErrorCode::Internal,
            Self::Meta(error) => error.code(),
            Self::Segment(error) => error.code(),
            // It comes from another member.
            Self::Keyring(keyring::KeyringError::NotHeld(_)) => ErrorCode::Unavailable,
            Self::Keyring(_) => ErrorCode::KeyMissing,
        }
    }

    pub(crate) fn no_such_bucket(name: &grid_types::BucketName) -> Self {
        Self::refused(ErrorCode::NoSuchBucket, format!("The specified bucket does not exist: {name}"))
    }

    pub(crate) fn no_such_key() -> Self {
        Self::refused(ErrorCode::NoSuchKey, "The specified key does not exist.")
    }

    pub(crate) fn no_such_upload() -> Self {
        const DETAIL: &str = "The specified upload does not exist. The upload ID may be invalid, or the upload may \
                              have been aborted or completed.";
        Self::refused(ErrorCode::NoSuchUpload, DETAIL)
    }

    pub(crate) fn precondition_failed() -> Self {
        const DETAIL: &str = "At least one of the pre-conditions you specified did not hold";
        Self::refused(ErrorCode::PreconditionFailed, DETAIL)
    }

    pub(crate) fn invalid_argument(detail: impl Into<String>) -> Self {
        Self::refused(ErrorCode::InvalidArgument, detail)
    }

    pub(crate) fn damaged(what: &str) -> Self {
        Self::refused(ErrorCode::Corrupt, format!("{what} is not of this release or damaged"))
    }
}

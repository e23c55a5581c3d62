//! What the operator is told when something cannot be done: a code, a sentence, a status.

use grid_types::ErrorCode;
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// An answer that refuses. On the wire: `{"code": "...", "message": "..."}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A word that programs compare.
    pub code: String,
    /// A sentence for the operator: what is wrong and what to do.
    pub message: String,
}

/// The JSON form of `AdminError`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// See `AdminError`.
    pub code: String,
    /// See `AdminError`.
    pub message: String,
}

impl AdminError {
    /// An error with its own code.
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into() }
    }

    /// An error of a lower layer; the status follows from its code.
    pub fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status: status_of(code), code: format!("{code:?}"), message: message.into() }
    }

    /// The request cannot be understood.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::InvalidArgument, message)
    }

    /// What is named does not exist.
    pub fn not_found(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The JSON form.
    pub fn reply(&self) -> ErrorReply {
        ErrorReply { code: self.code.clone(), message: self.message.clone() }
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::NoSuchBucket
        | ErrorCode::NoSuchKey
        | ErrorCode::NoSuchUpload
        | ErrorCode::NoSuchDrive
        | ErrorCode::InvalidAccessKey => StatusCode::NOT_FOUND,
        ErrorCode::AccessDenied => StatusCode::FORBIDDEN,
        ErrorCode::Conflict | ErrorCode::PreconditionFailed => StatusCode::CONFLICT,
        ErrorCode::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        ErrorCode::SlowDown | ErrorCode::Unavailable | ErrorCode::InsufficientDomains => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

//! What can go wrong between nodes.

use grid_types::ErrorCode;
use serde::{Deserialize, Serialize};

/// What became of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It never reached the peer: safe to try again, there or elsewhere.
    NotSent,
    /// The peer answered with an error and did not act.
    Refused,
    /// It may or may not have been carried out.
    Unknown,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct RpcError {
    /// In a form that programs compare: the one list of codes.
    pub code: ErrorCode,
    /// In words.
    pub detail: String,
    /// Did the peer act?
    pub fate: Fate,
}

impl RpcError {
    /// The peer answered with this error: it did not do what was asked.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), fate: Fate::Refused }
    }

    /// The request never left.
    pub fn not_sent(detail: impl Into<String>) -> Self {
        Self { code: ErrorCode::Unavailable, detail: detail.into(), fate: Fate::NotSent }
    }

    /// The connection broke or the deadline passed: whether the peer acted is not known.
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self { code: ErrorCode::Unavailable, detail: detail.into(), fate: Fate::Unknown }
    }
}

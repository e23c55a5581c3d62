//! Errors of the metadata store.

use grid_types::{ErrorCode, ShardId};

/// What can go wrong with metadata.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The state machine refused the command; the code says why (NoSuchBucket, PreconditionFailed, InvalidPart …).
    #[error("refused: {code:?}: {detail}")]
    Refused {
        /// Why.
        code: ErrorCode,
        /// More words.
        detail: String,
    },
    /// The shard has no leader now, or its group is being restarted.
    #[error("metadata shard {shard} is not available: {reason}")]
    Unavailable {
        /// The shard.
        shard: ShardId,
        /// Why, in words for the operator.
        reason: String,
    },
    /// Nothing may be committed now: see `MetaStore::set_read_only`.
    #[error("metadata takes no writes: {0}")]
    ReadOnly(String),
    /// The drives of the metadata have no room for the command.
    #[error("metadata shard {shard} takes no more: {reason}")]
    Full {
        /// The shard.
        shard: ShardId,
        /// What there is room for, and what to do.
        reason: &'static str,
    },
    /// The log or a snapshot cannot be written or read.
    #[error("metadata {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("metadata shard {shard}: {operation}: {source}")]
    Sqlite {
        /// The shard.
        shard: ShardId,
        /// What was tried.
        operation: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// Stored metadata does not verify; says what to do.
    #[error("metadata is damaged: {0}")]
    Damaged(String),
}

impl MetaError {
    /// The code that crosses borders.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Unavailable { .. } | Self::ReadOnly(_) => ErrorCode::Unavailable,
            Self::Full { .. } => ErrorCode::StorageFull,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                ErrorCode::StorageFull
            }
            Self::Io { .. } | Self::Sqlite { .. } => ErrorCode::Internal,
            Self::Damaged(_) => ErrorCode::Corrupt,
        }
    }
}

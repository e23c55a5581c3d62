//! What can go wrong inside a state machine: refusals are answers, everything else stops the group.

use grid_types::{ErrorCode, ShardId};
use serde::{Deserialize, Serialize};

use crate::MetaError;

/// A command was refused and changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// More words.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

impl From<Refusal> for MetaError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code, detail: refusal.detail }
    }
}

/// The file of the shard failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("{operation}: {source}")]
    Sqlite { operation: &'static str, source: rusqlite::Error },
    #[error("{operation}: {source}")]
    Io { operation: &'static str, source: std::io::Error },
    /// A row or page is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl StateError {
    /// Rebuilding from snapshot and log may help.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ),
            Self::Io { .. } => false,
        }
    }

    pub(crate) fn of_shard(self, shard: ShardId) -> MetaError {
        match self {
            Self::Sqlite { operation, source } => MetaError::Sqlite { shard, operation, source },
            Self::Io { operation, source } => MetaError::Io { operation, source },
            Self::Damaged(what) => MetaError::Damaged(format!("shard {shard}: {what}")),
        }
    }
}

impl From<rusqlite::Error> for StateError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite { operation: "statement", source }
    }
}

/// How a command ends that does not succeed.
#[derive(Debug)]
pub(crate) enum CommandError {
    Refused(Refusal),
    State(StateError),
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StateError> for CommandError {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl From<rusqlite::Error> for CommandError {
    fn from(source: rusqlite::Error) -> Self {
        Self::State(source.into())
    }
}

/// A refusal as an error, for `return Err(refuse(…))`.
pub(super) fn refuse(code: ErrorCode, detail: impl Into<String>) -> CommandError {
    CommandError::Refused(Refusal::new(code, detail))
}

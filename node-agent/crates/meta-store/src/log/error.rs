//! Errors of the log. Cloned freely, since one failed sync answers many callers.

use std::io;
use std::sync::Arc;

use crate::MetaError;

/// What can go wrong with the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A mirror has no room for another log file. Nothing of the append was written; votes and purges go on.
    #[error(
        "the metadata log is full: drive {drive} has no room for another log file; free space on it or take it out of the metadata home"
    )]
    StorageFull {
        /// The drive without room.
        drive: String,
    },
    /// Too few mirrors answered for the log to go on; it takes nothing more until the node is started again.
    #[error("the metadata log has stopped: {reason}")]
    Stopped {
        /// What happened, for the operator.
        reason: String,
    },
    /// The mirrors that are there do not suffice to know the newest state.
    #[error("{0}")]
    MirrorsMissing(String),
    /// Stored bytes do not verify on any mirror.
    #[error("the metadata log is damaged: {0}")]
    Damaged(String),
    /// An argument that no correct caller gives: a gap in the indexes, an entry too large.
    #[error("metadata log: {0}")]
    Invalid(String),
    /// Reading or preparing failed.
    #[error("metadata log: {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The cause.
        source: Arc<io::Error>,
    },
}

impl LogError {
    pub(crate) fn io(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, source: Arc::new(source) }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::StorageFull { .. } => io::ErrorKind::StorageFull,
            LogError::Damaged(_) => io::ErrorKind::InvalidData,
            LogError::Invalid(_) => io::ErrorKind::InvalidInput,
            LogError::Io { source, .. } => source.kind(),
            LogError::Stopped { .. } | LogError::MirrorsMissing(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<LogError> for MetaError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Damaged(_) | LogError::MirrorsMissing(_) => Self::Damaged(error.to_string()),
            _ => Self::Io { operation: "log", source: error.into() },
        }
    }
}

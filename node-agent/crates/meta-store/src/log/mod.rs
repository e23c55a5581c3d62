//! One shared append-only log a node for all groups, mirrored over the metadata home. docs/formats/log.md has the bytes.
//!
//! One thread writes: it gathers what all groups queued, writes it as one batch to all mirrors at the same time, syncs
//! each once, and answers. Entries are readable as soon as they are queued.
//!
//! Invariants:
//! - nothing is acknowledged before every mirror in service has synced it;
//! - batches are numbered without gaps, and a batch is written only after the one before it is durable: what does not
//!   verify at the end was never acknowledged, what does not verify before a later good batch is damage;
//! - all mirrors hold the same bytes at the same places, so that one index serves all and each mends the others;
//! - a file goes only after a durable record says so, and that is written only once no live entry lies in it;
//! - no type of the Raft library is named here.

mod cache;
mod error;
mod fill;
mod format;
mod group;
mod head;
mod index;
mod mirror;
mod recover;
mod shared;
mod writer;

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod torture_tests;

use bytes::Bytes;
use grid_types::ShardId;

pub use error::LogError;
pub use group::{Flushed, GroupLog};
pub(crate) use index::Place;
pub use shared::{LogStatus, SharedLog};

/// The group a log record belongs to.
pub type Group = ShardId;

/// One entry of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index in the group's log.
    pub index: u64,
    /// The whole Raft entry, encoded by `group`.
    pub payload: Bytes,
}

/// What the log holds of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupLogState {
    /// Index and opaque log id of the last purged entry.
    pub purged: Option<(u64, Bytes)>,
    /// Index of the last entry; that of the last purged one where nothing follows it.
    pub last: Option<u64>,
    /// The vote, opaque.
    pub vote: Option<Bytes>,
}

/// Sizes of the log; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Bytes of one log file, written with zeros before its first use. Half of it is the limit of one entry.
    pub file_bytes: u64,
    /// Bytes of one batch, unless a single record is larger.
    pub batch_bytes_max: u64,
    /// Bytes that may wait for the writer; who brings more waits.
    pub queue_bytes_max: u64,
    /// With so many files in use, one that is mostly dead is emptied: what lives in it is written again.
    pub files_spread_max: u64,
    /// Bytes of written entries kept for readers.
    pub cache_bytes_max: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            file_bytes: 8 << 20,
            batch_bytes_max: 1 << 20,
            queue_bytes_max: 16 << 20,
            files_spread_max: 8,
            cache_bytes_max: 4 << 20,
        }
    }
}

/// Bytes of a vote or a log id at most: state of all groups begins each file.
pub const OPAQUE_BYTES_MAX: usize = 1_024;
/// Callers that may wait for room in the queue.
const QUEUE_WAITERS_MAX: usize = 4_096;

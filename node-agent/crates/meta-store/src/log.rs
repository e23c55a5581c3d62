//! One shared append-only log a node for all groups, mirrored over the metadata home.

use bytes::Bytes;
use grid_types::ShardId;

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
    /// Index of the last entry.
    pub last: Option<u64>,
    /// The vote, opaque.
    pub vote: Option<Bytes>,
}

/// The group a log record belongs to.
pub type Group = ShardId;

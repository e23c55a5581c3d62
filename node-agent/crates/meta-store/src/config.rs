//! Limits and periods of the metadata store.

use std::time::Duration;

use crate::log::LogConfig;

/// Limits and periods; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct MetaConfig {
    /// Generation of metadata that is made now: 0 where a grid is founded, more where lost metadata is made anew.
    pub generation: u64,
    /// A shard is split when its SQLite file is larger.
    pub shard_bytes_max: u64,
    /// A shard whose log tail is longer is checkpointed.
    pub checkpoint_tail_bytes: u64,
    /// ... or older.
    pub checkpoint_age: Duration,
    /// Op ids kept at least.
    pub op_ids_min: u64,
    /// ... and at least so long.
    pub op_id_age: Duration,
    /// Page caches of all shards together.
    pub page_cache_bytes: u64,
    /// Entries that one Raft batch may hold.
    pub batch_entries_max: usize,
    /// How often shards are looked at for checkpoints, snapshots and splits.
    pub maintenance_period: Duration,
    /// Sizes of the shared log.
    pub log: LogConfig,
    /// Leaders that are spread unevenly over the nodes must be so for so long before one moves.
    pub leader_settle: Duration,
    /// Entries kept in the log behind a snapshot, so that a node that was away for a moment needs no snapshot.
    pub log_entries_kept: u64,
}

impl Default for MetaConfig {
    fn default() -> Self {
        Self {
            generation: 0,
            shard_bytes_max: 1 << 30,
            checkpoint_tail_bytes: 64 << 20,
            checkpoint_age: Duration::from_secs(600),
            op_ids_min: 100_000,
            op_id_age: Duration::from_secs(15 * 60),
            page_cache_bytes: 8 << 20,
            batch_entries_max: 256,
            maintenance_period: Duration::from_millis(500),
            log: LogConfig::default(),
            leader_settle: Duration::from_secs(10),
            log_entries_kept: 1_000,
        }
    }
}

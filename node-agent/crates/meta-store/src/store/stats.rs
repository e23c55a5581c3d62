//! Figures for metrics and status.

use grid_types::ShardId;

use super::MetaStore;
use crate::log::LogStatus;

/// How one shard fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardStats {
    /// The shard.
    pub shard: ShardId,
    /// It has a live leader, and all that was acknowledged is applied.
    pub serving: bool,
    /// Why it does not serve; empty where it does.
    pub trouble: String,
    /// Times its group died and was restarted.
    pub restarts: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Index of the last entry in the log.
    pub last: u64,
    /// Bytes of the SQLite file and of its WAL; 0 while it does not serve.
    pub file_bytes: u64,
    /// See `file_bytes`.
    pub wal_bytes: u64,
}

/// How the metadata of this node fares.
#[derive(Debug, Clone)]
pub struct MetaStats {
    /// All shards, the root first.
    pub shards: Vec<ShardStats>,
    /// The shared log.
    pub log: LogStatus,
}

impl MetaStore {
    /// Grows with every entry that this node applies, whoever asked for it.
    pub fn applied(&self) -> u64 {
        self.inner.groups.read().values().map(|group| group.status().applied).sum()
    }

    /// Figures as of now; a few file system calls, no questions to shards. Blocks for as long as they take.
    pub fn stats(&self) -> MetaStats {
        let groups = self.inner.groups.read().clone();
        let shards = groups.into_iter().map(|(shard, group)| {
            let status = group.status();
            let storage = group.file().ok().map(|(file, _)| file.storage().clone());
            ShardStats {
                shard,
                serving: status.serving,
                trouble: status.trouble,
                restarts: status.restarts,
                applied: status.applied,
                last: status.last,
                file_bytes: storage.as_ref().and_then(|storage| storage.bytes().ok()).unwrap_or(0),
                wal_bytes: storage.map_or(0, |storage| storage.wal_bytes()),
            }
        });
        MetaStats { shards: shards.collect(), log: self.inner.log.status() }
    }
}

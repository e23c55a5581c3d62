//! Where the backups of the shards lie.

use grid_types::{BucketId, Segment, ShardId, Timestamp, VersionId};
use serde::{Deserialize, Serialize};

use super::drive_file::DriveFile;

/// Where the list lies on a drive.
pub const BACKUP_LIST_FILE: DriveFile =
    DriveFile { path: "rebuild/backups", magic: b"SHOALBKL", site: "engine: backup list" };

/// The backups that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupList {
    /// Grows with each list; the highest one counts.
    pub sequence: u64,
    /// Newest first.
    pub sets: Vec<BackupSet>,
}

/// One backup: an image of each shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSet {
    /// Names its objects.
    pub sequence: u64,
    /// What was committed before is in it.
    pub stamp: Timestamp,
    /// The internal bucket, whose wrapped key is in the root bag.
    pub bucket: BucketId,
    /// All shards, the root shard last.
    pub shards: Vec<ShardCopy>,
}

/// One shard's image, as the segments of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCopy {
    /// The shard.
    pub shard: ShardId,
    /// The object's version.
    pub version: VersionId,
    /// Bytes.
    pub size: u64,
    /// In order. Repair may have moved chunks since: the drives are asked for what is not where this says.
    pub segments: Vec<Segment>,
}

//! Records of the root shard: small, typed by kind, each with a generation for compare-and-set.

use grid_types::{BucketId, BucketName, Timestamp};
use serde::{Deserialize, Serialize};

/// What a record is about; part of its primary key. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum RecordKind {
    /// A node; key = node id.
    Node = 1,
    /// A drive; key = drive id.
    Drive = 2,
    /// A bucket; key = its name. Written by `MetaStore::create_bucket` alone.
    Bucket = 3,
    /// A wrapped bucket key; key = bucket id ‖ generation.
    BucketKey = 4,
    /// An access key; key = the access key id.
    AccessKey = 5,
    /// A range of the shard map; key = the shard id. Written by splits alone.
    ShardRange = 6,
    /// A setting of the whole grid; key = its name.
    Setting = 7,
}

/// A record as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Vec<u8>,
    /// Grows with each write of this key, from 1.
    pub generation: u64,
    /// Opaque to this crate; begins with a version byte.
    pub value: Vec<u8>,
}

/// What must hold for a record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nothing.
    Any,
    /// No such record.
    Absent,
    /// Exactly this generation.
    Generation(u64),
}

/// One write; a batch of them is one command: all or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordWrite {
    /// The kind.
    pub kind: RecordKind,
    /// The key.
    pub key: Vec<u8>,
    /// The condition; else the whole batch is refused with Conflict.
    pub expect: Expect,
    /// `None` deletes.
    pub value: Option<Vec<u8>>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its id, sealed into chunks.
    pub id: BucketId,
    /// Its name.
    pub name: BucketName,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it (an access key's user).
    pub owner: String,
    /// Generation of the settings that change what a write does.
    pub generation: u64,
    /// Settings of later issues, encoded by the object engine (versioning, lock, tags, CORS …).
    pub settings: Vec<u8>,
}

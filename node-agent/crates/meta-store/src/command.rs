//! What a Raft entry can ask a shard to do. Encoded with a version byte, at most `COMMAND_BYTES_MAX`.
//!
//! Apply is deterministic: ids, stamps and settings are in the command.

use grid_types::{
    BucketId, DriveId, ObjectKey, Segment, SegmentId, SegmentOwner, Timestamp, UploadId, VersionId,
};
use serde::{Deserialize, Serialize};

use crate::rows::{PartRow, UploadRow, VersionRow};

/// The condition of a conditional write, checked at commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteCondition {
    /// Always.
    #[default]
    None,
    /// `If-None-Match: *`: only where no current version exists.
    Absent,
    /// `If-Match`: only where the current version has this ETag.
    ETag(String),
}

/// A command on one key. The shard owning (bucket, key) executes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A new current version (plain PUT, copy). Replaces the null version; its segments become garbage.
    PutVersion {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The generation of the bucket's settings that the front door used.
        bucket_generation: u64,
        /// The row; `stamp` is overwritten by the commit's stamp.
        version: VersionRow,
        /// The sealed inline body.
        inline: Option<Vec<u8>>,
        /// The segments, in order; owners name this version.
        segments: Vec<(SegmentOwner, Segment)>,
        /// The condition.
        condition: WriteCondition,
    },
    /// Removes the current version (or the one named).
    DeleteVersion {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// See `PutVersion`.
        bucket_generation: u64,
        /// `None` = the current one.
        version: Option<VersionId>,
        /// The condition.
        condition: WriteCondition,
    },
    /// Replaces the sealed attributes of a version (metadata, tags), keeping the body.
    SetAttributes {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The version.
        version: VersionId,
        /// What was read before: refused with Conflict if it changed since.
        expected: Vec<u8>,
        /// The new ones.
        attributes: Vec<u8>,
    },
    /// Opens a multipart upload; `upload.stamp` is overwritten.
    CreateUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// See `PutVersion`.
        bucket_generation: u64,
        /// The row.
        upload: UploadRow,
    },
    /// Stores a part, replacing one with the same number.
    PutPart {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The upload.
        upload: UploadId,
        /// The row; `stamp` and `offset` are overwritten.
        part: PartRow,
        /// Its segments; owners name the upload's version and this part.
        segments: Vec<(SegmentOwner, Segment)>,
    },
    /// Turns an upload into the current version. Parts not named become garbage. A repeat after success (same upload)
    /// answers from the completed version.
    CompleteUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// See `PutVersion`.
        bucket_generation: u64,
        /// The upload.
        upload: UploadId,
        /// Number and ETag of each part, ascending (checked: InvalidPartOrder, InvalidPart, PartTooSmall).
        parts: Vec<(u16, String)>,
        /// The row of the new version; `stamp`, `size`, `segment_count`, `part_count` are overwritten.
        version: VersionRow,
        /// The condition.
        condition: WriteCondition,
        /// The smallest size of a part that is not the last, in bytes.
        part_bytes_min: u64,
    },
    /// Drops an upload and its parts.
    AbortUpload {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The upload.
        upload: UploadId,
    },
    /// Moves one chunk of one segment: compare-and-set on the row.
    Relocate {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The row.
        owner: SegmentOwner,
        /// The segment that the row must still name.
        segment: SegmentId,
        /// The chunk.
        index: u8,
        /// Where the row must still say it is.
        expected: Option<DriveId>,
        /// Where it is now (`None`: nowhere, to be rebuilt).
        new: Option<DriveId>,
    },
    /// Declares segment ids dead, unless a row or an open upload references them. Runs in every shard.
    Reap {
        /// At most 1,000.
        segments: Vec<SegmentId>,
    },
    /// The chunks of these garbage rows are gone from every drive.
    GarbageDone {
        /// The rows.
        sequences: Vec<u64>,
    },
    /// Brings back a version that a rebuild found on the drives, with its own stamp. Does nothing (`Outcome::Done`) where
    /// the key has a version as new or newer.
    RestoreVersion {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The row; `stamp` is kept, `segment_count` is overwritten.
        version: VersionRow,
        /// The segments, in order; owners name this version.
        segments: Vec<(SegmentOwner, Segment)>,
    },
    /// Puts a re-coded segment in the place of the one that it was made from: the same ciphertext under a fresh id. The old
    /// one becomes garbage. Refused with Conflict where the row names another segment by now, and where the new id was
    /// reaped or is referenced.
    ReplaceSegment {
        /// The bucket.
        bucket: BucketId,
        /// The key.
        key: ObjectKey,
        /// The row.
        owner: SegmentOwner,
        /// The segment that the row must still name.
        expected: SegmentId,
        /// What it names from now on: of the same length, seal id, cipher, compression and key generation.
        new: Segment,
    },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A version was written.
    Written {
        /// The version as stored (stamp, size set).
        version: VersionRow,
    },
    /// A delete: what was there.
    Deleted {
        /// The version removed; `None` where nothing was there (S3 answers 204 all the same).
        version: Option<VersionId>,
    },
    /// A part was stored.
    PartWritten {
        /// When.
        stamp: Timestamp,
    },
    /// An upload was opened or aborted, attributes set, a chunk relocated, a segment replaced, garbage dropped.
    Done,
    /// Reap: the ids that are dead now (the others are referenced).
    Reaped(Vec<SegmentId>),
}

impl Command {
    /// The key that decides which shard executes the command; `None` where it concerns a whole shard.
    pub fn target(&self) -> Option<(BucketId, &ObjectKey)> {
        match self {
            Self::PutVersion { bucket, key, .. }
            | Self::DeleteVersion { bucket, key, .. }
            | Self::SetAttributes { bucket, key, .. }
            | Self::CreateUpload { bucket, key, .. }
            | Self::PutPart { bucket, key, .. }
            | Self::CompleteUpload { bucket, key, .. }
            | Self::AbortUpload { bucket, key, .. }
            | Self::Relocate { bucket, key, .. }
            | Self::RestoreVersion { bucket, key, .. }
            | Self::ReplaceSegment { bucket, key, .. } => Some((*bucket, key)),
            Self::Reap { .. } | Self::GarbageDone { .. } => None,
        }
    }
}

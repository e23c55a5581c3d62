//! The entry point: routes questions and commands to shards.

use std::sync::Arc;

use grid_types::{
    BucketId, BucketName, DriveId, ObjectKey, OpId, SegmentId, SegmentOwner, ShardId, Timestamp, UploadId,
    VersionId,
};
use sys::{Clock, Random};

use crate::home::HomeDrive;
use crate::query::{ListPage, ListQuery, UploadPage, UploadQuery, Usage};
use crate::root::{Bucket, Record, RecordKind, RecordWrite};
use crate::rows::{GarbageRow, ObjectRow, PartRow, SegmentRow, UploadRow};
use crate::{Command, MetaConfig, MetaError, Outcome};

/// The metadata of the grid as this node reaches it. Cheap to clone.
///
/// Cancellation: reads are safe to drop; a dropped `commit` may or may not have happened, and a repeat with the same
/// op id finds out.
#[derive(Clone)]
pub struct MetaStore {}

impl MetaStore {
    /// Founds the metadata of a new grid on these drives: an empty root shard and one shard over the whole key space.
    pub async fn found(
        _home: Vec<HomeDrive>,
        _config: MetaConfig,
        _clock: Arc<dyn Clock>,
        _random: Arc<dyn Random>,
    ) -> Result<Self, MetaError> {
        todo!()
    }

    /// Opens what `found` made. `home` are all drives in service. Fails with `Damaged` and words on what to do where the
    /// mirrors do not suffice or SQLite files cannot be rebuilt.
    pub async fn open(
        _home: Vec<HomeDrive>,
        _config: MetaConfig,
        _clock: Arc<dyn Clock>,
        _random: Arc<dyn Random>,
    ) -> Result<Self, MetaError> {
        todo!()
    }

    /// Stops all groups after checkpointing; later calls fail with `Unavailable`.
    pub async fn shutdown(&self) {
        todo!()
    }

    /// A drive came into or went out of service: the mirrors follow.
    pub async fn set_home(&self, _home: Vec<HomeDrive>) -> Result<(), MetaError> {
        todo!()
    }

    /// Ready = every group of this node has a live leader. Else which is not, in words.
    pub fn ready(&self) -> Result<(), String> {
        todo!()
    }

    /// Executes a command in the shard that owns its key; retries inside under `op`.
    pub async fn commit(&self, _op: OpId, _command: Command) -> Result<Outcome, MetaError> {
        todo!()
    }

    /// A fresh op id.
    pub fn new_op(&self) -> OpId {
        todo!()
    }

    // Root records.

    /// One record.
    pub async fn record(&self, _kind: RecordKind, _key: &[u8]) -> Result<Option<Record>, MetaError> {
        todo!()
    }

    /// Records of a kind in key order, after `after`, at most `limit`.
    pub async fn records(
        &self,
        _kind: RecordKind,
        _after: Option<&[u8]>,
        _limit: usize,
    ) -> Result<Vec<Record>, MetaError> {
        todo!()
    }

    /// Writes a batch: all or none; Conflict where an `expect` does not hold.
    pub async fn write_records(&self, _writes: Vec<RecordWrite>) -> Result<(), MetaError> {
        todo!()
    }

    // Buckets.

    /// Makes a bucket (`bucket.generation` = 1) with its first wrapped key, and its stubs in every shard.
    /// BucketAlreadyOwnedByYou / BucketAlreadyExists where the name is taken.
    pub async fn create_bucket(&self, _bucket: Bucket, _wrapped_key: Vec<u8>) -> Result<(), MetaError> {
        todo!()
    }

    /// The bucket with this name: answered from memory where known (the stub's generation catches what is stale),
    /// "no such bucket" only after a linearizable read.
    pub async fn bucket(&self, _name: &BucketName) -> Result<Option<Bucket>, MetaError> {
        todo!()
    }

    /// Buckets in name order, after `after`, at most `limit`.
    pub async fn buckets(
        &self,
        _after: Option<&BucketName>,
        _limit: usize,
    ) -> Result<Vec<Bucket>, MetaError> {
        todo!()
    }

    /// Replaces a bucket's settings: acknowledged after every shard of the bucket applied the new generation.
    pub async fn update_bucket(&self, _bucket: Bucket) -> Result<Bucket, MetaError> {
        todo!()
    }

    /// Deletes an empty bucket; BucketNotEmpty where a version or an upload is left.
    pub async fn delete_bucket(&self, _name: &BucketName) -> Result<(), MetaError> {
        todo!()
    }

    /// Objects and bytes of a bucket, summed over its shards.
    pub async fn usage(&self, _bucket: BucketId) -> Result<Usage, MetaError> {
        todo!()
    }

    // Objects.

    /// The current version (or the one named) with its inline body or first segments, in one linearizable read.
    pub async fn object(
        &self,
        _bucket: BucketId,
        _key: &ObjectKey,
        _version: Option<VersionId>,
    ) -> Result<Option<ObjectRow>, MetaError> {
        todo!()
    }

    /// Segments of a version or upload from (part, number) on, at most `SEGMENTS_PAGE`.
    pub async fn segments(
        &self,
        _bucket: BucketId,
        _key: &ObjectKey,
        _version: VersionId,
        _from: (u16, u32),
    ) -> Result<Vec<SegmentRow>, MetaError> {
        todo!()
    }

    /// Parts of a completed version or an open upload (by its version id), after part number `after`, at most `limit`.
    pub async fn parts(
        &self,
        _bucket: BucketId,
        _key: &ObjectKey,
        _version: VersionId,
        _after: u16,
        _limit: usize,
    ) -> Result<Vec<PartRow>, MetaError> {
        todo!()
    }

    /// The part of a completed version that holds byte `offset` of the object.
    pub async fn part_at(
        &self,
        _bucket: BucketId,
        _key: &ObjectKey,
        _version: VersionId,
        _offset: u64,
    ) -> Result<Option<PartRow>, MetaError> {
        todo!()
    }

    /// An open upload.
    pub async fn upload(
        &self,
        _bucket: BucketId,
        _key: &ObjectKey,
        _upload: UploadId,
    ) -> Result<Option<UploadRow>, MetaError> {
        todo!()
    }

    /// One page of current versions.
    pub async fn list(&self, _bucket: BucketId, _query: ListQuery) -> Result<ListPage, MetaError> {
        todo!()
    }

    /// One page of open uploads.
    pub async fn list_uploads(
        &self,
        _bucket: BucketId,
        _query: UploadQuery,
    ) -> Result<UploadPage, MetaError> {
        todo!()
    }

    // Repair. Cursors are opaque; `None` begins, a `None` that comes back ends.

    /// All shards of this node but the root.
    pub fn shards(&self) -> Vec<ShardId> {
        todo!()
    }

    /// Segments of a shard with a chunk on `drive` (from the drive index, no scan).
    pub async fn segments_on_drive(
        &self,
        _shard: ShardId,
        _drive: DriveId,
        _cursor: Option<Vec<u8>>,
        _limit: usize,
    ) -> Result<(Vec<(BucketId, ObjectKey, SegmentRow)>, Option<Vec<u8>>), MetaError> {
        todo!()
    }

    /// Segments of a shard whose row lacks a chunk.
    pub async fn incomplete_segments(
        &self,
        _shard: ShardId,
        _cursor: Option<Vec<u8>>,
        _limit: usize,
    ) -> Result<(Vec<(BucketId, ObjectKey, SegmentRow)>, Option<Vec<u8>>), MetaError> {
        todo!()
    }

    /// The row that references a segment, if one does (any shard).
    pub async fn find_segment(
        &self,
        _segment: SegmentId,
    ) -> Result<Option<(BucketId, ObjectKey, SegmentRow)>, MetaError> {
        todo!()
    }

    /// Garbage of a shard that is older than `before`, oldest first.
    pub async fn garbage(
        &self,
        _shard: ShardId,
        _before: Timestamp,
        _limit: usize,
    ) -> Result<Vec<GarbageRow>, MetaError> {
        todo!()
    }

    /// Executes `GarbageDone` in a shard.
    pub async fn garbage_done(&self, _shard: ShardId, _sequences: Vec<u64>) -> Result<(), MetaError> {
        todo!()
    }

    /// Proposes `Reap` in every shard; returns the ids that every shard declared dead.
    pub async fn reap(&self, _segments: Vec<SegmentId>) -> Result<Vec<SegmentId>, MetaError> {
        todo!()
    }

    /// Moves one chunk in its row; Conflict where the row changed.
    pub async fn relocate(
        &self,
        _bucket: BucketId,
        _key: &ObjectKey,
        _owner: SegmentOwner,
        _segment: SegmentId,
        _index: u8,
        _expected: Option<DriveId>,
        _new: Option<DriveId>,
    ) -> Result<(), MetaError> {
        todo!()
    }
}

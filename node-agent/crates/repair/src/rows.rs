//! What the workers ask of the metadata. A trait, so that tests can put faults between them and the real store.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{
    BucketId, BucketName, DriveId, ObjectKey, Segment, SegmentId, SegmentOwner, ShardId, Timestamp,
};
use meta_store::query::{ClassedSegmentPage, SegmentFilter};
use meta_store::rows::{GarbageRow, SegmentRow};
use meta_store::{MetaError, MetaStore};

/// Some rows and where to go on; `None` at the end.
pub type RowPage = (Vec<(BucketId, ObjectKey, SegmentRow)>, Option<Vec<u8>>);

/// The row that names a segment, with the bucket and key it belongs to; `None` where no row does.
pub type NamedRow = Option<(BucketId, ObjectKey, SegmentRow)>;

/// Questions and commands of the workers; see the methods of `MetaStore` with the same names.
pub trait SegmentRows: Send + Sync + 'static {
    /// All shards of this node but the root.
    fn shards(&self) -> Vec<ShardId>;
    /// Segments with a chunk on a drive.
    fn segments_on_drive(
        &self,
        shard: ShardId,
        drive: DriveId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RowPage, MetaError>>;
    /// Segments whose row lacks a chunk.
    fn incomplete_segments(
        &self,
        shard: ShardId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RowPage, MetaError>>;
    /// Segments that a filter takes, by a scan.
    fn segments_that(
        &self,
        shard: ShardId,
        wanted: SegmentFilter,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<ClassedSegmentPage, MetaError>>;
    /// The bucket of this name, if there is one.
    fn bucket_id(&self, name: BucketName) -> BoxFuture<'_, Result<Option<BucketId>, MetaError>>;
    /// The row that references a segment.
    fn find_segment(&self, segment: SegmentId) -> BoxFuture<'_, Result<NamedRow, MetaError>>;
    /// Garbage older than `before`.
    fn garbage(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<GarbageRow>, MetaError>>;
    /// Drops garbage rows.
    fn garbage_done(&self, shard: ShardId, sequences: Vec<u64>) -> BoxFuture<'_, Result<(), MetaError>>;
    /// Declares segments dead; returns those that are.
    fn reap(&self, segments: Vec<SegmentId>) -> BoxFuture<'_, Result<Vec<SegmentId>, MetaError>>;
    /// Moves a chunk in its row.
    fn relocate(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        owner: SegmentOwner,
        segment: SegmentId,
        index: u8,
        expected: Option<DriveId>,
        new: Option<DriveId>,
    ) -> BoxFuture<'_, Result<(), MetaError>>;
    /// Puts a re-coded segment into a row.
    fn replace_segment(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        owner: SegmentOwner,
        expected: SegmentId,
        new: Segment,
    ) -> BoxFuture<'_, Result<(), MetaError>>;
}

impl SegmentRows for MetaStore {
    fn shards(&self) -> Vec<ShardId> {
        Self::shards(self)
    }

    fn segments_on_drive(
        &self,
        shard: ShardId,
        drive: DriveId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RowPage, MetaError>> {
        Self::segments_on_drive(self, shard, drive, cursor, limit).boxed()
    }

    fn incomplete_segments(
        &self,
        shard: ShardId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RowPage, MetaError>> {
        Self::incomplete_segments(self, shard, cursor, limit).boxed()
    }

    fn segments_that(
        &self,
        shard: ShardId,
        wanted: SegmentFilter,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<ClassedSegmentPage, MetaError>> {
        Self::segments_that(self, shard, wanted, cursor, limit).boxed()
    }

    fn bucket_id(&self, name: BucketName) -> BoxFuture<'_, Result<Option<BucketId>, MetaError>> {
        async move { Ok(Self::bucket(self, &name).await?.map(|bucket| bucket.id)) }.boxed()
    }

    fn find_segment(&self, segment: SegmentId) -> BoxFuture<'_, Result<NamedRow, MetaError>> {
        Self::find_segment(self, segment).boxed()
    }

    fn garbage(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<GarbageRow>, MetaError>> {
        Self::garbage(self, shard, before, limit).boxed()
    }

    fn garbage_done(&self, shard: ShardId, sequences: Vec<u64>) -> BoxFuture<'_, Result<(), MetaError>> {
        Self::garbage_done(self, shard, sequences).boxed()
    }

    fn reap(&self, segments: Vec<SegmentId>) -> BoxFuture<'_, Result<Vec<SegmentId>, MetaError>> {
        Self::reap(self, segments).boxed()
    }

    fn relocate(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        owner: SegmentOwner,
        segment: SegmentId,
        index: u8,
        expected: Option<DriveId>,
        new: Option<DriveId>,
    ) -> BoxFuture<'_, Result<(), MetaError>> {
        async move { Self::relocate(self, bucket, &key, owner, segment, index, expected, new).await }.boxed()
    }

    fn replace_segment(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        owner: SegmentOwner,
        expected: SegmentId,
        new: Segment,
    ) -> BoxFuture<'_, Result<(), MetaError>> {
        async move { Self::replace_segment(self, bucket, &key, owner, expected, new).await }.boxed()
    }
}

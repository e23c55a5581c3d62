//! The entry point: what the front doors call.

use std::sync::Arc;

use grid_types::{BucketName, ObjectKey, UploadId, VersionId};
use keyring::RootKey;
use meta_store::root::Bucket;
use meta_store::{MetaStore, WriteCondition};
use segment_store::SegmentStore;
use sys::{Clock, Random};

use crate::types::{
    CompletePart, CopySource, CreateUpload, GetObject, ListObjects, ListUploads, ObjectInfo, ObjectListing,
    ObjectReader, PartInfo, PutObject, PutPart, UploadListing, Written, WrittenPart,
};
use crate::{Attributes, Checksum, ChecksumKind, ChecksumType, EngineConfig, EngineError};

/// Object operations on the grid. Cheap to clone.
///
/// Cancellation: reads are safe to drop. A dropped write either commits whole or leaves garbage that is reaped.
#[derive(Clone)]
pub struct ObjectEngine {}

impl ObjectEngine {
    /// Over metadata, segments and keys.
    pub fn new(
        _meta: MetaStore,
        _segments: SegmentStore,
        _root_key: RootKey,
        _clock: Arc<dyn Clock>,
        _random: Arc<dyn Random>,
        _config: EngineConfig,
    ) -> Self {
        todo!()
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, _name: &BucketName, _owner: &str) -> Result<Bucket, EngineError> {
        todo!()
    }

    /// Deletes an empty bucket.
    pub async fn delete_bucket(&self, _name: &BucketName) -> Result<(), EngineError> {
        todo!()
    }

    /// The bucket, or NoSuchBucket.
    pub async fn bucket(&self, _name: &BucketName) -> Result<Bucket, EngineError> {
        todo!()
    }

    /// Buckets by name, after `after`, at most `limit`.
    pub async fn list_buckets(
        &self,
        _after: Option<&BucketName>,
        _limit: usize,
    ) -> Result<Vec<Bucket>, EngineError> {
        todo!()
    }

    /// Stores an object.
    pub async fn put_object(&self, _request: PutObject) -> Result<Written, EngineError> {
        todo!()
    }

    /// All but the body.
    pub async fn head_object(&self, _request: GetObject) -> Result<ObjectInfo, EngineError> {
        todo!()
    }

    /// The object and a reader over the asked range.
    pub async fn get_object(&self, _request: GetObject) -> Result<(ObjectInfo, ObjectReader), EngineError> {
        todo!()
    }

    /// Deletes; `None` where nothing was there.
    pub async fn delete_object(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _version: Option<VersionId>,
        _condition: WriteCondition,
    ) -> Result<Option<VersionId>, EngineError> {
        todo!()
    }

    /// Copies. `attributes` replaces the source's (`REPLACE`); `None` keeps them (`COPY`). A copy onto itself needs
    /// `attributes` or another storage class. `checksum` asks for another algorithm than the source's.
    pub async fn copy_object(
        &self,
        _source: CopySource,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _attributes: Option<Attributes>,
        _storage_class: Option<String>,
        _checksum: Option<ChecksumKind>,
        _condition: WriteCondition,
    ) -> Result<Written, EngineError> {
        todo!()
    }

    /// One page of a bucket.
    pub async fn list_objects(
        &self,
        _bucket: &BucketName,
        _query: ListObjects,
    ) -> Result<ObjectListing, EngineError> {
        todo!()
    }

    /// Opens a multipart upload.
    pub async fn create_upload(&self, _request: CreateUpload) -> Result<UploadId, EngineError> {
        todo!()
    }

    /// The checksum choice of an open upload, or NoSuchUpload.
    pub async fn upload_checksum(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _upload: UploadId,
    ) -> Result<Option<(ChecksumKind, ChecksumType)>, EngineError> {
        todo!()
    }

    /// Stores a part.
    pub async fn put_part(&self, _request: PutPart) -> Result<WrittenPart, EngineError> {
        todo!()
    }

    /// Stores a part from another object.
    pub async fn copy_part(
        &self,
        _source: CopySource,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _upload: UploadId,
        _number: u16,
    ) -> Result<WrittenPart, EngineError> {
        todo!()
    }

    /// Parts of an open upload, after `after`, at most `limit`; true where more follow. Also its row's info.
    pub async fn list_parts(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _upload: UploadId,
        _after: u16,
        _limit: usize,
    ) -> Result<(crate::UploadInfo, Vec<PartInfo>, bool), EngineError> {
        todo!()
    }

    /// Parts of a completed object (GetObjectAttributes), after `after`, at most `limit`; true where more follow.
    pub async fn object_parts(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _version: VersionId,
        _after: u16,
        _limit: usize,
    ) -> Result<(Vec<PartInfo>, bool), EngineError> {
        todo!()
    }

    /// Open uploads of a bucket.
    pub async fn list_uploads(
        &self,
        _bucket: &BucketName,
        _query: ListUploads,
    ) -> Result<UploadListing, EngineError> {
        todo!()
    }

    /// Turns an upload into an object. `checksum` is what the client says of the whole: must match.
    pub async fn complete_upload(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _upload: UploadId,
        _parts: Vec<CompletePart>,
        _checksum: Option<Checksum>,
        _condition: WriteCondition,
    ) -> Result<Written, EngineError> {
        todo!()
    }

    /// Drops an upload.
    pub async fn abort_upload(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _upload: UploadId,
    ) -> Result<(), EngineError> {
        todo!()
    }
}

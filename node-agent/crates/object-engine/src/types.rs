//! Requests and answers of the engine.

use std::ops::Range;

use bytes::Bytes;
use grid_types::{BucketName, ObjectKey, Timestamp, UploadId, VersionId};
use meta_store::WriteCondition;

use crate::{
    Attributes, Body, Checksum, ChecksumKind, ChecksumType, EngineError, ExpectedDigests, ReadConditions,
};

/// A plain PUT.
pub struct PutObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// Decoded bytes.
    pub body: Body,
    /// Decoded length, where the client announced it (S3 demands it).
    pub length: Option<u64>,
    /// Digests to verify, read when the body has ended.
    pub expected: ExpectedDigests,
    /// The checksum to compute and store (named by a header, a trailer announcement or `x-amz-sdk-checksum-algorithm`).
    pub checksum: Option<ChecksumKind>,
    /// Headers to store.
    pub attributes: Attributes,
    /// `x-amz-storage-class`; `None` = STANDARD.
    pub storage_class: Option<String>,
    /// `If-None-Match: *`, `If-Match`.
    pub condition: WriteCondition,
}

/// What a write made.
#[derive(Debug, Clone)]
pub struct Written {
    /// Without quotes.
    pub etag: String,
    /// The version.
    pub version: VersionId,
    /// When.
    pub modified: Timestamp,
    /// Plaintext bytes.
    pub size: u64,
    /// The stored checksum.
    pub checksum: Option<Checksum>,
}

/// A range as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=first-last`, both inclusive.
    FromTo(u64, u64),
    /// `bytes=first-`.
    From(u64),
    /// `bytes=-length`.
    Suffix(u64),
}

/// A GET or HEAD.
#[derive(Debug, Clone)]
pub struct GetObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// `versionId`.
    pub version: Option<VersionId>,
    /// `Range`.
    pub range: Option<RangeSpec>,
    /// `partNumber`; not together with a range.
    pub part_number: Option<u16>,
    /// Conditions.
    pub conditions: ReadConditions,
}

/// What is known of an object without its body.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// The key.
    pub key: ObjectKey,
    /// The version.
    pub version: VersionId,
    /// Without quotes.
    pub etag: String,
    /// Bytes of the whole object.
    pub size: u64,
    /// Last modified.
    pub modified: Timestamp,
    /// Storage class.
    pub storage_class: String,
    /// Stored headers.
    pub attributes: Attributes,
    /// Stored checksum of the whole object.
    pub checksum: Option<Checksum>,
    /// Stored checksum of the part that was asked for by its number.
    pub part_checksum: Option<Checksum>,
    /// Parts of a multipart object; 0 for a plain one.
    pub part_count: u16,
    /// The range that is answered: all of it unless a range or part was asked.
    pub range: Range<u64>,
    /// True where `range` answers a `Range` or `partNumber` (206).
    pub partial: bool,
}

/// The bytes of `ObjectInfo::range`, in order.
pub struct ObjectReader {
    pub(crate) inner: futures_util::stream::BoxStream<'static, Result<Bytes, EngineError>>,
}

impl ObjectReader {
    /// The next piece; `None` at the end. An error after the first bytes means the connection must be cut.
    pub async fn next(&mut self) -> Option<Result<Bytes, EngineError>> {
        futures_util::StreamExt::next(&mut self.inner).await
    }

    /// As a stream.
    pub fn into_stream(self) -> futures_util::stream::BoxStream<'static, Result<Bytes, EngineError>> {
        self.inner
    }
}

/// Where a copy comes from.
#[derive(Debug, Clone)]
pub struct CopySource {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version.
    pub version: Option<VersionId>,
    /// `x-amz-copy-source-if-*`; a failed one is PreconditionFailed, never 304.
    pub conditions: ReadConditions,
    /// For part copies: `x-amz-copy-source-range`, inclusive, must lie within.
    pub range: Option<(u64, u64)>,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListObjects {
    /// Prefix.
    pub prefix: String,
    /// Delimiter.
    pub delimiter: Option<String>,
    /// After this text, exclusive (marker, start-after or decoded token).
    pub after: Option<String>,
    /// At most so many, ≤ 1,000.
    pub limit: usize,
}

/// One listed object.
#[derive(Debug, Clone)]
pub struct ObjectPart {
    /// The key.
    pub key: ObjectKey,
    /// The version.
    pub version: VersionId,
    /// Without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// Last modified.
    pub modified: Timestamp,
    /// Storage class.
    pub storage_class: String,
    /// Algorithm and type of its checksum.
    pub checksum: Option<(ChecksumKind, ChecksumType)>,
}

/// One page.
#[derive(Debug, Clone, Default)]
pub struct ObjectListing {
    /// Objects in byte order.
    pub objects: Vec<ObjectPart>,
    /// Common prefixes in byte order.
    pub prefixes: Vec<String>,
    /// Where to go on: `after` of the next page; `None` at the end.
    pub next: Option<String>,
}

/// Opens an upload.
#[derive(Debug, Clone)]
pub struct CreateUpload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// Headers to store.
    pub attributes: Attributes,
    /// Storage class.
    pub storage_class: Option<String>,
    /// The checksum chosen for its parts, and its type.
    pub checksum: Option<(ChecksumKind, ChecksumType)>,
}

/// One part.
pub struct PutPart {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
    /// 1..=10,000.
    pub number: u16,
    /// Decoded bytes.
    pub body: Body,
    /// Decoded length.
    pub length: Option<u64>,
    /// Digests to verify.
    pub expected: ExpectedDigests,
    /// The checksum to compute; must be the upload's where that has one.
    pub checksum: Option<ChecksumKind>,
}

/// What a part write made.
#[derive(Debug, Clone)]
pub struct WrittenPart {
    /// Without quotes.
    pub etag: String,
    /// When.
    pub modified: Timestamp,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// One part as a Complete names it.
#[derive(Debug, Clone)]
pub struct CompletePart {
    /// Number.
    pub number: u16,
    /// ETag without quotes.
    pub etag: String,
    /// Its checksum, if the client sent it: must match.
    pub checksum: Option<Checksum>,
}

/// One part as listed.
#[derive(Debug, Clone)]
pub struct PartInfo {
    /// Number.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// When.
    pub modified: Timestamp,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// An open upload as listed.
#[derive(Debug, Clone)]
pub struct UploadInfo {
    /// The key.
    pub key: ObjectKey,
    /// Its id.
    pub upload: UploadId,
    /// When it was opened.
    pub initiated: Timestamp,
    /// Storage class.
    pub storage_class: String,
    /// Its checksum choice.
    pub checksum: Option<(ChecksumKind, ChecksumType)>,
}

/// What uploads to list.
#[derive(Debug, Clone, Default)]
pub struct ListUploads {
    /// Prefix.
    pub prefix: String,
    /// Delimiter.
    pub delimiter: Option<String>,
    /// Keys after this one, or at it with uploads after `upload_after`.
    pub key_after: Option<String>,
    /// See `key_after`.
    pub upload_after: Option<UploadId>,
    /// At most so many, ≤ 1,000.
    pub limit: usize,
}

/// One page of uploads.
#[derive(Debug, Clone, Default)]
pub struct UploadListing {
    /// Uploads by key, then id.
    pub uploads: Vec<UploadInfo>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// Where to go on; `None` at the end.
    pub next: Option<(String, Option<UploadId>)>,
}

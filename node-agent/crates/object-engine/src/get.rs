//! GET and HEAD: one linearizable read of the row, conditions, the range.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use grid_types::{BucketId, ErrorCode, ObjectKey};
use meta_store::rows::{ObjectRow, VersionRow};

use crate::put::PLAIN_PART;
use crate::reader::{ReadPlace, SegmentCursor};
use crate::record::{self, Purpose, StoredAttributes};
use crate::types::{GetObject, ObjectInfo, ObjectReader};
use crate::upload::part_checksum;
use crate::{Checksum, EngineError, ObjectEngine, ReadVerdict};

/// What a request asks for of a version.
#[derive(Default)]
struct Asked {
    /// `None` = all of it.
    range: Option<Range<u64>>,
    /// Where a part was asked for by its number.
    part_checksum: Option<Checksum>,
}

impl ObjectEngine {
    /// All but the body. NoSuchKey, NotModified, PreconditionFailed, InvalidRange, PartNotSatisfiable.
    pub async fn head_object(&self, request: GetObject) -> Result<ObjectInfo, EngineError> {
        let (_, info, _) = self.find(&request).await?;
        Ok(info)
    }

    /// The object and a reader over the asked range. Errors as `head_object`.
    pub async fn get_object(&self, request: GetObject) -> Result<(ObjectInfo, ObjectReader), EngineError> {
        let (bucket, info, row) = self.find(&request).await?;
        let reader = self.open_range(bucket, &request.key, row, info.range.clone()).await?;
        Ok((info, reader))
    }

    async fn find(&self, request: &GetObject) -> Result<(BucketId, ObjectInfo, ObjectRow), EngineError> {
        let bucket = self.bucket(&request.bucket).await?.id;
        let row = self.meta().object(bucket, &request.key, request.version).await?;
        let row = row.filter(|row| !row.version.delete_marker).ok_or_else(EngineError::no_such_key)?;
        let version = &row.version;
        match request.conditions.check(&version.etag, version.stamp) {
            ReadVerdict::Proceed => {}
            ReadVerdict::NotModified => {
                let (etag, modified) = (version.etag.clone(), version.stamp);
                return Err(EngineError::NotModified { etag, modified });
            }
            ReadVerdict::PreconditionFailed => return Err(EngineError::precondition_failed()),
        }
        let Asked { range, part_checksum } = self.asked(bucket, request, version).await?;
        let info = self.info(bucket, request.key.clone(), version, range).await?;
        Ok((bucket, ObjectInfo { part_checksum, ..info }, row))
    }

    async fn asked(
        &self,
        bucket: BucketId,
        request: &GetObject,
        version: &VersionRow,
    ) -> Result<Asked, EngineError> {
        match (request.range, request.part_number) {
            (None, None) => Ok(Asked::default()),
            (Some(range), None) => Ok(Asked { range: range.resolve(version.size)?, part_checksum: None }),
            (None, Some(part)) => self.asked_part(bucket, &request.key, version, part).await,
            (Some(_), Some(_)) => Err(EngineError::invalid_argument(
                "Cannot specify both Range header and partNumber query parameter",
            )),
        }
    }

    async fn asked_part(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: &VersionRow,
        part: u16,
    ) -> Result<Asked, EngineError> {
        let missing = || EngineError::PartNotSatisfiable { part, part_count: version.part_count };
        if part == 0 {
            return Err(missing());
        }
        if version.part_count == 0 {
            let whole = Asked { range: Some(0..version.size), part_checksum: None };
            return if part == PLAIN_PART { Ok(whole) } else { Err(missing()) };
        }
        let rows = self.meta().parts(bucket, key, version.version, part - 1, 1).await?;
        let row = rows.into_iter().find(|row| row.number == part).ok_or_else(missing)?;
        Ok(Asked { range: Some(row.offset..row.offset + row.size), part_checksum: part_checksum(&row)? })
    }

    pub(crate) async fn info(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        version: &VersionRow,
        range: Option<Range<u64>>,
    ) -> Result<ObjectInfo, EngineError> {
        let StoredAttributes { attributes, checksum } = self.open_attributes(bucket, version).await?;
        Ok(ObjectInfo {
            key,
            version: version.version,
            etag: version.etag.clone(),
            size: version.size,
            modified: version.stamp,
            storage_class: version.storage_class.clone(),
            attributes,
            checksum,
            part_checksum: None,
            part_count: version.part_count,
            // An empty part has no bytes that a 206 could name.
            partial: range.as_ref().is_some_and(|range| !range.is_empty()),
            range: range.unwrap_or(0..version.size),
        })
    }

    pub(crate) async fn open_attributes(
        &self,
        bucket: BucketId,
        version: &VersionRow,
    ) -> Result<StoredAttributes, EngineError> {
        let key = self.keys().get(bucket, version.key_generation).await?;
        record::open(&key, (Purpose::Attributes, bucket, version.version), &version.attributes)
    }

    async fn open_range(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        row: ObjectRow,
        range: Range<u64>,
    ) -> Result<ObjectReader, EngineError> {
        if range.is_empty() {
            return Ok(ObjectReader { inner: futures_util::stream::empty().boxed() });
        }
        if let Some(sealed) = &row.inline {
            let bucket_key = self.keys().get(bucket, row.version.key_generation).await?;
            let place = (Purpose::Inline, bucket, row.version.version);
            let plain = Bytes::from(record::open_bytes(&bucket_key, place, sealed)?);
            let slice = |at: u64| usize::try_from(at).ok().filter(|at| *at <= plain.len());
            let (Some(start), Some(end)) = (slice(range.start), slice(range.end)) else {
                return Err(EngineError::refused(
                    ErrorCode::Corrupt,
                    "an inline body is shorter than its row says",
                ));
            };
            let piece = plain.slice(start..end);
            return Ok(ObjectReader { inner: futures_util::stream::once(async { Ok(piece) }).boxed() });
        }
        let place = ReadPlace { bucket, key: key.clone(), version: row.version.version };
        let multipart = row.version.part_count > 0;
        let cursor = SegmentCursor::open(self.clone(), place, row.segments, multipart, range).await?;
        Ok(ObjectReader { inner: cursor.into_stream() })
    }
}

//! Parts of an upload.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use grid_types::{BucketName, ObjectKey, PART_COUNT_MAX, UploadId};
use meta_store::root::Bucket;
use meta_store::rows::PartRow;
use meta_store::{Command, Outcome};

use crate::engine::unexpected;
use crate::record::{self, ObjectRecord};
use crate::sink::BodyPlace;
use crate::types::{CopySource, PutPart, WrittenPart};
use crate::write::{BodyLimits, Content};
use crate::{ChecksumKind, EngineError, ExpectedDigests, ObjectEngine};

/// A part never lies in its row: it may become part of an object of terabytes, whose parts are found by their segments.
const PART_INLINE_BYTES_MAX: u64 = 0;

struct NewPart<'a> {
    bucket: &'a Bucket,
    key: &'a ObjectKey,
    upload: UploadId,
    number: u16,
}

impl ObjectEngine {
    /// Stores a part, replacing one with the same number.
    pub async fn put_part(&self, request: PutPart) -> Result<WrittenPart, EngineError> {
        let bucket = self.bucket(&request.bucket).await?;
        let part =
            NewPart { bucket: &bucket, key: &request.key, upload: request.upload, number: request.number };
        let limits = BodyLimits {
            length: request.length,
            bytes_max: self.config().put_bytes_max,
            inline_bytes_max: PART_INLINE_BYTES_MAX,
            checksum: request.checksum,
            expected: request.expected,
        };
        self.store_part(part, request.body.map_err(EngineError::from), limits).await
    }

    /// Stores a part from another object.
    pub async fn copy_part(
        &self,
        source: CopySource,
        bucket: &BucketName,
        key: &ObjectKey,
        upload: UploadId,
        number: u16,
    ) -> Result<WrittenPart, EngineError> {
        let bucket = self.bucket(bucket).await?;
        let (info, reader) = self.open_source(&source).await?;
        let part = NewPart { bucket: &bucket, key, upload, number };
        let limits = BodyLimits {
            length: Some(info.range.end - info.range.start),
            bytes_max: self.config().put_bytes_max,
            inline_bytes_max: PART_INLINE_BYTES_MAX,
            checksum: None,
            expected: ExpectedDigests::default(),
        };
        self.store_part(part, reader.into_stream(), limits).await
    }

    async fn store_part(
        &self,
        part: NewPart<'_>,
        body: impl Stream<Item = Result<Bytes, EngineError>> + Unpin,
        limits: BodyLimits,
    ) -> Result<WrittenPart, EngineError> {
        let NewPart { bucket, key, upload, number } = part;
        if !(1..=PART_COUNT_MAX).contains(&number) {
            let detail = format!("Part number must be an integer between 1 and {PART_COUNT_MAX}, inclusive");
            return Err(EngineError::invalid_argument(detail));
        }
        let (row, stored_upload) = self.open_upload(bucket, key, upload).await?;
        let checksum = agreed_checksum(stored_upload.checksum.map(|(kind, _)| kind), limits.checksum)?;
        let (_, profile) = self.storage_class(Some(&row.storage_class))?;
        let place = BodyPlace {
            bucket,
            key,
            bucket_key: self.keys().current(bucket).await?,
            version: row.version,
            part: number,
            profile,
        };
        let written = self.clock().now();
        let stored = self
            .store_body(place, body, BodyLimits { checksum, ..limits }, |digests| {
                let (etag, checksum) = (digests.etag(), digests.checksum.clone());
                ObjectRecord::Part { size: digests.size, etag, written, checksum }.encode()
            })
            .await?;
        let segments = match stored.content {
            Content::Segments(segments) => segments,
            Content::Inline(_) => Vec::new(),
        };
        let digests = stored.digests;
        let part = PartRow {
            number,
            size: digests.size,
            offset: 0,
            etag: digests.etag(),
            stamp: written,
            checksum: digests.checksum.as_ref().map(record::encode).unwrap_or_default(),
            segment_count: u32::try_from(segments.len()).unwrap_or(u32::MAX),
        };
        let outcome = self
            .commit(bucket, |_| Command::PutPart {
                bucket: bucket.id,
                key: key.clone(),
                upload,
                part: part.clone(),
                segments: segments.clone(),
            })
            .await;
        match outcome {
            Ok(Outcome::PartWritten { stamp }) => {
                Ok(WrittenPart { etag: part.etag, modified: stamp, checksum: digests.checksum })
            }
            Ok(outcome) => Err(unexpected(&outcome)),
            Err(error) => {
                self.discard(&error, segments).await;
                Err(error)
            }
        }
    }
}

/// What to compute: the upload's algorithm, which the part may repeat but not change.
fn agreed_checksum(
    upload: Option<ChecksumKind>,
    part: Option<ChecksumKind>,
) -> Result<Option<ChecksumKind>, EngineError> {
    match (upload, part) {
        (Some(upload), Some(part)) if upload != part => {
            let (upload, part) = (upload.name(), part.name());
            let detail = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                upload.to_lowercase(),
                part.to_lowercase()
            );
            Err(EngineError::invalid_argument(detail))
        }
        (upload, part) => Ok(upload.or(part)),
    }
}

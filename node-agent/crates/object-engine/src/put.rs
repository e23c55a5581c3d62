//! Plain PUT.

use futures_util::TryStreamExt;
use grid_types::{ObjectKey, VersionId};
use meta_store::root::Bucket;
use meta_store::rows::VersionRow;
use meta_store::{Command, Outcome, WriteCondition};

use crate::digest::checksum_tag;
use crate::engine::unexpected;
use crate::record::{self, ObjectRecord, Purpose, StoredAttributes};
use crate::sink::BodyPlace;
use crate::types::{PutObject, Written};
use crate::write::{BodyLimits, Content, StoredBody};
use crate::{Attributes, EngineError, ObjectEngine};

/// The part number of everything that is not multipart.
pub(crate) const PLAIN_PART: u16 = 1;

/// What a version gets besides its body.
pub(crate) struct NewVersion {
    pub(crate) version: VersionId,
    pub(crate) storage_class: String,
    pub(crate) attributes: Attributes,
    pub(crate) condition: WriteCondition,
}

impl ObjectEngine {
    /// Stores an object. Nothing is visible before the whole body is there, has its digests and is synced.
    pub async fn put_object(&self, request: PutObject) -> Result<Written, EngineError> {
        let bucket = self.bucket(&request.bucket).await?;
        let (storage_class, profile) = self.storage_class(request.storage_class.as_deref())?;
        self.check_early(&bucket, &request.key, &request.condition).await?;
        let new = NewVersion {
            version: self.new_version(),
            storage_class,
            attributes: request.attributes,
            condition: request.condition,
        };
        let place = BodyPlace {
            bucket: &bucket,
            key: &request.key,
            bucket_key: self.keys().current(&bucket).await?,
            version: new.version,
            part: PLAIN_PART,
            profile,
        };
        let limits = BodyLimits {
            length: request.length,
            bytes_max: self.config().put_bytes_max,
            inline_bytes_max: self.config().inline_bytes_max,
            checksum: request.checksum,
            expected: request.expected,
        };
        self.put_version(place, request.body.map_err(EngineError::from), limits, new).await
    }

    /// Body → commit, for PUT and copy.
    pub(crate) async fn put_version(
        &self,
        place: BodyPlace<'_>,
        body: impl futures_util::Stream<Item = Result<bytes::Bytes, EngineError>> + Unpin,
        limits: BodyLimits,
        new: NewVersion,
    ) -> Result<Written, EngineError> {
        let stored = self
            .store_body(place.clone(), body, limits, |digests| {
                let record = ObjectRecord::Object {
                    size: digests.size,
                    etag: digests.etag(),
                    written: self.clock().now(),
                    storage_class: new.storage_class.clone(),
                    attributes: Box::new(new.attributes.clone()),
                    checksum: digests.checksum.clone(),
                };
                record.encode()
            })
            .await?;
        self.commit_version(place, stored, new).await
    }

    async fn commit_version(
        &self,
        place: BodyPlace<'_>,
        stored: StoredBody,
        new: NewVersion,
    ) -> Result<Written, EngineError> {
        let StoredBody { digests, content } = stored;
        let seal_place = |purpose| (purpose, place.bucket.id, new.version);
        let attributes = StoredAttributes { attributes: new.attributes, checksum: digests.checksum.clone() };
        let row = VersionRow {
            version: new.version,
            stamp: self.clock().now(),
            size: digests.size,
            etag: digests.etag(),
            storage_class: new.storage_class,
            key_generation: place.bucket_key.generation(),
            attributes: record::seal(
                &place.bucket_key,
                seal_place(Purpose::Attributes),
                &attributes,
                self.random(),
            ),
            checksum_tag: checksum_tag(digests.checksum.as_ref()),
            part_count: 0,
            segment_count: 0,
            delete_marker: false,
        };
        let (inline, segments) = match content {
            Content::Inline(plain) if plain.is_empty() => (None, Vec::new()),
            Content::Inline(plain) => {
                let place = (&place.bucket_key, seal_place(Purpose::Inline));
                (Some(record::seal_bytes(place.0, place.1, &plain, self.random())), Vec::new())
            }
            Content::Segments(segments) => (None, segments),
        };
        let row = VersionRow { segment_count: u32::try_from(segments.len()).unwrap_or(u32::MAX), ..row };
        let outcome = self
            .commit(place.bucket, |bucket_generation| Command::PutVersion {
                bucket: place.bucket.id,
                key: place.key.clone(),
                bucket_generation,
                version: row.clone(),
                inline: inline.clone(),
                segments: segments.clone(),
                condition: new.condition.clone(),
            })
            .await;
        match outcome {
            Ok(Outcome::Written { version }) => Ok(Written {
                etag: version.etag,
                version: version.version,
                modified: version.stamp,
                size: version.size,
                checksum: digests.checksum,
            }),
            Ok(outcome) => Err(unexpected(&outcome)),
            Err(error) => {
                self.discard(&error, segments).await;
                Err(error)
            }
        }
    }

    /// Refuses a conditional write before its body is taken, where the condition cannot hold. The commit decides.
    pub(crate) async fn check_early(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        condition: &WriteCondition,
    ) -> Result<(), EngineError> {
        if *condition == WriteCondition::None {
            return Ok(());
        }
        let current = self.meta().object(bucket.id, key, None).await?;
        let current = current.map(|row| row.version).filter(|version| !version.delete_marker);
        match (condition, current) {
            (WriteCondition::Absent, Some(_)) => Err(EngineError::precondition_failed()),
            (WriteCondition::ETag(_), None) => Err(EngineError::no_such_key()),
            (WriteCondition::ETag(etag), Some(version)) if etag != "*" && *etag != version.etag => {
                Err(EngineError::precondition_failed())
            }
            _ => Ok(()),
        }
    }
}

//! Copies: read, sealed anew, written. Linking segments within a bucket may come later; nothing here promises either.

use futures_util::StreamExt;
use grid_types::{BucketName, ErrorCode, ObjectKey};
use meta_store::WriteCondition;

use crate::put::NewVersion;
use crate::sink::BodyPlace;
use crate::types::{CopySource, GetObject, ObjectInfo, ObjectReader, RangeSpec, Written};
use crate::write::BodyLimits;
use crate::{Attributes, ChecksumKind, EngineError, ExpectedDigests, ObjectEngine};

/// AWS's sentence for a copy that would change nothing.
const ONTO_ITSELF: &str = "This copy request is illegal because it is trying to copy an object to itself without \
                           changing the object's metadata, storage class, website redirect location or encryption \
                           attributes.";

impl ObjectEngine {
    /// Copies. `attributes` replaces the source's (`REPLACE`); `None` keeps them (`COPY`). A copy onto itself needs
    /// `attributes` or another storage class. `checksum` asks for another algorithm than the source's; it is computed
    /// anew in any case, over the whole.
    pub async fn copy_object(
        &self,
        source: CopySource,
        bucket: &BucketName,
        key: &ObjectKey,
        attributes: Option<Attributes>,
        storage_class: Option<String>,
        checksum: Option<ChecksumKind>,
        condition: WriteCondition,
    ) -> Result<Written, EngineError> {
        let target = self.bucket(bucket).await?;
        let onto_itself = source.bucket == *bucket && source.key == *key && source.version.is_none();
        let (info, reader) = self.open_source(&source).await?;
        let (class, profile) = self.storage_class(storage_class.as_deref())?;
        if onto_itself && attributes.is_none() && class == info.storage_class {
            return Err(EngineError::invalid_argument(ONTO_ITSELF));
        }
        self.check_early(&target, key, &condition).await?;
        let new = NewVersion {
            version: self.new_version(),
            storage_class: class,
            attributes: attributes.unwrap_or(info.attributes),
            condition,
        };
        let place = BodyPlace {
            bucket: &target,
            key,
            bucket_key: self.keys().current(&target).await?,
            version: new.version,
            part: crate::put::PLAIN_PART,
            profile,
        };
        let limits = BodyLimits {
            length: Some(info.range.end - info.range.start),
            bytes_max: self.config().put_bytes_max,
            inline_bytes_max: self.config().inline_bytes_max,
            checksum: checksum.or(info.checksum.map(|checksum| checksum.kind)),
            expected: ExpectedDigests::default(),
        };
        let body = reader.into_stream().map(|piece| piece.map_err(cut_short));
        self.put_version(place, body, limits, new).await
    }

    /// Opens what a copy reads. A failed condition is PreconditionFailed, never 304; a range must lie within.
    pub(crate) async fn open_source(
        &self,
        source: &CopySource,
    ) -> Result<(ObjectInfo, ObjectReader), EngineError> {
        let request = GetObject {
            bucket: source.bucket.clone(),
            key: source.key.clone(),
            version: source.version,
            range: source.range.map(|(first, last)| RangeSpec::FromTo(first, last)),
            part_number: None,
            conditions: source.conditions.clone(),
        };
        let (info, reader) = self.get_object(request).await.map_err(|error| match error {
            EngineError::NotModified { .. } => EngineError::precondition_failed(),
            EngineError::InvalidRange { size } => outside(size),
            error => error,
        })?;
        if source.range.is_some_and(|(first, last)| first > last || last >= info.size) {
            return Err(outside(info.size));
        }
        if info.range.end - info.range.start > self.config().put_bytes_max {
            let max = self.config().put_bytes_max;
            let detail = format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {max}"
            );
            return Err(EngineError::invalid_argument(detail));
        }
        Ok((info, reader))
    }
}

fn outside(size: u64) -> EngineError {
    EngineError::invalid_argument(format!("Range specified is not valid for source object of size: {size}"))
}

/// A source that vanishes under a copy is no missing key of the target: the client may try again.
fn cut_short(error: EngineError) -> EngineError {
    match error.code() {
        ErrorCode::NoSuchKey => {
            EngineError::refused(ErrorCode::Unavailable, "the copy's source changed while it was read")
        }
        _ => error,
    }
}

//! What a rebuild found and could not place: listed, released into a bucket under a name, or deleted.
//!
//! Each quarantined segment has a row in the internal bucket, which keeps its chunks whole. It is sealed under the key of
//! the bucket that it came from, so a release reads it with that key and writes an ordinary object.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use grid_types::{
    BucketId, BucketName, ErrorCode, ObjectKey, Segment, SegmentId, SegmentOwner, Timestamp, VersionId,
};
use meta_store::WriteCondition;
use meta_store::query::{ListEntry, ListQuery};
use meta_store::root::Bucket;
use meta_store::rows::VersionRow;

use crate::backup::object_key;
use crate::put::{NewVersion, PLAIN_PART};
use crate::record::{self, Purpose, StoredAttributes};
use crate::sink::BodyPlace;
use crate::types::Written;
use crate::write::BodyLimits;
use crate::{Attributes, EngineError, ExpectedDigests, ObjectEngine};

/// Keys of quarantined segments in the internal bucket begin with it.
const PREFIX: &str = "quarantine/";
/// Rows read at once.
const PAGE: usize = 1_000;
/// Segments listed or released at once: 6 TiB of full ones.
pub const QUARANTINED_MAX: usize = 100_000;

/// Where a quarantined segment came from, as its chunk's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineOrigin {
    /// The bucket's id ...
    pub bucket: BucketId,
    /// ... and its name, where it is there still.
    pub bucket_name: Option<BucketName>,
    /// The key.
    pub key: ObjectKey,
    /// Version, part and number.
    pub owner: SegmentOwner,
}

/// A segment that a rebuild could not place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedSegment {
    /// Its id.
    pub segment: SegmentId,
    /// Bytes of plaintext.
    pub length: u64,
    /// When the rebuild found it.
    pub found: Timestamp,
    /// `None` where no bucket key opens its header: then it can only be deleted.
    pub origin: Option<QuarantineOrigin>,
}

/// Which quarantined segments are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuarantineChoice {
    /// All of one version, in the order of its parts.
    Version(VersionId),
    /// These, in this order.
    Segments(Vec<SegmentId>),
}

/// The key of a quarantined segment's row in the internal bucket.
pub(crate) fn quarantine_key(segment: SegmentId) -> Result<ObjectKey, EngineError> {
    object_key(&format!("{PREFIX}{segment}"))
}

/// What the row keeps of a segment's origin.
pub(crate) fn origin_attributes(bucket: BucketId, key: &ObjectKey, owner: SegmentOwner) -> Attributes {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    let user_metadata = vec![
        pair("bucket", bucket.to_string()),
        pair("key", key.as_str().to_owned()),
        pair("version", owner.version.to_string()),
        pair("part", owner.part.to_string()),
        pair("number", owner.number.to_string()),
    ];
    Attributes { user_metadata, ..Default::default() }
}

fn origin_of(attributes: &Attributes) -> Option<QuarantineOrigin> {
    let value = |name: &str| {
        let mut pairs = attributes.user_metadata.iter();
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let owner = SegmentOwner {
        version: value("version")?.parse().ok()?,
        part: value("part")?.parse().ok()?,
        number: value("number")?.parse().ok()?,
    };
    let (bucket, key) = (value("bucket")?.parse().ok()?, ObjectKey::new(value("key")?).ok()?);
    Some(QuarantineOrigin { bucket, bucket_name: None, key, owner })
}

impl ObjectEngine {
    /// Quarantined segments by bucket, key, version, part and number; `QUARANTINED_MAX` at most.
    pub async fn quarantined(&self) -> Result<Vec<QuarantinedSegment>, EngineError> {
        let internal = self.internal_bucket().await?;
        let names = self.bucket_names().await?;
        let mut found = Vec::new();
        let mut after = None;
        while found.len() < QUARANTINED_MAX {
            let query = ListQuery { prefix: PREFIX.to_owned(), after, limit: PAGE, ..Default::default() };
            let page = self.meta().list(internal.id, query).await?;
            for entry in &page.entries {
                let ListEntry::Object { key, version } = entry else { continue };
                let Some(segment) = key.as_str().strip_prefix(PREFIX).and_then(|id| id.parse().ok()) else {
                    continue;
                };
                let mut origin = self.origin_in(&internal, version).await?;
                if let Some(origin) = &mut origin {
                    origin.bucket_name = names.get(&origin.bucket).cloned();
                }
                let (length, found_at) = (version.size, version.stamp);
                found.push(QuarantinedSegment { segment, length, found: found_at, origin });
            }
            after = page.entries.last().map(|entry| entry.text().to_owned());
            if !page.truncated {
                break;
            }
        }
        found.sort_by(|left, right| order_of(left).cmp(&order_of(right)));
        Ok(found)
    }

    /// Writes the chosen segments, one behind the other, as a new object, then takes them out of quarantine; also how many
    /// there were. Never replaces an object: PreconditionFailed. Runs to completion; cut short, the object or the segments are there still.
    pub async fn release_quarantined(
        &self,
        choice: &QuarantineChoice,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(Written, usize), EngineError> {
        let target = self.bucket(bucket).await?;
        let internal = self.internal_bucket().await?;
        let chosen = self.chosen(choice).await?;
        if let QuarantineChoice::Version(version) = choice {
            check_whole(*version, &chosen)?;
        }
        let mut sources = Vec::new();
        for one in &chosen {
            let Some(origin) = &one.origin else {
                let detail = format!("no bucket key opens segment {}: it can only be deleted", one.segment);
                return Err(EngineError::invalid_argument(detail));
            };
            let key = quarantine_key(one.segment)?;
            let row = self.meta().object(internal.id, &key, None).await?;
            let row = row.ok_or_else(|| not_quarantined(&one.segment.to_string()))?;
            let segments = self.segments_of(&internal, &key, row.version.version).await?;
            sources.extend(segments.into_iter().map(|segment| (origin.bucket, segment)));
        }
        let condition = WriteCondition::Absent;
        self.check_early(&target, key, &condition).await?;
        let (storage_class, profile) = self.storage_class(None)?;
        let attributes = Attributes::default();
        let new = NewVersion { version: self.new_version(), storage_class, attributes, condition };
        let place = BodyPlace {
            bucket: &target,
            key,
            bucket_key: self.keys().current(&target).await?,
            version: new.version,
            part: PLAIN_PART,
            profile,
        };
        let limits = BodyLimits {
            length: Some(chosen.iter().map(|one| one.length).sum()),
            bytes_max: self.config().put_bytes_max,
            inline_bytes_max: self.config().inline_bytes_max,
            checksum: None,
            expected: ExpectedDigests::default(),
        };
        let body = Box::pin(self.plain_of(sources));
        let written = self.put_version(place, body, limits, new).await?;
        self.drop_quarantined(&internal, &chosen).await?;
        Ok((written, chosen.len()))
    }

    /// Deletes the chosen segments: their chunks go as those of any deleted object. How many there were.
    pub async fn delete_quarantined(&self, choice: &QuarantineChoice) -> Result<usize, EngineError> {
        let internal = self.internal_bucket().await?;
        let chosen = self.chosen(choice).await?;
        self.drop_quarantined(&internal, &chosen).await?;
        Ok(chosen.len())
    }

    async fn drop_quarantined(
        &self,
        internal: &Bucket,
        chosen: &[QuarantinedSegment],
    ) -> Result<(), EngineError> {
        for one in chosen {
            self.delete_in(internal, &quarantine_key(one.segment)?, None, WriteCondition::None).await?;
        }
        Ok(())
    }

    async fn chosen(&self, choice: &QuarantineChoice) -> Result<Vec<QuarantinedSegment>, EngineError> {
        let all = self.quarantined().await?;
        match choice {
            QuarantineChoice::Version(version) => {
                let of_version = |one: &QuarantinedSegment| {
                    one.origin.as_ref().is_some_and(|origin| origin.owner.version == *version)
                };
                let chosen: Vec<_> = all.into_iter().filter(of_version).collect();
                if chosen.is_empty() { Err(not_quarantined(&version.to_string())) } else { Ok(chosen) }
            }
            QuarantineChoice::Segments(segments) => {
                let mut by_id: HashMap<SegmentId, QuarantinedSegment> =
                    all.into_iter().map(|one| (one.segment, one)).collect();
                let take = |id: &SegmentId| by_id.remove(id).ok_or_else(|| not_quarantined(&id.to_string()));
                segments.iter().map(take).collect()
            }
        }
    }

    async fn origin_in(
        &self,
        internal: &Bucket,
        row: &VersionRow,
    ) -> Result<Option<QuarantineOrigin>, EngineError> {
        let key = self.keys().get(internal.id, row.key_generation).await?;
        let place = (Purpose::Attributes, internal.id, row.version);
        let stored: StoredAttributes = record::open(&key, place, &row.attributes)?;
        Ok(origin_of(&stored.attributes))
    }

    async fn bucket_names(&self) -> Result<HashMap<BucketId, BucketName>, EngineError> {
        let mut names = HashMap::new();
        let mut after: Option<BucketName> = None;
        loop {
            let page = self.meta().buckets(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(names) };
            after = Some(last.name.clone());
            names.extend(page.into_iter().map(|bucket| (bucket.id, bucket.name)));
        }
    }

    /// The plaintext of these segments, each sealed under a key of the bucket beside it.
    fn plain_of(
        &self,
        sources: Vec<(BucketId, Segment)>,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + '_ {
        try_unfold((sources.into_iter(), None), move |(mut sources, mut reader)| async move {
            loop {
                let Some(mut open) = reader.take() else {
                    let Some((bucket, segment)) = sources.next() else { return Ok(None) };
                    let key = self.keys().get(bucket, segment.key_generation).await?;
                    let length = segment.length;
                    reader = Some(self.segments().read(segment, key, 0..length));
                    continue;
                };
                if let Some(piece) = open.next().await {
                    return Ok(Some((piece?, (sources, Some(open)))));
                }
            }
        })
    }
}

/// What sorts a list: unknown origins last.
fn order_of(one: &QuarantinedSegment) -> (bool, Option<(BucketId, &ObjectKey, SegmentOwner)>, SegmentId) {
    let origin = one.origin.as_ref().map(|origin| (origin.bucket, &origin.key, origin.owner));
    (origin.is_none(), origin, one.segment)
}

/// A hole within a part, or a missing first part, is sure to make another object than the one that was written.
fn check_whole(version: VersionId, chosen: &[QuarantinedSegment]) -> Result<(), EngineError> {
    let mut expected = None;
    for owner in chosen.iter().filter_map(|one| one.origin.as_ref()).map(|origin| origin.owner) {
        let next = expected.filter(|(part, _)| *part == owner.part).map_or(0, |(_, number)| number);
        if owner.number != next {
            let detail = format!(
                "version {version} lacks segment {next} of part {}; name the segments to release what is there",
                owner.part
            );
            return Err(EngineError::invalid_argument(detail));
        }
        expected = Some((owner.part, next + 1));
    }
    Ok(())
}

fn not_quarantined(what: &str) -> EngineError {
    EngineError::refused(ErrorCode::NoSuchKey, format!("nothing of {what} is quarantined"))
}

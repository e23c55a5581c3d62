//! Holds each segment on the drives against its row, and brings back objects that have none.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chunk_store::{ChunkInfo, ChunkStore};
use grid_types::{BucketId, BucketName, ErrorCode, ObjectKey, Segment, SegmentOwner, Timestamp, VersionId};
use keyring::BucketKey;
use meta_store::root::{Bucket, RecordKind};
use meta_store::rows::{SegmentRow, VersionRow};
use meta_store::{Command, MetaStore, Outcome};
use segment_store::format::{SegmentIdentity, open_identity, open_record};

use super::located::located;
use super::report::QUARANTINED_NAMED_MAX;
use super::walk::{FoundSegment, Walk};
use super::{Quarantined, Rebuild, RebuildReport};
use crate::digest::checksum_tag;
use crate::internal::is_internal;
use crate::put::PLAIN_PART;
use crate::quarantine::{origin_attributes, quarantine_key};
use crate::record::{self, ObjectRecord, Purpose, StoredAttributes};
use crate::{EngineError, ObjectEngine, STANDARD};

/// An object written so long before the backup and not in it had been deleted or replaced by then. What is younger may
/// have been on its way: its record is made just before its commit.
const COMMIT_DELAY_MAX: Duration = Duration::from_secs(60);
const PAGE: usize = 512;

/// An object of more than one segment, as far as it was found.
#[derive(Default)]
struct Pending {
    place: Option<(BucketId, ObjectKey)>,
    record: Option<ObjectRecord>,
    /// Number of its last segment, from the one that carries the record.
    last: Option<u32>,
    segments: BTreeMap<u32, Segment>,
}

impl Pending {
    fn complete(&self) -> bool {
        self.last.is_some_and(|last| self.segments.len() as u64 == u64::from(last) + 1)
    }
}

pub(super) struct Finder<'a> {
    engine: &'a ObjectEngine,
    meta: &'a MetaStore,
    walk: Walk,
    chunks: ChunkStore,
    /// Buckets with the key that new rows are sealed with.
    buckets: HashMap<BucketId, (Bucket, BucketKey)>,
    /// Every bucket key, by generation: a chunk header does not say which bucket it belongs to.
    keys: BTreeMap<u32, Vec<BucketKey>>,
    pending: HashMap<VersionId, Pending>,
    report: &'a mut RebuildReport,
}

impl<'a> Finder<'a> {
    pub(super) async fn new(
        engine: &'a ObjectEngine,
        parts: &Rebuild,
        report: &'a mut RebuildReport,
    ) -> Result<Self, EngineError> {
        let meta = engine.meta();
        let mut buckets = HashMap::new();
        let mut after: Option<BucketName> = None;
        loop {
            let page = meta.buckets(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            for bucket in page {
                let key = engine.keys().current(&bucket).await?;
                buckets.insert(bucket.id, (bucket, key));
            }
        }
        let mut keys: BTreeMap<u32, Vec<BucketKey>> = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = meta.records(RecordKind::BucketKey, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for record in page {
                let Some((bucket, generation)) = split_key(&record.key) else { continue };
                keys.entry(generation).or_default().push(engine.keys().get(bucket, generation).await?);
            }
        }
        let walk = Walk::new(parts.chunks.drives());
        let chunks = parts.chunks.clone();
        Ok(Self { engine, meta, walk, chunks, buckets, keys, pending: HashMap::new(), report })
    }

    /// Walks all drives.
    pub(super) async fn run(mut self) -> Result<(), EngineError> {
        while let Some(found) = self.walk.next().await? {
            self.report.segments += 1;
            match self.meta.find_segment(found.id).await? {
                Some((bucket, key, row)) => self.mend_places(bucket, &key, row, &found).await?,
                None if self.meta.is_given_up(found.id).await? => self.report.given_up += 1,
                None => self.place(&found).await?,
            }
        }
        for (version, pending) in std::mem::take(&mut self.pending) {
            let place = pending.place;
            for (number, segment) in pending.segments {
                let owner = SegmentOwner { version, part: PLAIN_PART, number };
                let identity = place.clone().map(|(bucket, key)| (bucket, key, owner));
                self.quarantine(segment, identity).await?;
            }
        }
        Ok(())
    }

    /// The row may be older than the last move of a chunk.
    async fn mend_places(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        row: SegmentRow,
        found: &FoundSegment,
    ) -> Result<(), EngineError> {
        for (index, expected) in (0u8..).zip(&row.segment.drives) {
            let there: Vec<_> = found.drives_of(index).collect();
            if expected.is_some_and(|drive| there.contains(&drive)) {
                continue;
            }
            let Some(new) = there.first() else { continue };
            let (owner, id) = (row.owner, row.segment.id);
            self.meta.relocate(bucket, key, owner, id, index, *expected, Some(*new)).await?;
            self.report.moved += 1;
        }
        Ok(())
    }

    /// A segment without a row.
    async fn place(&mut self, found: &FoundSegment) -> Result<(), EngineError> {
        let Some((info, segment)) = found.read().await else {
            self.report.unreadable += 1;
            return Ok(());
        };
        let Some((key, identity)) = self.identify(&info) else {
            return self.quarantine(segment, None).await;
        };
        let record = (!info.footer.is_empty())
            .then(|| open_record(&key, segment.seal_id, &info.footer).ok())
            .flatten()
            .and_then(|plain| ObjectRecord::decode(&plain));
        let SegmentIdentity { bucket, key, owner } = identity;
        if self.buckets.contains_key(&bucket) && self.take_for_older(bucket, &key, owner, &segment).await? {
            return Ok(());
        }
        if !self.buckets.contains_key(&bucket) || owner.part != PLAIN_PART {
            return self.quarantine(segment, Some((bucket, key, owner))).await;
        }
        if matches!(record, Some(ObjectRecord::Part { .. })) {
            return self.quarantine(segment, Some((bucket, key, owner))).await;
        }
        let pending = self.pending.entry(owner.version).or_default();
        pending.place = Some((bucket, key));
        pending.segments.insert(owner.number, segment);
        if record.is_some() {
            pending.record = record;
            pending.last = Some(owner.number);
        }
        if pending.complete()
            && let Some(pending) = self.pending.remove(&owner.version)
        {
            self.bring_back(owner.version, pending).await?;
        }
        Ok(())
    }

    /// A segment that was re-coded after the backup: the row names the one that it was made of, whose chunks may be gone by
    /// now. The better one stays in the row. True where there is such a row.
    async fn take_for_older(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        owner: SegmentOwner,
        found: &Segment,
    ) -> Result<bool, EngineError> {
        let rows = self.meta.segments(bucket, key, owner.version, (owner.part, owner.number)).await?;
        let Some(row) = rows.into_iter().find(|row| row.owner == owner) else { return Ok(false) };
        if row.segment.seal_id != found.seal_id {
            return Ok(false);
        }
        let spare = |segment: &Segment| {
            let there = segment.drives.iter().flatten().count();
            there.checked_sub(segment.profile.data_chunks())
        };
        let older = located(&self.chunks, &row.segment).await;
        if spare(found) > spare(&older) {
            let expected = row.segment.id;
            self.meta.replace_segment(bucket, key, owner, expected, found.clone()).await?;
            self.report.moved += 1;
        } else {
            self.report.superseded += 1;
        }
        Ok(true)
    }

    fn identify(&self, info: &ChunkInfo) -> Option<(BucketKey, SegmentIdentity)> {
        let keys = self.keys.get(&info.header.key_generation)?;
        keys.iter().find_map(|key| {
            let identity = open_identity(key, info.header.seal_id, &info.header.sealed).ok()?;
            Some((key.clone(), identity))
        })
    }

    async fn bring_back(&mut self, version: VersionId, pending: Pending) -> Result<(), EngineError> {
        let Pending { place: Some((bucket, key)), record: Some(record), segments, .. } = pending else {
            return Ok(());
        };
        let ObjectRecord::Object { size, etag, written, storage_class, attributes, checksum } = record else {
            return Ok(());
        };
        let deleted_before = self.report.backup.is_some_and(|backup| written.plus(COMMIT_DELAY_MAX) < backup);
        if deleted_before || segments.values().map(|segment| segment.length).sum::<u64>() != size {
            self.report.superseded += 1;
            return Ok(());
        }
        let (row, bucket_key) = self
            .buckets
            .get(&bucket)
            .ok_or_else(|| EngineError::refused(ErrorCode::NoSuchBucket, "the bucket vanished"))?;
        let checksum_tag = checksum_tag(checksum.as_ref());
        let stored = StoredAttributes { attributes: *attributes, checksum };
        let new = RestoredRow { version, written, size, etag, storage_class, checksum_tag };
        let new = new.row(self.engine, row.id, bucket_key, &stored);
        let segments: Vec<_> = segments
            .into_iter()
            .map(|(number, segment)| (SegmentOwner { version, part: PLAIN_PART, number }, segment))
            .collect();
        let outcome = self
            .engine
            .commit(row, |_| Command::RestoreVersion {
                bucket,
                key: key.clone(),
                version: new.clone(),
                segments: segments.clone(),
            })
            .await?;
        match outcome {
            // The backups themselves are not in the backups.
            Outcome::Written { .. } if is_internal(&row.name) => {}
            Outcome::Written { .. } => {
                self.report.objects += 1;
                self.report.bytes += size;
            }
            _ => self.report.superseded += 1,
        }
        Ok(())
    }

    /// Gives the segment a row of its own in the internal bucket, so that nothing collects its chunks.
    async fn quarantine(
        &mut self,
        segment: Segment,
        identity: Option<(BucketId, ObjectKey, SegmentOwner)>,
    ) -> Result<(), EngineError> {
        let internal = self.engine.internal_bucket().await?;
        let bucket_key = self.engine.keys().current(&internal).await?;
        let key = quarantine_key(segment.id)?;
        let version = self.engine.new_version();
        let mut stored = StoredAttributes::default();
        if let Some((bucket, key, owner)) = &identity {
            stored.attributes = origin_attributes(*bucket, key, *owner);
        }
        let new = RestoredRow {
            version,
            written: self.engine.clock().now(),
            size: segment.length,
            etag: String::new(),
            storage_class: STANDARD.to_owned(),
            checksum_tag: 0,
        };
        let new = new.row(self.engine, internal.id, &bucket_key, &stored);
        let owner = SegmentOwner { version, part: PLAIN_PART, number: 0 };
        let (id, length) = (segment.id, segment.length);
        self.engine
            .commit(&internal, |_| Command::RestoreVersion {
                bucket: internal.id,
                key: key.clone(),
                version: new.clone(),
                segments: vec![(owner, segment.clone())],
            })
            .await?;
        self.report.quarantined += 1;
        if self.report.quarantined_first.len() < QUARANTINED_NAMED_MAX {
            self.report.quarantined_first.push(Quarantined { segment: id, length, identity });
        }
        Ok(())
    }
}

/// What a row of a version that was found on the drives says.
struct RestoredRow {
    version: VersionId,
    written: Timestamp,
    size: u64,
    etag: String,
    storage_class: String,
    checksum_tag: u8,
}

impl RestoredRow {
    fn row(
        self,
        engine: &ObjectEngine,
        bucket: BucketId,
        key: &BucketKey,
        stored: &StoredAttributes,
    ) -> VersionRow {
        let place = (Purpose::Attributes, bucket, self.version);
        VersionRow {
            version: self.version,
            stamp: self.written,
            size: self.size,
            etag: self.etag,
            storage_class: self.storage_class,
            key_generation: key.generation(),
            attributes: record::seal(key, place, stored, engine.random()),
            checksum_tag: self.checksum_tag,
            part_count: 0,
            segment_count: 0,
            delete_marker: false,
        }
    }
}

/// Bucket and generation of a wrapped key's record.
fn split_key(key: &[u8]) -> Option<(BucketId, u32)> {
    let (bucket, generation) = key.split_first_chunk::<16>()?;
    Some((BucketId::from_bytes(*bucket), u32::from_be_bytes(generation.try_into().ok()?)))
}

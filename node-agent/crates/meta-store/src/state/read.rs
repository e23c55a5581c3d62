//! Questions a shard answers, on one consistent snapshot of its file.

use grid_types::{BucketId, DriveId, ErrorCode, ObjectKey, SegmentId, Timestamp, UploadId, VersionId};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::bucket::stub_of;
use super::error::{CommandError, StateError, refuse};
use super::object::{newest, version_of};
use super::range::{ShardRange, routing_key};
use super::row::{self, Table};
use super::segment::{FoundSegment, SEGMENT_COLUMNS, decode_segment, owner_row, segment_by_id, segments_of};
use super::split::SplitState;
use super::upload::{parts_of, upload_of};
use super::writer::{range_of, split_of};
use crate::query::{SEGMENTS_PAGE, Usage};
use crate::root::{Record, RecordKind};
use crate::rows::{GarbageRow, ObjectRow, PartRow, SegmentRow, UploadRow};

/// A segment with the key it belongs to.
pub(crate) type SegmentOfKey = (BucketId, ObjectKey, SegmentRow);
/// A page of them, and where the next one begins.
pub(crate) type SegmentPage = (Vec<SegmentOfKey>, Option<Vec<u8>>);

/// One snapshot of a shard's file.
pub(crate) struct ReadView<'a> {
    pub(super) connection: &'a Connection,
}

/// Where a page of segments ended. The same on all replicas: one goes on where another one ended. A set is named by its
/// drives, since a child that was split off numbers its sets in the order of its replica's own copy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// 0: segments of sets that hold the drive; 1: moved chunks.
    phase: u8,
    /// The set's list of drives, as it is stored; empty before the first.
    drives: Vec<u8>,
    pub(super) owner: i64,
    pub(super) part: u16,
    pub(super) number: u32,
}

impl Cursor {
    const BEGIN: Self = Self { phase: 0, drives: Vec::new(), owner: 0, part: 0, number: 0 };

    pub(super) fn decode(bytes: Option<Vec<u8>>) -> Result<Self, CommandError> {
        let Some(bytes) = bytes else {
            return Ok(Self::BEGIN);
        };
        postcard::from_bytes(&bytes)
            .map_err(|_| refuse(ErrorCode::InvalidArgument, "not a cursor of this shard"))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("numbers and bytes encode")
    }
}

/// A key column.
pub(super) fn object_key(bytes: &[u8]) -> Result<ObjectKey, StateError> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| ObjectKey::new(text).ok())
        .ok_or_else(|| StateError::Damaged("a key that is no key".to_owned()))
}

/// The owner of a version, or of the open upload that will become it.
pub(super) fn owner_of(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    version: VersionId,
) -> Result<Option<i64>, StateError> {
    if let Some(found) = version_of(connection, bucket, key, version)? {
        return Ok(Some(found.owner));
    }
    let mut statement =
        connection.prepare_cached("SELECT owner, row FROM upload WHERE bucket = ?1 AND key = ?2")?;
    let mut rows = statement.query((bucket.as_bytes(), key.as_bytes()))?;
    while let Some(row) = rows.next()? {
        let upload: UploadRow =
            row::decode(Table::Upload, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        if upload.version == version {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}

impl ReadView<'_> {
    pub(crate) fn range(&self) -> Result<ShardRange, CommandError> {
        Ok(range_of(self.connection)?)
    }

    /// The split that is under way, if one is.
    pub(crate) fn split(&self) -> Result<Option<SplitState>, CommandError> {
        Ok(split_of(self.connection)?)
    }

    fn own(&self, bucket: BucketId, key: &str) -> Result<(), CommandError> {
        if range_of(self.connection)?.contains(&routing_key(bucket, key)) {
            Ok(())
        } else {
            Err(refuse(ErrorCode::WrongShard, "the key belongs to another shard"))
        }
    }

    pub(crate) fn object(
        &self,
        bucket: BucketId,
        key: &str,
        version: Option<VersionId>,
    ) -> Result<Option<ObjectRow>, CommandError> {
        self.own(bucket, key)?;
        let found = match version {
            None => newest(self.connection, bucket, key)?.filter(|found| !found.stored.row.delete_marker),
            Some(version) => version_of(self.connection, bucket, key, version)?,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let inline = if found.stored.inline {
            let bytes: Vec<u8> = self
                .connection
                .prepare_cached("SELECT data FROM body WHERE owner = ?1")?
                .query_row([found.owner], |row| row.get(0))
                .optional()?
                .ok_or_else(|| StateError::Damaged("an inline body is missing".to_owned()))?;
            Some(row::decode_body(bytes)?)
        } else {
            None
        };
        let row = found.stored.row;
        let segments = if row.segment_count > 0 {
            segments_of(self.connection, found.owner, row.version, (0, 0), SEGMENTS_PAGE)?
        } else {
            Vec::new()
        };
        Ok(Some(ObjectRow { version: row, inline, segments }))
    }

    pub(crate) fn segments(
        &self,
        bucket: BucketId,
        key: &str,
        version: VersionId,
        from: (u16, u32),
    ) -> Result<Vec<SegmentRow>, CommandError> {
        self.own(bucket, key)?;
        match owner_of(self.connection, bucket, key, version)? {
            Some(owner) => Ok(segments_of(self.connection, owner, version, from, SEGMENTS_PAGE)?),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn parts(
        &self,
        bucket: BucketId,
        key: &str,
        version: VersionId,
        after: u16,
        limit: usize,
    ) -> Result<Vec<PartRow>, CommandError> {
        self.own(bucket, key)?;
        match owner_of(self.connection, bucket, key, version)? {
            Some(owner) => Ok(parts_of(self.connection, owner, after, limit)?),
            None => Ok(Vec::new()),
        }
    }

    /// Offsets ascend with part numbers, so the part is found by halving the numbers.
    pub(crate) fn part_at(
        &self,
        bucket: BucketId,
        key: &str,
        version: VersionId,
        offset: u64,
    ) -> Result<Option<PartRow>, CommandError> {
        self.own(bucket, key)?;
        let Some(owner) = owner_of(self.connection, bucket, key, version)? else {
            return Ok(None);
        };
        let (mut low, mut high) = (0u16, u16::MAX);
        let mut best: Option<PartRow> = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match parts_of(self.connection, owner, middle, 1)?.pop() {
                Some(part) if part.offset <= offset => {
                    low = part.number;
                    best = Some(part);
                }
                _ => high = middle,
            }
        }
        Ok(best.filter(|part| offset - part.offset < part.size))
    }

    pub(crate) fn upload(
        &self,
        bucket: BucketId,
        key: &str,
        upload: UploadId,
    ) -> Result<Option<UploadRow>, CommandError> {
        self.own(bucket, key)?;
        Ok(upload_of(self.connection, bucket, key, upload)?.map(|(_, row)| row))
    }

    pub(crate) fn usage(&self, bucket: BucketId) -> Result<Usage, CommandError> {
        let stub = stub_of(self.connection, bucket)?;
        Ok(stub.map(|stub| Usage { objects: stub.objects, bytes: stub.bytes }).unwrap_or_default())
    }

    pub(crate) fn record(&self, kind: RecordKind, key: &[u8]) -> Result<Option<Record>, CommandError> {
        Ok(super::record::record(self.connection, kind, key)?)
    }

    pub(crate) fn records(
        &self,
        kind: RecordKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, CommandError> {
        Ok(super::record::records(self.connection, kind, after, limit)?)
    }

    pub(crate) fn garbage(&self, before: Timestamp, limit: usize) -> Result<Vec<GarbageRow>, CommandError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT sequence, stamp, row FROM garbage ORDER BY sequence LIMIT ?1")?;
        let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut garbage = Vec::new();
        while let Some(row) = rows.next()? {
            let stamp = Timestamp(row::unsigned(row.get(1)?)?);
            // Stamps ascend with sequence numbers.
            if stamp >= before {
                break;
            }
            garbage.push(GarbageRow {
                sequence: row::unsigned(row.get(0)?)?,
                stamp,
                segment: row::decode(
                    Table::Garbage,
                    row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?,
                )?,
            });
        }
        Ok(garbage)
    }

    /// Adds the key; `None` where the key is no longer of this shard (a split left its rows to be swept).
    pub(super) fn with_key(
        &self,
        range: &ShardRange,
        mut found: FoundSegment,
    ) -> Result<Option<SegmentOfKey>, CommandError> {
        let (bucket, key, version) = owner_row(self.connection, found.owner)?;
        found.row.owner.version = version;
        Ok(range.contains(&routing_key(bucket, key.as_str())).then_some((bucket, key, found.row)))
    }

    pub(crate) fn find_segment(&self, segment: SegmentId) -> Result<Option<SegmentOfKey>, CommandError> {
        let range = self.range()?;
        match segment_by_id(self.connection, segment)? {
            Some(found) => self.with_key(&range, found),
            None => Ok(None),
        }
    }

    /// Was it given up: garbage, or declared dead?
    pub(crate) fn is_given_up(&self, segment: SegmentId) -> Result<bool, CommandError> {
        for sql in ["SELECT 1 FROM garbage WHERE id = ?1", "SELECT 1 FROM reaped WHERE id = ?1"] {
            if self.connection.prepare_cached(sql)?.exists([segment.as_bytes()])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn incomplete_segments(
        &self,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<SegmentPage, CommandError> {
        let range = self.range()?;
        let cursor = Cursor::decode(cursor)?;
        let sql = format!(
            "{SEGMENT_COLUMNS} WHERE s.incomplete = 1 AND (s.owner, s.part, s.number) > (?1, ?2, ?3)
             ORDER BY s.owner, s.part, s.number LIMIT ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((
            cursor.owner,
            cursor.part,
            cursor.number,
            i64::try_from(limit).unwrap_or(i64::MAX),
        ))?;
        let (mut page, mut last, mut seen) = (Vec::new(), cursor, 0);
        while let Some(row) = rows.next()? {
            let found = decode_segment(self.connection, row)?;
            seen += 1;
            last = position(&found);
            page.extend(self.with_key(&range, found)?);
        }
        Ok((page, (seen >= limit && limit > 0).then(|| last.encode())))
    }

    pub(crate) fn segments_on_drive(
        &self,
        drive: DriveId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<SegmentPage, CommandError> {
        let range = self.range()?;
        let mut at = Cursor::decode(cursor)?;
        let mut page = Vec::new();
        while at.phase == 0 {
            let next: Option<(i64, Vec<u8>)> = self
                .connection
                .prepare_cached(
                    "SELECT id, drives FROM place WHERE drives >= ?2
                     AND EXISTS (SELECT 1 FROM place_drive WHERE drive = ?1 AND place = id) ORDER BY drives LIMIT 1",
                )?
                .query_row((drive.as_bytes(), &at.drives), |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((place, drives)) = next else {
                at = Cursor { phase: 1, ..Cursor::BEGIN };
                break;
            };
            if drives != at.drives {
                at = Cursor { drives, ..Cursor::BEGIN };
            }
            let sql = format!(
                "{SEGMENT_COLUMNS} WHERE s.place = ?1 AND (s.owner, s.part, s.number) > (?2, ?3, ?4)
                 ORDER BY s.owner, s.part, s.number"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query((place, at.owner, at.part, at.number))?;
            while let Some(row) = rows.next()? {
                if page.len() >= limit {
                    return Ok((page, Some(at.encode())));
                }
                let found = decode_segment(self.connection, row)?;
                at = Cursor { drives: at.drives, ..position(&found) };
                if found.row.segment.drives.contains(&Some(drive)) {
                    page.extend(self.with_key(&range, found)?);
                }
            }
            // The first list that may follow.
            at = Cursor { drives: [&at.drives[..], &[0]].concat(), ..Cursor::BEGIN };
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT owner, part, number FROM moved
             WHERE drive = ?1 AND (owner, part, number) > (?2, ?3, ?4) ORDER BY owner, part, number",
        )?;
        let mut rows = statement.query((drive.as_bytes(), at.owner, at.part, at.number))?;
        while let Some(row) = rows.next()? {
            if page.len() >= limit {
                return Ok((page, Some(at.encode())));
            }
            at = Cursor { owner: row.get(0)?, part: row.get(1)?, number: row.get(2)?, ..at };
            let sql = format!("{SEGMENT_COLUMNS} WHERE s.owner = ?1 AND s.part = ?2 AND s.number = ?3");
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query((at.owner, at.part, at.number))?;
            let Some(row) = rows.next()? else {
                return Err(StateError::Damaged("a moved chunk without its segment".to_owned()).into());
            };
            let found = decode_segment(self.connection, row)?;
            // Segments whose set holds the drive came in the first phase.
            let in_set = self
                .connection
                .prepare_cached("SELECT 1 FROM place_drive WHERE drive = ?1 AND place = ?2")?
                .exists((drive.as_bytes(), found.place))?;
            if !in_set {
                page.extend(self.with_key(&range, found)?);
            }
        }
        Ok((page, None))
    }
}

/// Where the segment stands among all, by owner.
pub(super) fn position(found: &FoundSegment) -> Cursor {
    let owner = found.row.owner;
    Cursor { owner: found.owner, part: owner.part, number: owner.number, ..Cursor::BEGIN }
}

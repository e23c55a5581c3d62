//! Segments: rows, relocation, garbage, reaping.

use std::time::Duration;

use grid_types::{
    Cipher, Compression, DriveId, ErrorCode, Profile, SEGMENT_BYTES_MAX, Segment, SegmentId, SegmentOwner,
    VersionId,
};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::error::{CommandError, StateError, refuse};
use super::place::decode_place;
use super::row::{self, Table};
use super::writer::Writer;
use crate::rows::SegmentRow;
use crate::{Command, Outcome};

/// Ids of one `Reap`.
const REAP_MAX: usize = 1_000;
/// Reaped ids are kept seven days: a writer's lease ends after 24 hours, and no command may name an older id.
const REAPED_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Old reaped ids that one `Reap` forgets at most.
const REAPED_FORGOTTEN_MAX: i64 = 2_000;

/// What a segment's row stores beside its columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredSegment {
    part_offset: u64,
    /// `None`: the segment's own id, until it is re-coded.
    seal_id: Option<SegmentId>,
    length: u64,
    profile: Profile,
    cipher: Cipher,
    compression: Compression,
    key_generation: u32,
    block_packets: u8,
}

/// The columns that `decode` expects, in order; callers add WHERE.
pub(super) const SEGMENT_COLUMNS: &str =
    "SELECT s.owner, s.part, s.number, s.id, s.moved, s.row, p.drives, s.place
    FROM segment s JOIN place p ON p.id = s.place";

/// A segment's row with its place in the tables.
#[derive(Debug)]
pub(super) struct FoundSegment {
    pub owner: i64,
    pub place: i64,
    /// As callers see it; `owner.version` is a placeholder until the owner is looked up.
    pub row: SegmentRow,
}

pub(super) fn decode_segment(connection: &Connection, row: &Row<'_>) -> Result<FoundSegment, StateError> {
    let blob = |column: usize| row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from);
    let (owner, part, number): (i64, u16, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let id = SegmentId::from(row::id16(blob(3)?)?);
    let stored: StoredSegment = row::decode(Table::Segment, blob(5)?)?;
    let mut drives = decode_place(blob(6)?)?;
    if row.get::<_, bool>(4)? {
        let mut statement = connection.prepare_cached(
            "SELECT chunk, drive FROM moved WHERE owner = ?1 AND part = ?2 AND number = ?3",
        )?;
        let mut rows = statement.query((owner, part, number))?;
        while let Some(row) = rows.next()? {
            let drive: Option<Vec<u8>> = row.get(1)?;
            let drive = drive.map(|bytes| row::id16(&bytes).map(DriveId::from)).transpose()?;
            let slot = drives.get_mut(usize::from(row.get::<_, u8>(0)?));
            *slot.ok_or_else(|| StateError::Damaged("a moved chunk outside its set".to_owned()))? = drive;
        }
    }
    let segment = Segment {
        id,
        seal_id: stored.seal_id.unwrap_or(id),
        length: stored.length,
        profile: stored.profile,
        cipher: stored.cipher,
        compression: stored.compression,
        key_generation: stored.key_generation,
        block_packets: stored.block_packets,
        drives,
    };
    let owner_row = SegmentOwner { version: VersionId::from_bytes([0; 16]), part, number };
    Ok(FoundSegment {
        owner,
        place: row.get(7)?,
        row: SegmentRow { owner: owner_row, part_offset: stored.part_offset, segment },
    })
}

/// The value of a segment's row; what is not in it stands in columns.
pub(super) fn encode_segment(part_offset: u64, segment: &Segment) -> Vec<u8> {
    let stored = StoredSegment {
        part_offset,
        seal_id: (segment.seal_id != segment.id).then_some(segment.seal_id),
        length: segment.length,
        profile: segment.profile,
        cipher: segment.cipher,
        compression: segment.compression,
        key_generation: segment.key_generation,
        block_packets: segment.block_packets,
    };
    row::encode(Table::Segment, &stored)
}

/// Segments of an owner from (part, number) on, in order.
pub(super) fn segments_of(
    connection: &Connection,
    owner: i64,
    version: VersionId,
    from: (u16, u32),
    limit: usize,
) -> Result<Vec<SegmentRow>, StateError> {
    let sql = format!(
        "{SEGMENT_COLUMNS} WHERE s.owner = ?1 AND (s.part, s.number) >= (?2, ?3) ORDER BY s.part, s.number LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((owner, from.0, from.1, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut segments = Vec::new();
    while let Some(row) = rows.next()? {
        let mut found = decode_segment(connection, row)?.row;
        found.owner.version = version;
        segments.push(found);
    }
    Ok(segments)
}

impl Writer {
    /// Checks the segments of a version or part before anything is written; returns how many there are.
    pub(super) fn check_segments(
        &self,
        version: VersionId,
        segments: &[(SegmentOwner, Segment)],
        size: u64,
        inline: bool,
    ) -> Result<u32, CommandError> {
        let wrong = |what: &str| refuse(ErrorCode::InvalidArgument, format!("segments: {what}"));
        if inline && !segments.is_empty() {
            return Err(wrong("a version has an inline body or segments, not both"));
        }
        let ordered = segments.windows(2).all(|pair| {
            let place = |(owner, _): &(SegmentOwner, Segment)| (owner.part, owner.number);
            place(&pair[0]) < place(&pair[1])
        });
        if !ordered || segments.iter().any(|(owner, _)| owner.version != version) {
            return Err(wrong("out of order, or of another version"));
        }
        let mut total = 0u64;
        for (_, segment) in segments {
            if segment.length == 0 || segment.length > SEGMENT_BYTES_MAX {
                return Err(wrong("a length of 0 or above the limit"));
            }
            if segment.drives.len() != segment.profile.total_chunks() {
                return Err(wrong("the drives do not fit the profile"));
            }
            total += segment.length;
            if self.is_reaped(segment.id)? {
                let detail =
                    format!("segment {} was reaped: the write took longer than its lease", segment.id);
                return Err(refuse(ErrorCode::Unavailable, detail));
            }
            if self.is_referenced(segment.id)? {
                return Err(refuse(ErrorCode::Conflict, format!("segment {} is in use", segment.id)));
            }
        }
        let ids: std::collections::BTreeSet<SegmentId> =
            segments.iter().map(|(_, segment)| segment.id).collect();
        if ids.len() != segments.len() {
            return Err(wrong("an id occurs twice"));
        }
        if !inline && total != size {
            return Err(wrong("their lengths do not add up to the size"));
        }
        u32::try_from(segments.len()).map_err(|_| wrong("too many"))
    }

    /// Writes rows that `check_segments` accepted.
    pub(super) fn insert_segments(
        &mut self,
        owner: i64,
        segments: &[(SegmentOwner, Segment)],
    ) -> Result<(), StateError> {
        let (mut part, mut part_offset) = (0, 0);
        for (position, segment) in segments {
            if position.part != part {
                (part, part_offset) = (position.part, 0);
            }
            let place = self.place(&segment.drives)?;
            let row = encode_segment(part_offset, segment);
            part_offset += segment.length;
            self.connection
                .prepare_cached(
                    "INSERT INTO segment (owner, part, number, id, place, incomplete, moved, row)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
                )?
                .execute((
                    owner,
                    position.part,
                    position.number,
                    segment.id.as_bytes(),
                    place,
                    segment.incomplete(),
                    row,
                ))?;
        }
        Ok(())
    }

    /// Moves segments of an owner (or of one of its parts) to garbage.
    pub(super) fn discard_segments(&mut self, owner: i64, part: Option<u16>) -> Result<(), StateError> {
        let (first, last) = part.map_or((0, u16::MAX), |part| (part, part));
        let doomed = {
            let sql = format!(
                "{SEGMENT_COLUMNS} WHERE s.owner = ?1 AND s.part BETWEEN ?2 AND ?3 ORDER BY s.part, s.number"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let mut rows = statement.query((owner, first, last))?;
            let mut doomed = Vec::new();
            while let Some(row) = rows.next()? {
                doomed.push(decode_segment(&self.connection, row)?.row.segment);
            }
            doomed
        };
        if doomed.is_empty() {
            return Ok(());
        }
        for segment in &doomed {
            self.insert_garbage(segment)?;
        }
        for sql in [
            "DELETE FROM moved WHERE owner = ?1 AND part BETWEEN ?2 AND ?3",
            "DELETE FROM segment WHERE owner = ?1 AND part BETWEEN ?2 AND ?3",
        ] {
            self.connection.prepare_cached(sql)?.execute((owner, first, last))?;
        }
        Ok(())
    }

    /// From now on its chunks are waste.
    pub(super) fn insert_garbage(&mut self, segment: &Segment) -> Result<(), StateError> {
        let (sequence, stamp) = (self.next_sequence()?, row::signed(self.applied.stamp.0)?);
        self.connection
            .prepare_cached("INSERT INTO garbage (sequence, stamp, id, row) VALUES (?1, ?2, ?3, ?4)")?
            .execute((sequence, stamp, segment.id.as_bytes(), row::encode(Table::Garbage, segment)))?;
        Ok(())
    }

    /// The row of a version's or an open upload's segment, with the number of its owner; `None` where there is none.
    pub(super) fn segment_at(
        &self,
        bucket: grid_types::BucketId,
        key: &str,
        position: SegmentOwner,
    ) -> Result<Option<FoundSegment>, StateError> {
        let Some(owner) = super::read::owner_of(&self.connection, bucket, key, position.version)? else {
            return Ok(None);
        };
        let sql = format!("{SEGMENT_COLUMNS} WHERE s.owner = ?1 AND s.part = ?2 AND s.number = ?3");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((owner, position.part, position.number))?;
        rows.next()?.map(|row| decode_segment(&self.connection, row)).transpose()
    }

    pub(super) fn relocate(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::Relocate { bucket, key, owner: position, segment, index, expected, new } = command
        else {
            unreachable!("dispatched by kind");
        };
        let changed = || refuse(ErrorCode::Conflict, format!("segment {segment} is not where it was"));
        let found = self.segment_at(*bucket, key.as_str(), *position)?.ok_or_else(changed)?;
        let owner = found.owner;
        let mut now = found.row.segment;
        let slot = now.drives.get_mut(usize::from(*index));
        if now.id != *segment || slot.as_deref().is_none_or(|drive| drive != expected) {
            return Err(changed());
        }
        if let Some(slot) = slot {
            *slot = *new;
        }
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO moved (owner, part, number, chunk, drive) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((owner, position.part, position.number, index, new.as_ref().map(DriveId::as_bytes)))?;
        self.connection
            .prepare_cached("UPDATE segment SET moved = 1, incomplete = ?4 WHERE owner = ?1 AND part = ?2 AND number = ?3")?
            .execute((owner, position.part, position.number, now.incomplete()))?;
        Ok(Outcome::Done)
    }

    pub(super) fn is_reaped(&self, id: SegmentId) -> Result<bool, StateError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM reaped WHERE id = ?1")?.exists([id.as_bytes()])?)
    }

    /// A row or an open upload names it, or it is garbage whose time has not come.
    pub(super) fn is_referenced(&self, id: SegmentId) -> Result<bool, StateError> {
        for sql in ["SELECT 1 FROM segment WHERE id = ?1", "SELECT 1 FROM garbage WHERE id = ?1"] {
            if self.connection.prepare_cached(sql)?.exists([id.as_bytes()])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn reap(&mut self, segments: &[SegmentId]) -> Result<Outcome, CommandError> {
        if segments.len() > REAP_MAX {
            return Err(refuse(ErrorCode::InvalidArgument, format!("at most {REAP_MAX} ids")));
        }
        let stamp = row::signed(self.applied.stamp.0)?;
        let mut dead = Vec::new();
        for id in segments {
            if !self.is_referenced(*id)? {
                self.connection
                    .prepare_cached("INSERT OR REPLACE INTO reaped (id, stamp) VALUES (?1, ?2)")?
                    .execute((id.as_bytes(), stamp))?;
                dead.push(*id);
            }
        }
        let kept = i64::try_from(REAPED_KEPT.as_micros()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("DELETE FROM reaped WHERE id IN (SELECT id FROM reaped WHERE stamp < ?1 ORDER BY stamp, id LIMIT ?2)")?
            .execute((stamp.saturating_sub(kept), REAPED_FORGOTTEN_MAX))?;
        Ok(Outcome::Reaped(dead))
    }

    pub(super) fn garbage_done(&mut self, sequences: &[u64]) -> Result<Outcome, CommandError> {
        for sequence in sequences {
            self.connection
                .prepare_cached("DELETE FROM garbage WHERE sequence = ?1")?
                .execute([row::signed(*sequence)?])?;
        }
        Ok(Outcome::Done)
    }
}

/// Where a segment id is referenced, if it is.
pub(super) fn segment_by_id(
    connection: &Connection,
    id: SegmentId,
) -> Result<Option<FoundSegment>, StateError> {
    let sql = format!("{SEGMENT_COLUMNS} WHERE s.id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id.as_bytes()])?;
    rows.next()?.map(|row| decode_segment(connection, row)).transpose()
}

/// The key that an owner belongs to.
pub(super) fn owner_row(
    connection: &Connection,
    owner: i64,
) -> Result<(grid_types::BucketId, grid_types::ObjectKey, VersionId), StateError> {
    let found: Option<(Vec<u8>, Vec<u8>, Vec<u8>)> = connection
        .prepare_cached("SELECT bucket, key, version FROM owner WHERE owner = ?1")?
        .query_row([owner], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (bucket, key, version) =
        found.ok_or_else(|| StateError::Damaged(format!("segments of owner {owner} without its row")))?;
    Ok((row::id16(&bucket)?.into(), super::read::object_key(&key)?, row::id16(&version)?.into()))
}

//! Re-coded segments: a page of those that should be, and the compare-and-set that puts one in its row.

use grid_types::{BucketId, ErrorCode, ObjectKey, Segment, VersionId};

use super::error::{CommandError, StateError, refuse};
use super::object::version_of;
use super::read::{Cursor, ReadView, position};
use super::row::{self, Table};
use super::segment::{SEGMENT_COLUMNS, decode_segment, encode_segment};
use super::writer::Writer;
use crate::query::{ClassedSegment, ClassedSegmentPage, SCAN_SEGMENTS_MAX};
use crate::rows::UploadRow;
use crate::{Command, Outcome};

impl Writer {
    pub(super) fn replace_segment(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::ReplaceSegment { bucket, key, owner: position, expected, new } = command else {
            unreachable!("dispatched by kind");
        };
        let conflict = |why: &str| refuse(ErrorCode::Conflict, format!("segment {expected}: {why}"));
        let found = self.segment_at(*bucket, key.as_str(), *position)?;
        let found = found.filter(|found| found.row.segment.id == *expected);
        let found = found.ok_or_else(|| conflict("its row names it no more"))?;
        let old = &found.row.segment;
        if !is_recoded(old, new) {
            let detail = format!("segment {} is not segment {expected} in another code", new.id);
            return Err(refuse(ErrorCode::InvalidArgument, detail));
        }
        if self.is_reaped(new.id)? {
            return Err(conflict("its successor was reaped"));
        }
        if self.is_referenced(new.id)? {
            return Err(conflict("its successor is in use already"));
        }
        self.insert_garbage(old)?;
        let at = (found.owner, position.part, position.number);
        self.connection
            .prepare_cached("DELETE FROM moved WHERE owner = ?1 AND part = ?2 AND number = ?3")?
            .execute(at)?;
        let place = self.place(&new.drives)?;
        self.connection
            .prepare_cached(
                "UPDATE segment SET id = ?4, place = ?5, incomplete = ?6, moved = 0, row = ?7
                 WHERE owner = ?1 AND part = ?2 AND number = ?3",
            )?
            .execute((
                at.0,
                at.1,
                at.2,
                new.id.as_bytes(),
                place,
                new.incomplete(),
                encode_segment(found.row.part_offset, new),
            ))?;
        Ok(Outcome::Done)
    }
}

/// The same ciphertext, in enough chunks to be read.
fn is_recoded(old: &Segment, new: &Segment) -> bool {
    let sealed = |segment: &Segment| {
        let Segment { seal_id, length, cipher, compression, key_generation, .. } = segment;
        (*seal_id, *length, *cipher, *compression, *key_generation)
    };
    sealed(old) == sealed(new)
        && new.id != old.id
        && new.block_packets > 0
        && new.profile.data_chunks() > 0
        && new.drives.len() == new.profile.total_chunks()
        && new.drives.iter().flatten().count() >= new.profile.data_chunks()
}

impl ReadView<'_> {
    /// Looks at up to `SCAN_SEGMENTS_MAX` segments and gives those that `wanted` takes, at most `limit`. A page may be
    /// empty although more follow.
    pub(crate) fn segments_that(
        &self,
        wanted: &dyn Fn(&Segment) -> bool,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<ClassedSegmentPage, CommandError> {
        let range = self.range()?;
        let mut at = Cursor::decode(cursor)?;
        let sql = format!(
            "{SEGMENT_COLUMNS} WHERE (s.owner, s.part, s.number) > (?1, ?2, ?3)
             ORDER BY s.owner, s.part, s.number LIMIT ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let scanned = i64::try_from(SCAN_SEGMENTS_MAX).unwrap_or(i64::MAX);
        let mut rows = statement.query((at.owner, at.part, at.number, scanned))?;
        let (mut page, mut seen) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if page.len() >= limit {
                return Ok((page, Some(at.encode())));
            }
            let found = decode_segment(self.connection, row)?;
            seen += 1;
            at = position(&found);
            if !wanted(&found.row.segment) {
                continue;
            }
            if let Some((bucket, key, row)) = self.with_key(&range, found)? {
                let storage_class = self.storage_class(bucket, &key, row.owner.version)?;
                page.push(ClassedSegment { bucket, key, row, storage_class });
            }
        }
        Ok((page, (seen >= SCAN_SEGMENTS_MAX).then(|| at.encode())))
    }

    /// Of a version, or of the open upload that will become it.
    fn storage_class(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<String, StateError> {
        if let Some(found) = version_of(self.connection, bucket, key.as_str(), version)? {
            return Ok(found.stored.row.storage_class);
        }
        let mut statement =
            self.connection.prepare_cached("SELECT row FROM upload WHERE bucket = ?1 AND key = ?2")?;
        let mut rows = statement.query((bucket.as_bytes(), key.as_str().as_bytes()))?;
        while let Some(row) = rows.next()? {
            let upload: UploadRow =
                row::decode(Table::Upload, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?;
            if upload.version == version {
                return Ok(upload.storage_class);
            }
        }
        Err(StateError::Damaged("segments of neither a version nor an upload".to_owned()))
    }
}

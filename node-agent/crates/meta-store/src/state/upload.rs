//! Multipart uploads.

use grid_types::{BucketId, ErrorCode, PART_COUNT_MAX, UploadId};
use rusqlite::{Connection, OptionalExtension};

use super::error::{CommandError, StateError, refuse};
use super::object::{StoredVersion, check_condition, completed_from, newest};
use super::row::{self, Table};
use super::writer::Writer;
use crate::rows::{PartRow, UploadRow};
use crate::{Command, Outcome};

pub(super) fn upload_of(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    upload: UploadId,
) -> Result<Option<(i64, UploadRow)>, StateError> {
    let found: Option<(i64, Vec<u8>)> = connection
        .prepare_cached("SELECT owner, row FROM upload WHERE bucket = ?1 AND key = ?2 AND upload = ?3")?
        .query_row((bucket.as_bytes(), key.as_bytes(), upload.as_bytes()), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    found.map(|(owner, bytes)| Ok((owner, row::decode(Table::Upload, &bytes)?))).transpose()
}

/// Parts of an owner after number `after`, in order.
pub(super) fn parts_of(
    connection: &Connection,
    owner: i64,
    after: u16,
    limit: usize,
) -> Result<Vec<PartRow>, StateError> {
    let mut statement = connection
        .prepare_cached("SELECT row FROM part WHERE owner = ?1 AND number > ?2 ORDER BY number LIMIT ?3")?;
    let mut rows = statement.query((owner, after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        parts.push(row::decode(Table::Part, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?);
    }
    Ok(parts)
}

/// What a Complete will make of the parts that are there.
struct Plan {
    /// The named parts, with their offsets set.
    kept: Vec<PartRow>,
    dropped: Vec<u16>,
    size: u64,
    segments: u32,
}

fn plan(named: &[(u16, String)], there: Vec<PartRow>, part_bytes_min: u64) -> Result<Plan, CommandError> {
    if named.is_empty() {
        return Err(refuse(ErrorCode::InvalidArgument, "no part is named"));
    }
    if named.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(refuse(ErrorCode::InvalidPartOrder, "part numbers must ascend"));
    }
    let mut plan = Plan { kept: Vec::with_capacity(named.len()), dropped: Vec::new(), size: 0, segments: 0 };
    let mut there = there.into_iter().peekable();
    for (number, etag) in named {
        while let Some(part) = there.next_if(|part| part.number < *number) {
            plan.dropped.push(part.number);
        }
        let Some(mut part) = there.next_if(|part| part.number == *number) else {
            return Err(refuse(ErrorCode::InvalidPart, format!("part {number} was not uploaded")));
        };
        if part.etag != *etag {
            return Err(refuse(ErrorCode::InvalidPart, format!("part {number} has another ETag")));
        }
        part.offset = plan.size;
        plan.size += part.size;
        plan.segments += part.segment_count;
        plan.kept.push(part);
    }
    plan.dropped.extend(there.map(|part| part.number));
    let (_, all_but_last) = plan.kept.split_last().expect("some part is named");
    if let Some(part) = all_but_last.iter().find(|part| part.size < part_bytes_min) {
        let detail = format!("part {} has {} bytes; {part_bytes_min} are the least", part.number, part.size);
        return Err(refuse(ErrorCode::PartTooSmall, detail));
    }
    Ok(plan)
}

impl Writer {
    pub(super) fn create_upload(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::CreateUpload { bucket, key, bucket_generation, upload } = command else {
            unreachable!("dispatched by kind");
        };
        self.open_stub(*bucket, Some(*bucket_generation))?;
        if upload_of(&self.connection, *bucket, key.as_str(), upload.upload)?.is_some() {
            return Err(refuse(ErrorCode::Conflict, "the upload id is taken"));
        }
        let owner = self.next_sequence()?;
        let row = UploadRow { stamp: self.applied.stamp, ..upload.clone() };
        self.insert_owner(owner, *bucket, key, row.version)?;
        self.connection
            .prepare_cached(
                "INSERT INTO upload (bucket, key, upload, owner, row) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((
                bucket.as_bytes(),
                key.as_str().as_bytes(),
                row.upload.as_bytes(),
                owner,
                row::encode(Table::Upload, &row),
            ))?;
        self.change_stub(*bucket, |stub| stub.uploads += 1)?;
        Ok(Outcome::Done)
    }

    pub(super) fn put_part(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::PutPart { bucket, key, upload, part, segments } = command else {
            unreachable!("dispatched by kind");
        };
        self.open_stub(*bucket, None)?;
        let Some((owner, row)) = upload_of(&self.connection, *bucket, key.as_str(), *upload)? else {
            return Err(refuse(ErrorCode::NoSuchUpload, format!("upload {upload}")));
        };
        if !(1..=PART_COUNT_MAX).contains(&part.number) {
            return Err(refuse(ErrorCode::InvalidArgument, format!("part number {}", part.number)));
        }
        if segments.iter().any(|(segment, _)| segment.part != part.number) {
            return Err(refuse(ErrorCode::InvalidArgument, "segments of another part"));
        }
        let count = self.check_segments(row.version, segments, part.size, false)?;
        self.discard_segments(owner, Some(part.number))?;
        let stored = PartRow { offset: 0, stamp: self.applied.stamp, segment_count: count, ..part.clone() };
        self.insert_segments(owner, segments)?;
        self.write_part(owner, &stored)?;
        Ok(Outcome::PartWritten { stamp: stored.stamp })
    }

    fn write_part(&self, owner: i64, part: &PartRow) -> Result<(), StateError> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO part (owner, number, row) VALUES (?1, ?2, ?3)")?
            .execute((owner, part.number, row::encode(Table::Part, part)))?;
        Ok(())
    }

    pub(super) fn complete_upload(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::CompleteUpload {
            bucket,
            key,
            bucket_generation,
            upload,
            parts,
            version,
            condition,
            part_bytes_min,
        } = command
        else {
            unreachable!("dispatched by kind");
        };
        let Some((owner, open)) = upload_of(&self.connection, *bucket, key.as_str(), *upload)? else {
            // A client that lost our answer asks again.
            return match completed_from(&self.connection, *bucket, key.as_str(), *upload)? {
                Some(found) => Ok(Outcome::Written { version: found.stored.row }),
                None => Err(refuse(ErrorCode::NoSuchUpload, format!("upload {upload}"))),
            };
        };
        self.open_stub(*bucket, Some(*bucket_generation))?;
        if version.version != open.version {
            return Err(refuse(ErrorCode::InvalidArgument, "the version is not the upload's"));
        }
        let there = parts_of(&self.connection, owner, 0, usize::from(PART_COUNT_MAX))?;
        let plan = plan(parts, there, *part_bytes_min)?;
        let newest = newest(&self.connection, *bucket, key.as_str())?;
        check_condition(condition, newest.as_ref())?;

        for number in &plan.dropped {
            self.discard_segments(owner, Some(*number))?;
            self.connection
                .prepare_cached("DELETE FROM part WHERE owner = ?1 AND number = ?2")?
                .execute((owner, number))?;
        }
        for part in &plan.kept {
            self.write_part(owner, part)?;
        }
        if let Some(old) = newest {
            self.remove_version(*bucket, key, &old)?;
        }
        self.delete_upload(*bucket, key.as_str(), *upload)?;
        let mut row = version.clone();
        row.stamp = self.applied.stamp;
        row.size = plan.size;
        row.segment_count = plan.segments;
        row.part_count = u16::try_from(plan.kept.len()).unwrap_or(PART_COUNT_MAX);
        let sequence = self.next_sequence()?;
        let stored = StoredVersion { row, inline: false, upload: Some(*upload) };
        self.insert_version(*bucket, key, sequence, owner, &stored)?;
        Ok(Outcome::Written { version: stored.row })
    }

    pub(super) fn abort_upload(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::AbortUpload { bucket, key, upload } = command else {
            unreachable!("dispatched by kind");
        };
        let Some((owner, _)) = upload_of(&self.connection, *bucket, key.as_str(), *upload)? else {
            return Err(refuse(ErrorCode::NoSuchUpload, format!("upload {upload}")));
        };
        self.discard_owner(owner)?;
        self.delete_upload(*bucket, key.as_str(), *upload)?;
        Ok(Outcome::Done)
    }

    fn delete_upload(&mut self, bucket: BucketId, key: &str, upload: UploadId) -> Result<(), StateError> {
        self.connection
            .prepare_cached("DELETE FROM upload WHERE bucket = ?1 AND key = ?2 AND upload = ?3")?
            .execute((bucket.as_bytes(), key.as_bytes(), upload.as_bytes()))?;
        self.change_stub(bucket, |stub| stub.uploads = stub.uploads.saturating_sub(1))
    }
}

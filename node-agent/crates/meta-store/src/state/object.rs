//! Versions of objects: put, delete, attributes.

use grid_types::{BucketId, ErrorCode, ObjectKey, UploadId, VersionId};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::error::{CommandError, StateError, refuse};
use super::row::{self, Table};
use super::writer::Writer;
use crate::rows::VersionRow;
use crate::{Command, Outcome, WriteCondition};

/// A version as its row stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredVersion {
    pub row: VersionRow,
    /// The body lies in `body`.
    pub inline: bool,
    /// The upload that became this version, so that a repeated Complete is answered.
    pub upload: Option<UploadId>,
}

/// A version with its place in the tables.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub age: i64,
    pub owner: i64,
    pub stored: StoredVersion,
}

/// Versions of a key, newest first, until `pick` takes one.
fn scan_versions(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    mut pick: impl FnMut(&Found) -> bool,
) -> Result<Option<Found>, StateError> {
    let mut statement = connection
        .prepare_cached("SELECT age, owner, row FROM object WHERE bucket = ?1 AND key = ?2 ORDER BY age")?;
    let mut rows = statement.query((bucket.as_bytes(), key.as_bytes()))?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let found =
            Found { age: row.get(0)?, owner: row.get(1)?, stored: row::decode(Table::Object, bytes)? };
        if pick(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The newest version, be it a delete marker.
pub(super) fn newest(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
) -> Result<Option<Found>, StateError> {
    scan_versions(connection, bucket, key, |_| true)
}

/// The version with this id.
pub(super) fn version_of(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    version: VersionId,
) -> Result<Option<Found>, StateError> {
    scan_versions(connection, bucket, key, |found| found.stored.row.version == version)
}

/// The version that this upload became.
pub(super) fn completed_from(
    connection: &Connection,
    bucket: BucketId,
    key: &str,
    upload: UploadId,
) -> Result<Option<Found>, StateError> {
    scan_versions(connection, bucket, key, |found| found.stored.upload == Some(upload))
}

/// Does the condition hold for what is there now?
pub(super) fn check_condition(
    condition: &WriteCondition,
    newest: Option<&Found>,
) -> Result<(), CommandError> {
    let current = newest.filter(|found| !found.stored.row.delete_marker);
    match (condition, current) {
        (WriteCondition::None, _) | (WriteCondition::Absent, None) => Ok(()),
        (WriteCondition::Absent, Some(_)) => Err(refuse(ErrorCode::PreconditionFailed, "the key exists")),
        (WriteCondition::ETag(_), None) => Err(refuse(ErrorCode::NoSuchKey, "no current version to match")),
        (WriteCondition::ETag(etag), Some(found)) => {
            if etag == "*" || *etag == found.stored.row.etag {
                Ok(())
            } else {
                Err(refuse(ErrorCode::PreconditionFailed, "the ETag differs"))
            }
        }
    }
}

impl Writer {
    pub(super) fn put_version(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::PutVersion { bucket, key, bucket_generation, version, inline, segments, condition } =
            command
        else {
            unreachable!("dispatched by kind");
        };
        self.open_stub(*bucket, Some(*bucket_generation))?;
        let newest = newest(&self.connection, *bucket, key.as_str())?;
        check_condition(condition, newest.as_ref())?;
        let count = self.check_segments(version.version, segments, version.size, inline.is_some())?;
        // Buckets are not versioned yet: the version that is there is the null version, and is replaced.
        if let Some(old) = newest {
            self.remove_version(*bucket, key, &old)?;
        }
        let mut row = version.clone();
        row.stamp = self.applied.stamp;
        row.segment_count = count;
        let owner = self.next_sequence()?;
        if let Some(body) = inline {
            self.connection
                .prepare_cached("INSERT INTO body (owner, data) VALUES (?1, ?2)")?
                .execute((owner, row::encode_body(body)))?;
        }
        if !segments.is_empty() {
            self.insert_owner(owner, *bucket, key, row.version)?;
            self.insert_segments(owner, segments)?;
        }
        let stored = StoredVersion { row, inline: inline.is_some(), upload: None };
        self.insert_version(*bucket, key, owner, owner, &stored)?;
        Ok(Outcome::Written { version: stored.row })
    }

    pub(super) fn restore_version(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::RestoreVersion { bucket, key, version, segments } = command else {
            unreachable!("dispatched by kind");
        };
        self.open_stub(*bucket, None)?;
        let newest = newest(&self.connection, *bucket, key.as_str())?;
        if newest.as_ref().is_some_and(|found| found.stored.row.stamp >= version.stamp) {
            return Ok(Outcome::Done);
        }
        let count = self.check_segments(version.version, segments, version.size, false)?;
        if let Some(old) = newest {
            self.remove_version(*bucket, key, &old)?;
        }
        let row = VersionRow { segment_count: count, ..version.clone() };
        let owner = self.next_sequence()?;
        self.insert_owner(owner, *bucket, key, row.version)?;
        self.insert_segments(owner, segments)?;
        let stored = StoredVersion { row, inline: false, upload: None };
        self.insert_version(*bucket, key, owner, owner, &stored)?;
        Ok(Outcome::Written { version: stored.row })
    }

    pub(super) fn delete_version(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::DeleteVersion { bucket, key, bucket_generation, version, condition } = command else {
            unreachable!("dispatched by kind");
        };
        self.open_stub(*bucket, Some(*bucket_generation))?;
        let found = match version {
            None => newest(&self.connection, *bucket, key.as_str())?,
            Some(version) => version_of(&self.connection, *bucket, key.as_str(), *version)?,
        };
        check_condition(condition, found.as_ref())?;
        if let Some(found) = &found {
            self.remove_version(*bucket, key, found)?;
        }
        Ok(Outcome::Deleted { version: found.map(|found| found.stored.row.version) })
    }

    pub(super) fn set_attributes(&mut self, command: &Command) -> Result<Outcome, CommandError> {
        let Command::SetAttributes { bucket, key, version, expected, attributes } = command else {
            unreachable!("dispatched by kind");
        };
        self.open_stub(*bucket, None)?;
        let Some(mut found) = version_of(&self.connection, *bucket, key.as_str(), *version)? else {
            return Err(refuse(ErrorCode::NoSuchKey, format!("version {version}")));
        };
        if found.stored.row.attributes != *expected {
            return Err(refuse(ErrorCode::Conflict, "the attributes changed since they were read"));
        }
        found.stored.row.attributes.clone_from(attributes);
        self.connection
            .prepare_cached("UPDATE object SET row = ?4 WHERE bucket = ?1 AND key = ?2 AND age = ?3")?
            .execute((
                bucket.as_bytes(),
                key.as_str().as_bytes(),
                found.age,
                row::encode(Table::Object, &found.stored),
            ))?;
        Ok(Outcome::Done)
    }

    /// Writes a version's row under sequence `sequence` and counts it.
    pub(super) fn insert_version(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        sequence: i64,
        owner: i64,
        stored: &StoredVersion,
    ) -> Result<(), StateError> {
        self.connection
            .prepare_cached("INSERT INTO object (bucket, key, age, owner, row) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((
                bucket.as_bytes(),
                key.as_str().as_bytes(),
                i64::MAX - sequence,
                owner,
                row::encode(Table::Object, stored),
            ))?;
        self.change_stub(bucket, |stub| {
            stub.objects += 1;
            stub.bytes += stored.row.size;
        })
    }

    /// Removes a version: its row, body and parts; its segments become garbage.
    pub(super) fn remove_version(
        &mut self,
        bucket: BucketId,
        key: &ObjectKey,
        found: &Found,
    ) -> Result<(), StateError> {
        self.connection
            .prepare_cached("DELETE FROM object WHERE bucket = ?1 AND key = ?2 AND age = ?3")?
            .execute((bucket.as_bytes(), key.as_str().as_bytes(), found.age))?;
        if found.stored.inline {
            self.connection.prepare_cached("DELETE FROM body WHERE owner = ?1")?.execute([found.owner])?;
        }
        if found.stored.upload.is_some() || found.stored.row.segment_count > 0 {
            self.discard_owner(found.owner)?;
        }
        let size = found.stored.row.size;
        self.change_stub(bucket, |stub| {
            stub.objects = stub.objects.saturating_sub(1);
            stub.bytes = stub.bytes.saturating_sub(size);
        })
    }

    pub(super) fn insert_owner(
        &self,
        owner: i64,
        bucket: BucketId,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<(), StateError> {
        self.connection
            .prepare_cached("INSERT INTO owner (owner, bucket, key, version) VALUES (?1, ?2, ?3, ?4)")?
            .execute((owner, bucket.as_bytes(), key.as_str().as_bytes(), version.as_bytes()))?;
        Ok(())
    }

    /// Segments to garbage; parts and the owner's row go.
    pub(super) fn discard_owner(&mut self, owner: i64) -> Result<(), StateError> {
        self.discard_segments(owner, None)?;
        self.connection.prepare_cached("DELETE FROM part WHERE owner = ?1")?.execute([owner])?;
        self.connection.prepare_cached("DELETE FROM owner WHERE owner = ?1")?.execute([owner])?;
        Ok(())
    }
}

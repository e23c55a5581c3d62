//! Tables of a shard's file, and how a connection is set up.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::error::StateError;

/// Version of the tables below, kept in `PRAGMA user_version`.
pub(super) const FORMAT_VERSION: i64 = 1;
/// "SHLM": marks our files among other SQLite files.
pub(super) const APPLICATION_ID: i64 = 0x5348_4c4d;
/// 3.53: older ones can corrupt a file when a checkpoint meets a writer that wraps the WAL.
const SQLITE_VERSION_MIN: i32 = 3_053_000;
/// Statements that a connection keeps prepared; there are about 70 in all.
const STATEMENTS_MAX: usize = 96;

/// A build that linked the system's SQLite by accident is refused at start.
pub(crate) fn sqlite_version_is_safe() -> Result<(), String> {
    let version = rusqlite::version_number();
    if version >= SQLITE_VERSION_MIN {
        Ok(())
    } else {
        Err(format!("SQLite {} is linked; at least 3.53 is needed", rusqlite::version()))
    }
}

/// `age` = i64::MAX − sequence, so that newer versions of a key come first. `owner` is the sequence number under which
/// body, segments and parts of one version (or open upload) are kept: completing an upload moves none of them.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE object (bucket BLOB NOT NULL, key BLOB NOT NULL, age INTEGER NOT NULL, owner INTEGER NOT NULL,
    row BLOB NOT NULL, PRIMARY KEY (bucket, key, age)) WITHOUT ROWID;
CREATE TABLE body (owner INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE owner (owner INTEGER PRIMARY KEY, bucket BLOB NOT NULL, key BLOB NOT NULL, version BLOB NOT NULL);
CREATE TABLE segment (owner INTEGER NOT NULL, part INTEGER NOT NULL, number INTEGER NOT NULL, id BLOB NOT NULL,
    place INTEGER NOT NULL, incomplete INTEGER NOT NULL, moved INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (owner, part, number)) WITHOUT ROWID;
CREATE UNIQUE INDEX segment_id ON segment (id);
CREATE INDEX segment_place ON segment (place);
CREATE INDEX segment_incomplete ON segment (owner, part, number) WHERE incomplete = 1;
CREATE TABLE moved (owner INTEGER NOT NULL, part INTEGER NOT NULL, number INTEGER NOT NULL, chunk INTEGER NOT NULL,
    drive BLOB, PRIMARY KEY (owner, part, number, chunk)) WITHOUT ROWID;
CREATE INDEX moved_drive ON moved (drive, owner, part, number) WHERE drive IS NOT NULL;
CREATE TABLE place (id INTEGER PRIMARY KEY, drives BLOB NOT NULL UNIQUE);
CREATE TABLE place_drive (drive BLOB NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (drive, place)) WITHOUT ROWID;
CREATE TABLE part (owner INTEGER NOT NULL, number INTEGER NOT NULL, row BLOB NOT NULL,
    PRIMARY KEY (owner, number)) WITHOUT ROWID;
CREATE TABLE upload (bucket BLOB NOT NULL, key BLOB NOT NULL, upload BLOB NOT NULL, owner INTEGER NOT NULL,
    row BLOB NOT NULL, PRIMARY KEY (bucket, key, upload)) WITHOUT ROWID;
CREATE TABLE bucket (id BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE garbage (sequence INTEGER PRIMARY KEY, stamp INTEGER NOT NULL, id BLOB NOT NULL, row BLOB NOT NULL);
CREATE INDEX garbage_id ON garbage (id);
CREATE TABLE reaped (id BLOB PRIMARY KEY, stamp INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX reaped_stamp ON reaped (stamp);
CREATE TABLE operation (sequence INTEGER PRIMARY KEY, id BLOB NOT NULL, stamp INTEGER NOT NULL, row BLOB NOT NULL);
CREATE UNIQUE INDEX operation_id ON operation (id);
CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, bucket BLOB NOT NULL, key BLOB NOT NULL, stamp INTEGER NOT NULL,
    row BLOB NOT NULL);
CREATE TABLE record (kind INTEGER NOT NULL, key BLOB NOT NULL, generation INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (kind, key)) WITHOUT ROWID;
";

/// What is set on every connection.
pub(super) fn configure(connection: &Connection, cache_bytes: u64) -> Result<(), StateError> {
    let pragmas = format!(
        "PRAGMA busy_timeout = 5000; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = NORMAL;
         PRAGMA foreign_keys = OFF; PRAGMA cache_size = -{};",
        cache_bytes / 1024
    );
    connection
        .execute_batch(&pragmas)
        .map_err(|source| StateError::Sqlite { operation: "set up a connection", source })?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Plans never look at bound values. Without this promise SQLite throws a plan away whenever the value that it might
    // have looked at is bound anew: every read of a row compiled its two statements again.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(|source| StateError::Sqlite { operation: "set up a connection", source })?;
    Ok(())
}

/// Makes the tables in an empty file.
pub(super) fn create(connection: &Connection) -> Result<(), StateError> {
    let script = format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT_VERSION}; PRAGMA application_id = {APPLICATION_ID};
         COMMIT;"
    );
    connection
        .execute_batch(&script)
        .map_err(|source| StateError::Sqlite { operation: "create the tables", source })
}

/// Is this a file of ours that this release understands?
pub(super) fn verify(connection: &Connection) -> Result<(), StateError> {
    let pragma = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|source| StateError::Sqlite { operation: "read the file's header", source })
    };
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION_ID {
        return Err(StateError::Damaged(format!("application id {application:#x} is not ours")));
    }
    if version != FORMAT_VERSION {
        return Err(StateError::Damaged(format!(
            "format version {version}; this release knows {FORMAT_VERSION}: run the release that wrote it"
        )));
    }
    Ok(())
}

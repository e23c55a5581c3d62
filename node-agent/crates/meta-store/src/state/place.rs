//! Placement sets: an ordered list of drives is stored once, segments name it by number.

use grid_types::DriveId;
use rusqlite::OptionalExtension;

use super::error::StateError;
use super::row::{self, Table};
use super::writer::Writer;

/// Sets whose number the writer remembers: 1,024 × about 100 bytes.
const PLACES_CACHED_MAX: usize = 1_024;

pub(super) fn decode_place(bytes: &[u8]) -> Result<Vec<Option<DriveId>>, StateError> {
    row::decode(Table::Place, bytes)
}

impl Writer {
    /// The number of this list; a new list gets the next one.
    pub(super) fn place(&mut self, drives: &[Option<DriveId>]) -> Result<i64, StateError> {
        let bytes = row::encode(Table::Place, &drives);
        if let Some(id) = self.places.get(&bytes) {
            return Ok(*id);
        }
        let known: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM place WHERE drives = ?1")?
            .query_row([&bytes], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                // Rows are never deleted, so that SQLite's max + 1 is the same on every replica.
                self.connection
                    .prepare_cached("INSERT INTO place (drives) VALUES (?1)")?
                    .execute([&bytes])?;
                let id = self.connection.last_insert_rowid();
                for drive in drives.iter().flatten() {
                    self.connection
                        .prepare_cached("INSERT OR IGNORE INTO place_drive (drive, place) VALUES (?1, ?2)")?
                        .execute((drive.as_bytes(), id))?;
                }
                id
            }
        };
        if self.places.len() >= PLACES_CACHED_MAX {
            self.places.clear();
        }
        self.places.insert(bytes, id);
        Ok(id)
    }
}

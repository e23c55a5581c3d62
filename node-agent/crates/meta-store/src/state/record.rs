//! Records of the root shard.

use grid_types::ErrorCode;
use rusqlite::{Connection, OptionalExtension};

use super::error::{CommandError, StateError, refuse};
use super::proposal::Answer;
use super::row::{self, Table};
use super::writer::Writer;
use crate::root::{Expect, Record, RecordKind, RecordWrite};

pub(super) fn record(
    connection: &Connection,
    kind: RecordKind,
    key: &[u8],
) -> Result<Option<Record>, StateError> {
    let found: Option<(i64, Vec<u8>)> = connection
        .prepare_cached("SELECT generation, value FROM record WHERE kind = ?1 AND key = ?2")?
        .query_row((kind as u8, key), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.map(|(generation, value)| decode_record(key.to_vec(), generation, &value)).transpose()
}

pub(super) fn records(
    connection: &Connection,
    kind: RecordKind,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Record>, StateError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT key, generation, value FROM record WHERE kind = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3",
    )?;
    let mut rows = statement.query((kind as u8, after, limit))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode_record(
            row.get(0)?,
            row.get(1)?,
            row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?,
        )?);
    }
    Ok(found)
}

fn decode_record(key: Vec<u8>, generation: i64, value: &[u8]) -> Result<Record, StateError> {
    Ok(Record { key, generation: row::unsigned(generation)?, value: row::decode(Table::Record, value)? })
}

impl Writer {
    /// All or none: every condition is checked before the first write.
    pub(super) fn write_records(&mut self, writes: &[RecordWrite]) -> Result<Answer, CommandError> {
        let mut generations = Vec::with_capacity(writes.len());
        for write in writes {
            let found = record(&self.connection, write.kind, &write.key)?.map(|record| record.generation);
            let holds = match write.expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Generation(generation) => found == Some(generation),
            };
            if !holds {
                let detail = format!("{:?} record: expected {:?}, found {found:?}", write.kind, write.expect);
                return Err(refuse(ErrorCode::Conflict, detail));
            }
            generations.push(found.unwrap_or(0) + 1);
        }
        for (write, generation) in writes.iter().zip(generations) {
            match &write.value {
                Some(value) => self
                    .connection
                    .prepare_cached("INSERT OR REPLACE INTO record (kind, key, generation, value) VALUES (?1, ?2, ?3, ?4)")?
                    .execute((write.kind as u8, &write.key, row::signed(generation)?, row::encode(Table::Record, value)))?,
                None => self
                    .connection
                    .prepare_cached("DELETE FROM record WHERE kind = ?1 AND key = ?2")?
                    .execute((write.kind as u8, &write.key))?,
            };
        }
        Ok(Answer::Done)
    }
}

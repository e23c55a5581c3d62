//! Op id → result: a repeat of a command is answered, not executed.

use grid_types::{OpId, Timestamp};
use rusqlite::OptionalExtension;

use super::error::StateError;
use super::proposal::{Action, Answer, Proposal};
use super::row::{self, Table};
use super::writer::Writer;
use crate::{Command, Outcome};

/// The table is pruned at every so many operations, so that pruning costs little and depends on entries alone.
const PRUNE_EVERY: u64 = 64;
/// ... by at most so many: more than come in between, so that the table shrinks where limits were lowered.
const PRUNE_MAX: i64 = 128;

impl Writer {
    pub(super) fn remembered(&self, proposal: &Proposal) -> Result<Option<Answer>, StateError> {
        let bytes: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT row FROM operation WHERE id = ?1")?
            .query_row([proposal.op.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let mut answer: Answer = row::decode(Table::Operation, &bytes)?;
        // The table keeps no attributes; the repeated command brings them along.
        if let (
            Answer::Object(Outcome::Written { version: stored }),
            Action::Object(Command::PutVersion { version, .. } | Command::CompleteUpload { version, .. }),
        ) = (&mut answer, &proposal.action)
        {
            stored.attributes.clone_from(&version.attributes);
        }
        Ok(Some(answer))
    }

    pub(super) fn remember(&mut self, op: OpId, answer: &Answer) -> Result<(), StateError> {
        let bytes = match answer {
            Answer::Object(Outcome::Written { version }) => {
                let mut version = version.clone();
                version.attributes.clear();
                row::encode(Table::Operation, &Answer::Object(Outcome::Written { version }))
            }
            other => row::encode(Table::Operation, other),
        };
        self.applied.operation += 1;
        let number = self.applied.operation;
        self.connection
            .prepare_cached("INSERT INTO operation (sequence, id, stamp, row) VALUES (?1, ?2, ?3, ?4)")?
            .execute((row::signed(number)?, op.as_bytes(), row::signed(self.applied.stamp.0)?, bytes))?;
        if number.is_multiple_of(PRUNE_EVERY) {
            self.prune(number)?;
        }
        Ok(())
    }

    fn prune(&mut self, number: u64) -> Result<(), StateError> {
        let last_prunable = row::signed(number.saturating_sub(self.limits.op_ids_min))?;
        let before = row::signed(self.applied.stamp.0.saturating_sub(self.limits.op_id_micros))?;
        let forgotten: Option<(i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT max(sequence), max(stamp) FROM (SELECT sequence, stamp FROM operation
                 WHERE sequence <= ?1 AND stamp < ?2 ORDER BY sequence LIMIT ?3)",
            )?
            .query_row((last_prunable, before, PRUNE_MAX), |row| {
                Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
            })?;
        if let Some((sequence, stamp)) = forgotten {
            self.connection
                .prepare_cached("DELETE FROM operation WHERE sequence <= ?1")?
                .execute([sequence])?;
            self.applied.op_horizon = self.applied.op_horizon.max(Timestamp(row::unsigned(stamp)?));
        }
        Ok(())
    }
}

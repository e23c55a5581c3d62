//! Bucket stubs: what a shard must know of a bucket to accept a write, and the bucket's usage in this shard.

use grid_types::{BucketId, ErrorCode};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::error::{CommandError, StateError, refuse};
use super::proposal::{Answer, StubCommand};
use super::row::{self, Table};
use super::writer::Writer;

/// Where a bucket stands in this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StubState {
    Open,
    /// Being deleted: no writes.
    Closing,
}

/// One bucket in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stub {
    /// Generation of the settings that change what a write does.
    pub generation: u64,
    pub state: StubState,
    /// Versions, current and older.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
}

pub(super) fn stub_of(connection: &Connection, bucket: BucketId) -> Result<Option<Stub>, StateError> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT row FROM bucket WHERE id = ?1")?
        .query_row([bucket.as_bytes()], |row| row.get(0))
        .optional()?;
    bytes.map(|bytes| row::decode(Table::Bucket, &bytes)).transpose()
}

impl Writer {
    /// The stub, from this transaction's changes or from the file.
    pub(super) fn stub(&mut self, bucket: BucketId) -> Result<Option<Stub>, StateError> {
        if let Some(stub) = self.stubs.get(&bucket) {
            return Ok(*stub);
        }
        let stub = stub_of(&self.connection, bucket)?;
        self.stubs.insert(bucket, stub);
        Ok(stub)
    }

    /// The stub of a bucket that takes writes; checks the generation where the command carries one.
    pub(super) fn open_stub(
        &mut self,
        bucket: BucketId,
        generation: Option<u64>,
    ) -> Result<Stub, CommandError> {
        let Some(stub) = self.stub(bucket)? else {
            return Err(refuse(ErrorCode::NoSuchBucket, format!("bucket {bucket}")));
        };
        if stub.state == StubState::Closing {
            return Err(refuse(ErrorCode::Unavailable, format!("bucket {bucket} is being deleted")));
        }
        match generation {
            Some(generation) if generation != stub.generation => {
                let detail = format!("bucket generation {generation}, the shard has {}", stub.generation);
                Err(refuse(ErrorCode::StaleGeneration, detail))
            }
            _ => Ok(stub),
        }
    }

    /// Changes a stub; written to the file at the end of the transaction.
    pub(super) fn change_stub(
        &mut self,
        bucket: BucketId,
        change: impl FnOnce(&mut Stub),
    ) -> Result<(), StateError> {
        let Some(mut stub) = self.stub(bucket)? else {
            return Err(StateError::Damaged(format!("rows of bucket {bucket} without its stub")));
        };
        change(&mut stub);
        self.stubs.insert(bucket, Some(stub));
        self.stubs_changed.insert(bucket);
        Ok(())
    }

    pub(super) fn flush_stubs(&mut self) -> Result<(), StateError> {
        for bucket in std::mem::take(&mut self.stubs_changed) {
            match self.stubs.get(&bucket).copied().flatten() {
                Some(stub) => self
                    .connection
                    .prepare_cached("INSERT OR REPLACE INTO bucket (id, row) VALUES (?1, ?2)")?
                    .execute((bucket.as_bytes(), row::encode(Table::Bucket, &stub)))?,
                None => self
                    .connection
                    .prepare_cached("DELETE FROM bucket WHERE id = ?1")?
                    .execute([bucket.as_bytes()])?,
            };
        }
        self.stubs.clear();
        Ok(())
    }

    pub(super) fn run_stub(&mut self, command: &StubCommand) -> Result<Answer, CommandError> {
        match *command {
            StubCommand::Open { bucket, generation } => {
                let stub = match self.stub(bucket)? {
                    Some(stub) => {
                        Stub { generation: stub.generation.max(generation), state: StubState::Open, ..stub }
                    }
                    None => Stub { generation, state: StubState::Open, objects: 0, bytes: 0, uploads: 0 },
                };
                self.stubs.insert(bucket, Some(stub));
                self.stubs_changed.insert(bucket);
                Ok(Answer::Done)
            }
            StubCommand::Close { bucket } => match self.stub(bucket)? {
                None => Ok(Answer::Closed { empty: true }),
                Some(stub) => {
                    let empty = stub.objects == 0 && stub.uploads == 0;
                    self.change_stub(bucket, |stub| stub.state = StubState::Closing)?;
                    Ok(Answer::Closed { empty })
                }
            },
            StubCommand::Drop { bucket } => match self.stub(bucket)? {
                None => Ok(Answer::Done),
                Some(stub) if stub.objects == 0 && stub.uploads == 0 => {
                    self.stubs.insert(bucket, None);
                    self.stubs_changed.insert(bucket);
                    Ok(Answer::Done)
                }
                Some(_) => Err(refuse(ErrorCode::BucketNotEmpty, format!("bucket {bucket}"))),
            },
        }
    }
}

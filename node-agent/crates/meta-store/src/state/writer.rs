//! Applies batches of log entries to a shard's file: one transaction a batch.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use grid_types::{BucketId, ErrorCode, ShardId, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bucket::Stub;
use super::error::{CommandError, Refusal, StateError, refuse};
use super::proposal::{Action, Answer, Proposal, Reply};
use super::range::{ShardRange, routing_key};
use super::row::{self, Table};
use super::split::{ChildCopy, ChildFiles, SplitState};
use crate::Command;

/// How far a file has come, with all counters of the shard; written in each transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// Index of the last applied entry.
    pub index: Option<u64>,
    /// Its whole log id, opaque here.
    pub log_id: Vec<u8>,
    /// Stamp of the last command.
    pub stamp: Timestamp,
    /// Last number drawn for versions, owners and garbage.
    pub sequence: u64,
    /// Last number drawn for remembered operations.
    pub operation: u64,
    /// Stamp of the newest operation that was forgotten.
    pub op_horizon: Timestamp,
}

/// Limits that all replicas must share, so they are rows and not configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Operations remembered at least ...
    pub op_ids_min: u64,
    /// ... and at least so long.
    pub op_id_micros: u64,
}

/// What a log entry holds.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Nothing (a new leader's first entry).
    Blank,
    /// The group's members, opaque here.
    Membership(&'a [u8]),
    /// An encoded `Proposal`.
    Proposal(&'a [u8]),
}

/// A log entry as apply sees it.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub index: u64,
    /// The whole log id, opaque.
    pub log_id: &'a [u8],
    pub body: Body<'a>,
}

/// The one connection that writes.
pub(crate) struct Writer {
    pub(super) connection: Connection,
    pub(super) applied: Applied,
    pub(super) limits: Limits,
    pub(super) range: ShardRange,
    pub(super) split: Option<SplitState>,
    /// Stubs as this transaction left them; `None` = there is no such bucket.
    pub(super) stubs: HashMap<BucketId, Option<Stub>>,
    pub(super) stubs_changed: BTreeSet<BucketId>,
    /// Interned drive lists, encoded → id. Bounded by `PLACES_CACHED_MAX`.
    pub(super) places: HashMap<Vec<u8>, i64>,
    /// Keys of the range that is being copied away that changed since they were copied.
    pub(super) touched: BTreeSet<Vec<u8>>,
    /// The file of the child that is being split off, once copying began.
    pub(super) copy: Option<Box<ChildCopy>>,
    /// A child that was handed its range and waits to be opened.
    pub(super) finished: Option<(ShardId, Box<Self>)>,
    pub(super) children: Arc<dyn ChildFiles>,
    /// Another run of the group has the file now.
    pub(super) retired: bool,
}

const META_APPLIED: &str = "applied";
const META_MEMBERSHIP: &str = "membership";
const META_RANGE: &str = "range";
const META_LIMITS: &str = "limits";
const META_SPLIT: &str = "split";
const META_FOUNDERS: &str = "founders";

pub(super) fn meta<T: DeserializeOwned>(
    connection: &Connection,
    name: &str,
) -> Result<Option<T>, StateError> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    bytes.map(|bytes| row::decode(Table::Meta, &bytes)).transpose()
}

pub(super) fn set_meta<T: Serialize>(
    connection: &Connection,
    name: &str,
    value: &T,
) -> Result<(), StateError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
        .execute((name, row::encode(Table::Meta, value)))?;
    Ok(())
}

/// The range as this connection's snapshot sees it.
pub(super) fn range_of(connection: &Connection) -> Result<ShardRange, StateError> {
    meta(connection, META_RANGE)?.ok_or_else(|| StateError::Damaged("the range row is missing".to_owned()))
}

/// The split that is under way, as this connection's snapshot sees it.
pub(super) fn split_of(connection: &Connection) -> Result<Option<SplitState>, StateError> {
    let split = meta::<Option<SplitState>>(connection, META_SPLIT)?.flatten();
    let founders = meta(connection, META_FOUNDERS)?.unwrap_or_default();
    Ok(split.map(|split| SplitState { founders, ..split }))
}

/// How far the file has come, as this connection's snapshot sees it.
pub(super) fn applied_of(connection: &Connection) -> Result<Applied, StateError> {
    meta(connection, META_APPLIED)?
        .ok_or_else(|| StateError::Damaged("the applied row is missing".to_owned()))
}

impl Writer {
    /// First rows of a new shard.
    pub(super) fn found(
        connection: &Connection,
        range: &ShardRange,
        limits: Limits,
    ) -> Result<(), StateError> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        set_meta(connection, META_APPLIED, &Applied::default())?;
        set_meta(connection, META_RANGE, range)?;
        set_meta(connection, META_LIMITS, &limits)?;
        connection.execute_batch("COMMIT")?;
        Ok(())
    }

    /// Takes over a connection to a file that `found` or an older run filled.
    pub(super) fn open(connection: Connection, children: Arc<dyn ChildFiles>) -> Result<Self, StateError> {
        let missing = |what: &str| StateError::Damaged(format!("the {what} row is missing"));
        Ok(Self {
            applied: applied_of(&connection)?,
            limits: meta(&connection, META_LIMITS)?.ok_or_else(|| missing("limits"))?,
            range: range_of(&connection)?,
            split: split_of(&connection)?,
            connection,
            stubs: HashMap::new(),
            stubs_changed: BTreeSet::new(),
            places: HashMap::new(),
            touched: BTreeSet::new(),
            copy: None,
            finished: None,
            children,
            retired: false,
        })
    }

    pub(crate) fn applied(&self) -> &Applied {
        &self.applied
    }

    pub(crate) fn range(&self) -> &ShardRange {
        &self.range
    }

    /// The members as last applied: opaque bytes that `group` understands.
    pub(crate) fn membership(&self) -> Result<Option<Vec<u8>>, StateError> {
        meta(&self.connection, META_MEMBERSHIP)
    }

    /// Applies a batch in one transaction. On an error nothing of it happened and the writer must be opened anew.
    pub(crate) fn apply(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Reply>, StateError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        match self.apply_within(entries) {
            Ok(replies) => {
                self.connection.prepare_cached("COMMIT")?.execute([])?;
                Ok(replies)
            }
            Err(error) => {
                // The cause is more telling than a failing rollback; the file is opened anew in any case.
                let _ = self.connection.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }

    fn apply_within(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Reply>, StateError> {
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            let due = self.applied.index.map_or(0, |index| index + 1);
            if entry.index < due {
                return Err(StateError::Damaged(format!("entry {} was applied before", entry.index)));
            }
            let reply = match entry.body {
                Body::Blank => Ok(Answer::Done),
                Body::Membership(members) => {
                    set_meta(&self.connection, META_MEMBERSHIP, &members)?;
                    Ok(Answer::Done)
                }
                Body::Proposal(bytes) => self.execute(&Proposal::decode(bytes)?)?,
            };
            self.applied.index = Some(entry.index);
            self.applied.log_id.clear();
            self.applied.log_id.extend_from_slice(entry.log_id);
            replies.push(reply);
        }
        self.flush_stubs()?;
        set_meta(&self.connection, META_APPLIED, &self.applied)?;
        Ok(replies)
    }

    fn execute(&mut self, proposal: &Proposal) -> Result<Reply, StateError> {
        self.applied.stamp = proposal.stamp.max(Timestamp(self.applied.stamp.0 + 1));
        if let Some(answer) = self.remembered(proposal)? {
            return Ok(Ok(answer));
        }
        if proposal.birth <= self.applied.op_horizon {
            let detail = "the request is older than the table of operations: its outcome is not known";
            return Ok(Err(Refusal::new(ErrorCode::Unavailable, detail)));
        }
        match self.run(&proposal.action) {
            Ok(answer) => {
                self.remember(proposal.op, &answer)?;
                Ok(Ok(answer))
            }
            Err(CommandError::Refused(refusal)) => Ok(Err(refusal)),
            Err(CommandError::State(error)) => Err(error),
        }
    }

    fn run(&mut self, action: &Action) -> Result<Answer, CommandError> {
        match action {
            Action::Object(command) => {
                if let Some((bucket, key)) = command.target() {
                    self.own(bucket, key.as_str())?;
                }
                self.run_command(command).map(Answer::Object)
            }
            Action::Stub(command) => self.run_stub(command),
            Action::Records(writes) => self.write_records(writes),
            Action::Split(command) => self.run_split(command),
        }
    }

    fn run_command(&mut self, command: &Command) -> Result<crate::Outcome, CommandError> {
        match command {
            Command::PutVersion { .. } => self.put_version(command),
            Command::DeleteVersion { .. } => self.delete_version(command),
            Command::SetAttributes { .. } => self.set_attributes(command),
            Command::CreateUpload { .. } => self.create_upload(command),
            Command::PutPart { .. } => self.put_part(command),
            Command::CompleteUpload { .. } => self.complete_upload(command),
            Command::AbortUpload { .. } => self.abort_upload(command),
            Command::Relocate { .. } => self.relocate(command),
            Command::Reap { segments } => self.reap(segments),
            Command::RestoreVersion { .. } => self.restore_version(command),
            Command::GarbageDone { sequences } => self.garbage_done(sequences),
            Command::ReplaceSegment { .. } => self.replace_segment(command),
        }
    }

    /// Refuses keys of other shards, and notes what changes while it is copied away.
    fn own(&mut self, bucket: BucketId, key: &str) -> Result<(), CommandError> {
        let routing = routing_key(bucket, key);
        if !self.range.contains(&routing) {
            return Err(refuse(ErrorCode::WrongShard, "the key belongs to another shard"));
        }
        if self.copy.is_some() && self.split.as_ref().is_some_and(|split| split.copies(&routing)) {
            self.touched.insert(routing);
        }
        Ok(())
    }

    /// A fresh number for a version, an owner or a garbage row.
    pub(super) fn next_sequence(&mut self) -> Result<i64, StateError> {
        self.applied.sequence += 1;
        row::signed(self.applied.sequence)
    }

    pub(super) fn set_range(&mut self, range: ShardRange) -> Result<(), StateError> {
        set_meta(&self.connection, META_RANGE, &range)?;
        self.range = range;
        Ok(())
    }

    /// Makes a restored file like that of a new shard, whose log is empty: what led here is no longer known.
    pub(super) fn forget_log(&mut self) -> Result<(), StateError> {
        let applied = Applied { index: None, log_id: Vec::new(), ..self.applied.clone() };
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        set_meta(&self.connection, META_APPLIED, &applied)?;
        self.connection.prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([META_MEMBERSHIP])?;
        match self.split.take() {
            // Whoever was to found the child is not of the grid that this is for.
            Some(split) if split.committed => {
                self.set_split(Some(SplitState { founders: Vec::new(), ..split }))?
            }
            Some(_) => self.set_split(None)?,
            None => {}
        }
        self.connection.execute_batch("COMMIT")?;
        self.applied = applied;
        Ok(())
    }

    pub(super) fn set_split(&mut self, split: Option<SplitState>) -> Result<(), StateError> {
        set_meta(&self.connection, META_SPLIT, &split)?;
        let founders = split.as_ref().map_or(&[][..], |split| &split.founders);
        set_meta(&self.connection, META_FOUNDERS, &founders)?;
        self.split = split;
        Ok(())
    }
}

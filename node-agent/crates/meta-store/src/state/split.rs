//! Splitting a shard: rows of the upper part of the range are copied to the child's file in small batches while writes
//! go on, keys that change behind the copy are copied again, and one command hands the range over.
//!
//! The unit of copying is a key with everything under it. Copying a key replaces what the child has of it, so that
//! every step may be repeated. The copy itself is not part of the replicated state: after a crash it begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use grid_types::{BucketId, ErrorCode, ShardId};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::bucket::Stub;
use super::error::{CommandError, StateError, refuse};
use super::object::StoredVersion;
use super::proposal::{Answer, SplitCommand};
use super::range::ShardRange;
use super::row::{self, Table};
use super::writer::{Limits, Writer, set_meta};
use crate::peers::VoterNumber;

/// Keys copied under one hold of the writer: about 5 ms.
pub(crate) const COPY_KEYS_MAX: usize = 64;
/// Remembered operations copied in one step.
const COPY_OPERATIONS_MAX: i64 = 1_024;

/// Steps after which the child's file is checkpointed: some 4 MiB of WAL.
const STEPS_PER_CHECKPOINT: u64 = 64;

/// Where a split stands in the replicated state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitState {
    pub child: ShardId,
    /// The first routing key that moves.
    pub at: Vec<u8>,
    /// The end of the range when the split began.
    pub end: Option<Vec<u8>>,
    /// The child owns its range; what is left here is to be swept.
    pub committed: bool,
    /// Who votes first on the child; nobody while that is undecided. A row of its own.
    #[serde(skip)]
    pub founders: Vec<VoterNumber>,
}

impl SplitState {
    /// Is a change of this key to be copied again?
    pub(super) fn copies(&self, routing: &[u8]) -> bool {
        !self.committed && routing >= self.at.as_slice()
    }
}

/// The child's file while it is being filled.
pub(super) struct ChildCopy {
    pub child: ShardId,
    pub writer: Writer,
    /// All keys below are copied; `None` = all keys are.
    cursor: Option<Vec<u8>>,
    places: BTreeMap<i64, i64>,
    steps: u64,
}

/// Where files of children come from.
pub(crate) trait ChildFiles: Send + Sync {
    /// Did the child live before? Then its file is its own, whatever the parent's log replays.
    fn born(&self, child: ShardId) -> bool;
    /// An empty file, in place of what a broken split left.
    fn create(self: Arc<Self>, child: ShardId, limits: Limits) -> Result<Writer, StateError>;
}

impl ChildCopy {
    fn new(child: ShardId, writer: Writer, at: Vec<u8>) -> Self {
        Self { child, writer, cursor: Some(at), places: BTreeMap::new(), steps: 0 }
    }

    /// One batch; `true` when everything that is there now is copied.
    fn step(&mut self, parent: &mut Writer) -> Result<bool, StateError> {
        let done = self.transaction(|copy| copy.step_within(parent))?;
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_CHECKPOINT) {
            // Keeps the WAL of the child short, so that little is left to write when the range is handed over.
            self.writer.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(done)
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.writer.connection.execute_batch("BEGIN IMMEDIATE")?;
        match work(self) {
            Ok(done) => {
                self.writer.flush_stubs()?;
                self.writer.connection.execute_batch("COMMIT")?;
                Ok(done)
            }
            Err(error) => {
                let _ = self.writer.connection.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }

    fn step_within(&mut self, parent: &mut Writer) -> Result<bool, StateError> {
        let touched = std::mem::take(&mut parent.touched);
        for routing in touched {
            // What lies ahead of the cursor is copied when the cursor comes by.
            if self.cursor.as_deref().is_none_or(|cursor| routing.as_slice() < cursor) {
                self.copy_key(&parent.connection, &routing)?;
            }
        }
        if let Some(cursor) = self.cursor.clone() {
            let keys = keys_from(&parent.connection, &cursor, COPY_KEYS_MAX)?;
            for routing in &keys {
                self.copy_key(&parent.connection, routing)?;
            }
            self.cursor = match keys.last() {
                Some(last) if keys.len() >= COPY_KEYS_MAX => {
                    let mut next = last.clone();
                    next.push(0);
                    Some(next)
                }
                _ => None,
            };
        }
        let operations = self.copy_operations(&parent.connection)?;
        Ok(self.cursor.is_none() && !operations)
    }

    /// Copies the rest, hands the counters over and gives the child its range.
    fn finish(&mut self, parent: &mut Writer, range: ShardRange) -> Result<(), StateError> {
        while !self.step(parent)? {}
        self.hand_tables_over(parent, range)?;
        // The parent forgets the range next: the child's file must not need its WAL by then.
        let busy: i64 =
            self.writer.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy > 0 {
            return Err(StateError::Damaged("a file that nobody else knows is in use".to_owned()));
        }
        Ok(())
    }

    fn hand_tables_over(&mut self, parent: &mut Writer, range: ShardRange) -> Result<(), StateError> {
        self.transaction(|copy| {
            copy.copy_tables(&parent.connection)?;
            copy.copy_stubs(parent, &range)?;
            let applied = super::writer::Applied {
                index: None,
                log_id: Vec::new(),
                stamp: parent.applied.stamp,
                sequence: parent.applied.sequence,
                operation: parent.applied.operation,
                op_horizon: parent.applied.op_horizon,
            };
            set_meta(&copy.writer.connection, "applied", &applied)?;
            copy.writer.applied = applied;
            copy.writer.set_range(range)
        })
    }

    fn copy_operations(&self, parent: &Connection) -> Result<bool, StateError> {
        let child = &self.writer.connection;
        let last: i64 =
            child.query_row("SELECT coalesce(max(sequence), 0) FROM operation", [], |row| row.get(0))?;
        let mut statement = parent.prepare_cached(
            "SELECT sequence, id, stamp, row FROM operation WHERE sequence > ?1 ORDER BY sequence LIMIT ?2",
        )?;
        let mut rows = statement.query((last, COPY_OPERATIONS_MAX))?;
        let mut copied = 0;
        while let Some(row) = rows.next()? {
            child
                .prepare_cached("INSERT INTO operation (sequence, id, stamp, row) VALUES (?1, ?2, ?3, ?4)")?
                .execute((
                    row.get::<_, i64>(0)?,
                    row.get::<_, Vec<u8>>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                ))?;
            copied += 1;
        }
        Ok(copied >= COPY_OPERATIONS_MAX)
    }

    /// Small tables that go along whole: reaped ids (a commit on either side may name one), and the operations that the
    /// parent forgot since they were copied go.
    fn copy_tables(&self, parent: &Connection) -> Result<(), StateError> {
        let child = &self.writer.connection;
        child.execute("DELETE FROM reaped", [])?;
        let mut statement = parent.prepare("SELECT id, stamp FROM reaped")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            child
                .prepare_cached("INSERT INTO reaped (id, stamp) VALUES (?1, ?2)")?
                .execute((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))?;
        }
        let first: i64 =
            parent.query_row("SELECT coalesce(min(sequence), 0) FROM operation", [], |row| row.get(0))?;
        child.execute("DELETE FROM operation WHERE sequence < ?1", [first])?;
        Ok(())
    }

    /// Stubs of buckets with keys in the child's range, with the usage that was copied; the parent keeps the rest.
    fn copy_stubs(&mut self, parent: &mut Writer, range: &ShardRange) -> Result<(), StateError> {
        let mut moved = BTreeMap::new();
        for (bucket, stub) in parent.all_stubs()? {
            let copied =
                self.writer.stub(bucket)?.unwrap_or(Stub { objects: 0, bytes: 0, uploads: 0, ..stub });
            let usage = KeyUsage { objects: copied.objects, bytes: copied.bytes, uploads: copied.uploads };
            moved.insert(bucket, usage);
            if range.touches(bucket) {
                let stub = Stub { generation: stub.generation, state: stub.state, ..copied };
                self.writer.stubs.insert(bucket, Some(stub));
                self.writer.stubs_changed.insert(bucket);
            }
        }
        parent.keep_stubs(range, |bucket| moved.get(&bucket).copied().unwrap_or_default())
    }

    /// Makes the child's rows of one key equal to the parent's.
    fn copy_key(&mut self, parent: &Connection, routing: &[u8]) -> Result<(), StateError> {
        let (bucket, key) = split_routing(routing)?;
        let before = delete_key(&self.writer.connection, bucket, key)?;
        let mut after = KeyUsage::default();
        let mut owners = Vec::new();
        {
            let mut statement = parent.prepare_cached(
                "SELECT age, owner, row FROM object WHERE bucket = ?1 AND key = ?2 ORDER BY age",
            )?;
            let mut rows = statement.query((bucket.as_bytes(), key))?;
            while let Some(row) = rows.next()? {
                let (age, owner, bytes): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let stored: StoredVersion = row::decode(Table::Object, &bytes)?;
                after.objects += 1;
                after.bytes += stored.row.size;
                self.writer
                    .connection
                    .prepare_cached(
                        "INSERT INTO object (bucket, key, age, owner, row) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute((bucket.as_bytes(), key, age, owner, bytes))?;
                owners.push(owner);
            }
            let mut statement = parent
                .prepare_cached("SELECT upload, owner, row FROM upload WHERE bucket = ?1 AND key = ?2")?;
            let mut rows = statement.query((bucket.as_bytes(), key))?;
            while let Some(row) = rows.next()? {
                let (upload, owner, bytes): (Vec<u8>, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                after.uploads += 1;
                self.writer
                    .connection
                    .prepare_cached(
                        "INSERT INTO upload (bucket, key, upload, owner, row) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute((bucket.as_bytes(), key, upload, owner, bytes))?;
                owners.push(owner);
            }
        }
        for owner in owners {
            self.copy_owner(parent, owner)?;
        }
        self.count(bucket, before, after)
    }

    fn count(&mut self, bucket: BucketId, before: KeyUsage, after: KeyUsage) -> Result<(), StateError> {
        if self.writer.stub(bucket)?.is_none() {
            // Generation and state come with the hand-over.
            let stub = Stub {
                generation: 0,
                state: super::bucket::StubState::Open,
                objects: 0,
                bytes: 0,
                uploads: 0,
            };
            self.writer.stubs.insert(bucket, Some(stub));
        }
        self.writer.change_stub(bucket, |stub| {
            stub.objects = stub.objects + after.objects - before.objects;
            stub.bytes = stub.bytes + after.bytes - before.bytes;
            stub.uploads = stub.uploads + after.uploads - before.uploads;
        })
    }

    fn copy_owner(&mut self, parent: &Connection, owner: i64) -> Result<(), StateError> {
        let child = &self.writer.connection;
        let body: Option<Vec<u8>> = parent
            .prepare_cached("SELECT data FROM body WHERE owner = ?1")?
            .query_row([owner], |row| row.get(0))
            .optional()?;
        if let Some(body) = body {
            child.prepare_cached("INSERT INTO body (owner, data) VALUES (?1, ?2)")?.execute((owner, body))?;
        }
        let row: Option<(Vec<u8>, Vec<u8>, Vec<u8>)> = parent
            .prepare_cached("SELECT bucket, key, version FROM owner WHERE owner = ?1")?
            .query_row([owner], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if let Some((bucket, key, version)) = row {
            child
                .prepare_cached("INSERT INTO owner (owner, bucket, key, version) VALUES (?1, ?2, ?3, ?4)")?
                .execute((owner, bucket, key, version))?;
        }
        let mut statement = parent.prepare_cached("SELECT number, row FROM part WHERE owner = ?1")?;
        let mut rows = statement.query([owner])?;
        while let Some(row) = rows.next()? {
            child.prepare_cached("INSERT INTO part (owner, number, row) VALUES (?1, ?2, ?3)")?.execute((
                owner,
                row.get::<_, u16>(0)?,
                row.get::<_, Vec<u8>>(1)?,
            ))?;
        }
        let mut statement =
            parent.prepare_cached("SELECT part, number, chunk, drive FROM moved WHERE owner = ?1")?;
        let mut rows = statement.query([owner])?;
        while let Some(row) = rows.next()? {
            child
                .prepare_cached(
                    "INSERT INTO moved (owner, part, number, chunk, drive) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((
                    owner,
                    row.get::<_, u16>(0)?,
                    row.get::<_, u32>(1)?,
                    row.get::<_, u8>(2)?,
                    row.get::<_, Option<Vec<u8>>>(3)?,
                ))?;
        }
        let mut statement = parent.prepare_cached(
            "SELECT part, number, id, place, incomplete, moved, row FROM segment WHERE owner = ?1 ORDER BY part, number",
        )?;
        let mut rows = statement.query([owner])?;
        while let Some(row) = rows.next()? {
            let place = self.place(parent, row.get(3)?)?;
            self.writer
                .connection
                .prepare_cached(
                    "INSERT INTO segment (owner, part, number, id, place, incomplete, moved, row)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute((
                    owner,
                    row.get::<_, u16>(0)?,
                    row.get::<_, u32>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                    place,
                    row.get::<_, bool>(4)?,
                    row.get::<_, bool>(5)?,
                    row.get::<_, Vec<u8>>(6)?,
                ))?;
        }
        Ok(())
    }

    /// The child's number of a set of the parent.
    fn place(&mut self, parent: &Connection, place: i64) -> Result<i64, StateError> {
        if let Some(known) = self.places.get(&place) {
            return Ok(*known);
        }
        let bytes: Vec<u8> = parent
            .prepare_cached("SELECT drives FROM place WHERE id = ?1")?
            .query_row([place], |row| row.get(0))?;
        let number = self.writer.place(&super::place::decode_place(&bytes)?)?;
        self.places.insert(place, number);
        Ok(number)
    }
}

/// What a bucket's stub counts of one key.
#[derive(Debug, Clone, Copy, Default)]
struct KeyUsage {
    objects: u64,
    bytes: u64,
    uploads: u64,
}

fn split_routing(routing: &[u8]) -> Result<(BucketId, &[u8]), StateError> {
    let (bucket, key) = routing
        .split_first_chunk::<16>()
        .ok_or_else(|| StateError::Damaged("a routing key without a bucket".to_owned()))?;
    Ok((BucketId::from_bytes(*bucket), key))
}

/// Routing keys with an object or an upload, in order, from `from` on.
fn keys_from(connection: &Connection, from: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StateError> {
    let mut start = from.to_vec();
    let bucket_bytes = start.len().min(16);
    let key = start.split_off(bucket_bytes);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut keys = std::collections::BTreeSet::new();
    for sql in [
        "SELECT DISTINCT bucket, key FROM object WHERE (bucket, key) >= (?1, ?2) ORDER BY bucket, key LIMIT ?3",
        "SELECT DISTINCT bucket, key FROM upload WHERE (bucket, key) >= (?1, ?2) ORDER BY bucket, key LIMIT ?3",
    ] {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query((&start, &key, limit))?;
        while let Some(row) = rows.next()? {
            let mut routing: Vec<u8> = row.get(0)?;
            routing.extend_from_slice(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
            keys.insert(routing);
        }
    }
    Ok(keys.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
}

/// Deletes all rows of a key; nothing becomes garbage.
fn delete_key(connection: &Connection, bucket: BucketId, key: &[u8]) -> Result<KeyUsage, StateError> {
    let mut usage = KeyUsage::default();
    let mut owners: Vec<i64> = Vec::new();
    {
        let mut statement =
            connection.prepare_cached("SELECT owner, row FROM object WHERE bucket = ?1 AND key = ?2")?;
        let mut rows = statement.query((bucket.as_bytes(), key))?;
        while let Some(row) = rows.next()? {
            owners.push(row.get(0)?);
            let stored: StoredVersion =
                row::decode(Table::Object, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
            usage.objects += 1;
            usage.bytes += stored.row.size;
        }
        let mut statement =
            connection.prepare_cached("SELECT owner FROM upload WHERE bucket = ?1 AND key = ?2")?;
        let mut rows = statement.query((bucket.as_bytes(), key))?;
        while let Some(row) = rows.next()? {
            owners.push(row.get(0)?);
            usage.uploads += 1;
        }
    }
    for owner in owners {
        for sql in [
            "DELETE FROM body WHERE owner = ?1",
            "DELETE FROM segment WHERE owner = ?1",
            "DELETE FROM moved WHERE owner = ?1",
            "DELETE FROM part WHERE owner = ?1",
            "DELETE FROM owner WHERE owner = ?1",
        ] {
            connection.prepare_cached(sql)?.execute([owner])?;
        }
    }
    for sql in [
        "DELETE FROM object WHERE bucket = ?1 AND key = ?2",
        "DELETE FROM upload WHERE bucket = ?1 AND key = ?2",
    ] {
        connection.prepare_cached(sql)?.execute((bucket.as_bytes(), key))?;
    }
    Ok(usage)
}

/// Usage of the keys from `from` on, by bucket.
fn usage_from(connection: &Connection, from: &[u8]) -> Result<BTreeMap<BucketId, KeyUsage>, StateError> {
    let (bucket, key) = from.split_at(from.len().min(16));
    let mut usage: BTreeMap<BucketId, KeyUsage> = BTreeMap::new();
    let mut statement =
        connection.prepare("SELECT bucket, row FROM object WHERE (bucket, key) >= (?1, ?2)")?;
    let mut rows = statement.query((bucket, key))?;
    while let Some(row) = rows.next()? {
        let id: Vec<u8> = row.get(0)?;
        let stored: StoredVersion =
            row::decode(Table::Object, row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?;
        let of_bucket = usage.entry(row::id16(&id)?.into()).or_default();
        of_bucket.objects += 1;
        of_bucket.bytes += stored.row.size;
    }
    let mut statement = connection.prepare("SELECT bucket FROM upload WHERE (bucket, key) >= (?1, ?2)")?;
    let mut rows = statement.query((bucket, key))?;
    while let Some(row) = rows.next()? {
        let id: Vec<u8> = row.get(0)?;
        usage.entry(row::id16(&id)?.into()).or_default().uploads += 1;
    }
    Ok(usage)
}

impl Writer {
    /// Copies one batch of a split that was prepared; `true` when nothing is left but what is still to come.
    pub(crate) fn copy_step(&mut self) -> Result<bool, StateError> {
        let Some(split) = self.split.clone().filter(|split| !split.committed) else {
            return Ok(true);
        };
        let mut copy = self.take_copy(&split)?;
        let done = copy.step(self);
        self.copy = Some(copy);
        done
    }

    /// The child that was handed its range in this run, to be opened as a shard of its own.
    pub(crate) fn take_finished(&mut self, child: ShardId) -> Option<Writer> {
        self.finished.take_if(|(finished, _)| *finished == child).map(|(_, writer)| *writer)
    }

    /// The split that is under way, if one is.
    pub(crate) fn split(&self) -> Option<&SplitState> {
        self.split.as_ref()
    }

    fn take_copy(&mut self, split: &SplitState) -> Result<Box<ChildCopy>, StateError> {
        match self.copy.take() {
            Some(copy) if copy.child == split.child => Ok(copy),
            _ => {
                let writer = self.children.clone().create(split.child, self.limits)?;
                Ok(Box::new(ChildCopy::new(split.child, writer, split.at.clone())))
            }
        }
    }

    fn hand_over(&mut self, split: &SplitState, range: &ShardRange) -> Result<(), StateError> {
        if !self.children.born(split.child) {
            let mut copy = self.take_copy(split)?;
            copy.finish(self, range.clone())?;
            self.finished = Some((split.child, Box::new(copy.writer)));
            return Ok(());
        }
        // The log is replayed: the child has what it was given and more; the parent's own counters remain to be set.
        self.copy = None;
        let moved = usage_from(&self.connection, &split.at)?;
        self.keep_stubs(range, |bucket| moved.get(&bucket).copied().unwrap_or_default())
    }

    /// Takes the usage that moved to `range` out of the parent's stubs; returns the stubs as they were.
    fn keep_stubs(
        &mut self,
        range: &ShardRange,
        moved: impl Fn(BucketId) -> KeyUsage,
    ) -> Result<(), StateError> {
        let left = ShardRange { end: Some(range.start.clone()), ..self.range.clone() };
        for (bucket, stub) in self.all_stubs()? {
            let moved = moved(bucket);
            let kept = left.touches(bucket).then_some(Stub {
                objects: stub.objects.saturating_sub(moved.objects),
                bytes: stub.bytes.saturating_sub(moved.bytes),
                uploads: stub.uploads.saturating_sub(moved.uploads),
                ..stub
            });
            self.stubs.insert(bucket, kept);
            self.stubs_changed.insert(bucket);
        }
        Ok(())
    }

    fn all_stubs(&mut self) -> Result<Vec<(BucketId, Stub)>, StateError> {
        self.flush_stubs()?;
        let mut stubs = Vec::new();
        let mut statement = self.connection.prepare("SELECT id, row FROM bucket ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: Vec<u8> = row.get(0)?;
            let bytes: Vec<u8> = row.get(1)?;
            stubs.push((row::id16(&id)?.into(), row::decode(Table::Bucket, &bytes)?));
        }
        Ok(stubs)
    }

    pub(super) fn run_split(&mut self, command: &SplitCommand) -> Result<Answer, CommandError> {
        match command {
            SplitCommand::Prepare { child, at } => {
                if let Some(split) = &self.split {
                    if split.child == *child && split.at == *at {
                        return Ok(Answer::Done);
                    }
                    return Err(refuse(
                        ErrorCode::Conflict,
                        format!("shard {} is being split off", split.child),
                    ));
                }
                if !self.range.contains(at) || *at <= self.range.start || at.len() < 16 {
                    return Err(refuse(
                        ErrorCode::InvalidArgument,
                        "the split key does not divide the range",
                    ));
                }
                let split = SplitState {
                    child: *child,
                    at: at.clone(),
                    end: self.range.end.clone(),
                    committed: false,
                    founders: Vec::new(),
                };
                self.set_split(Some(split))?;
                Ok(Answer::Done)
            }
            SplitCommand::Cancel { child } => match &self.split {
                Some(split) if split.child == *child && !split.committed => {
                    self.touched.clear();
                    self.copy = None;
                    self.set_split(None)?;
                    Ok(Answer::Done)
                }
                Some(split) if split.child == *child => {
                    Err(refuse(ErrorCode::Conflict, "the range was handed over"))
                }
                _ => Ok(Answer::Done),
            },
            SplitCommand::Commit { child } => self.commit_split(*child),
            SplitCommand::Sweep { keys_max } => self.sweep(*keys_max),
            SplitCommand::Found { child, founders } => self.decide_founders(*child, founders),
        }
    }

    /// The first word counts: two sets of founders could both be majorities of their own.
    fn decide_founders(&mut self, child: ShardId, founders: &[VoterNumber]) -> Result<Answer, CommandError> {
        let split = self.split.clone().filter(|split| split.child == child && split.committed);
        let Some(split) = split else {
            return Err(refuse(ErrorCode::Conflict, format!("shard {child} was not handed over just now")));
        };
        if split.founders.is_empty() {
            self.set_split(Some(SplitState { founders: founders.to_vec(), ..split }))?;
        }
        Ok(Answer::Done)
    }

    fn commit_split(&mut self, child: ShardId) -> Result<Answer, CommandError> {
        let Some(split) = self.split.clone().filter(|split| split.child == child) else {
            return Err(refuse(ErrorCode::Conflict, format!("shard {child} is not being split off")));
        };
        if split.committed {
            return Ok(Answer::Done);
        }
        let generation = self.range.generation + 1;
        let range = ShardRange { start: split.at.clone(), end: split.end.clone(), generation };
        self.hand_over(&split, &range)?;
        self.touched.clear();
        self.set_range(ShardRange {
            start: self.range.start.clone(),
            end: Some(split.at.clone()),
            generation,
        })?;
        self.set_split(Some(SplitState { committed: true, ..split }))?;
        Ok(Answer::Done)
    }

    fn sweep(&mut self, keys_max: u32) -> Result<Answer, CommandError> {
        let Some(split) = self.split.clone().filter(|split| split.committed) else {
            return Ok(Answer::Swept { more: false });
        };
        let limit = usize::try_from(keys_max).unwrap_or(usize::MAX);
        let keys = keys_from(&self.connection, &split.at, limit)?;
        for routing in &keys {
            let (bucket, key) = split_routing(routing)?;
            delete_key(&self.connection, bucket, key)?;
        }
        let more = keys.len() >= limit;
        if !more {
            self.set_split(None)?;
        }
        Ok(Answer::Swept { more })
    }
}

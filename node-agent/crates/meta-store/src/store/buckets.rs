//! Buckets: the row in the root shard, and stubs in every shard that may hold keys of the bucket.
//!
//! Deletion is written down in the root first (`deleting`), so that a deletion that was cut short is undone at the next
//! start instead of leaving a bucket that takes no writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use grid_types::{BucketId, BucketName, ErrorCode, ShardId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::routing::Patience;
use super::{Inner, MetaStore};
use crate::query::Usage;
use crate::root::{Bucket, Expect, Record, RecordKind, RecordWrite};
use crate::state::{Action, Answer, StubCommand};
use crate::{Command, MetaError};

/// Version of a bucket record's value.
const BUCKET_VERSION: u8 = 1;
/// Buckets whose row is remembered: about 1 KiB each.
const BUCKETS_CACHED_MAX: usize = 1_024;
/// A replica of the root shard answers what it knows if it heard from the leader so recently.
const REPLICA_AGE_MAX: Duration = Duration::from_secs(1);
/// Records read in one page.
const RECORDS_PAGE: usize = 256;
/// Generation of a bucket's first wrapped key.
const FIRST_KEY_GENERATION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredBucket {
    bucket: Bucket,
    deleting: bool,
}

/// Rows of buckets by name.
#[derive(Default)]
pub(super) struct BucketCache {
    rows: Mutex<HashMap<BucketName, Known>>,
}

struct Known {
    bucket: Arc<Bucket>,
    /// What this node's replica of the root shard had applied when it was read: with more applied, it is read again.
    /// `None` where this node itself has just written it.
    as_of: Option<u64>,
}

impl BucketCache {
    /// A bucket that is known as of `applied`; `None` for that = nobody else writes.
    fn get(&self, name: &BucketName, applied: Option<u64>) -> Option<Arc<Bucket>> {
        let rows = self.rows.lock();
        let known = rows.get(name)?;
        (applied.is_none() || known.as_of == applied).then(|| known.bucket.clone())
    }

    fn put(&self, bucket: &Bucket, as_of: Option<u64>) {
        let mut rows = self.rows.lock();
        if rows.len() >= BUCKETS_CACHED_MAX {
            rows.clear();
        }
        rows.insert(bucket.name.clone(), Known { bucket: Arc::new(bucket.clone()), as_of });
    }

    fn name_of(&self, bucket: BucketId) -> Option<BucketName> {
        let rows = self.rows.lock();
        rows.values().find(|row| row.bucket.id == bucket).map(|row| row.bucket.name.clone())
    }

    fn forget(&self, name: &BucketName) {
        self.rows.lock().remove(name);
    }

    fn forget_id(&self, bucket: BucketId) {
        self.rows.lock().retain(|_, row| row.bucket.id != bucket);
    }
}

fn encode(bucket: &Bucket, deleting: bool) -> Result<Vec<u8>, MetaError> {
    let stored = StoredBucket { bucket: bucket.clone(), deleting };
    postcard::to_extend(&stored, vec![BUCKET_VERSION])
        .map_err(|error| refused(ErrorCode::InvalidArgument, error))
}

fn decode(record: &Record) -> Result<StoredBucket, MetaError> {
    let damaged = || MetaError::Damaged("a bucket's record does not decode".to_owned());
    match record.value.split_first() {
        Some((&BUCKET_VERSION, body)) => postcard::from_bytes(body).map_err(|_| damaged()),
        _ => Err(damaged()),
    }
}

fn refused(code: ErrorCode, detail: impl std::fmt::Display) -> MetaError {
    MetaError::Refused { code, detail: detail.to_string() }
}

fn bucket_write(name: &BucketName, expect: Expect, value: Option<Vec<u8>>) -> RecordWrite {
    RecordWrite { kind: RecordKind::Bucket, key: name.as_str().as_bytes().to_vec(), expect, value }
}

impl Inner {
    async fn bucket_row(&self, name: &BucketName) -> Result<Option<(u64, StoredBucket)>, MetaError> {
        let key = name.as_str().as_bytes().to_vec();
        let record = self.ask_named(ShardId::ROOT, move |view| view.record(RecordKind::Bucket, &key)).await?;
        record.map(|record| Ok((record.generation, decode(&record)?))).transpose()
    }

    /// Runs a step in every shard of a bucket, again while splits make new ones.
    async fn in_shards(&self, bucket: BucketId, command: &StubCommand) -> Result<Vec<Answer>, MetaError> {
        let mut answers = Vec::new();
        let mut done: Vec<ShardId> = Vec::new();
        loop {
            let shards = self.map.read().of_bucket(bucket);
            let Some(next) = shards.into_iter().find(|shard| !done.contains(shard)) else {
                return Ok(answers);
            };
            answers.push(self.propose_named(next, Action::Stub(command.clone())).await?);
            done.push(next);
            if !self.peers.is_alone() {
                self.until_mapped(next).await?;
            }
        }
    }

    /// A shard that another node is splitting has given part of its range away when its child is not in the map yet:
    /// waits until it is.
    async fn until_mapped(&self, shard: ShardId) -> Result<(), MetaError> {
        let mut patience = Patience::new();
        loop {
            let split = self.ask_named(shard, |view| view.split()).await?;
            let Some(child) = split.filter(|split| split.committed).map(|split| split.child) else {
                return Ok(());
            };
            if self.map.read().shards().contains(&child) {
                return Ok(());
            }
            let reason = format!("shard {child}, split off from it, is not in the map yet");
            patience.wait(MetaError::Unavailable { shard, reason }).await?;
            self.reload_map().await?;
        }
    }

    pub(super) async fn write_records(&self, writes: Vec<RecordWrite>) -> Result<(), MetaError> {
        self.propose_named(ShardId::ROOT, Action::Records(writes)).await.map(|_| ())
    }

    /// Undoes deletions that were cut short. Returns how many there were. `seen`: among several nodes, deletions that
    /// were under way at the last look; only these are undone, others may still be going on somewhere.
    pub(super) async fn undo_deletions(
        &self,
        mut seen: Option<&mut Vec<(Vec<u8>, u64)>>,
    ) -> Result<usize, MetaError> {
        let mut undone = 0;
        let mut under_way = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.clone();
            let page = self
                .ask_named(ShardId::ROOT, move |view| {
                    view.records(RecordKind::Bucket, from.as_deref(), RECORDS_PAGE)
                })
                .await?;
            for record in &page {
                let stored = decode(record)?;
                if !stored.deleting {
                    continue;
                }
                let mark = (record.key.clone(), record.generation);
                if seen.as_ref().is_none_or(|seen| seen.contains(&mark)) {
                    self.reopen(&stored.bucket, record.generation).await?;
                    undone += 1;
                } else {
                    under_way.push(mark);
                }
            }
            match page.last() {
                Some(last) if page.len() >= RECORDS_PAGE => after = Some(last.key.clone()),
                _ => {
                    if let Some(seen) = &mut seen {
                        **seen = under_way;
                    }
                    return Ok(undone);
                }
            }
        }
    }

    async fn reopen(&self, bucket: &Bucket, record_generation: u64) -> Result<(), MetaError> {
        let open = StubCommand::Open { bucket: bucket.id, generation: bucket.generation };
        self.in_shards(bucket.id, &open).await?;
        let write =
            bucket_write(&bucket.name, Expect::Generation(record_generation), Some(encode(bucket, false)?));
        self.write_records(vec![write]).await
    }
}

impl MetaStore {
    /// Makes a bucket (`bucket.generation` = 1) with its first wrapped key, and its stubs in every shard.
    /// BucketAlreadyOwnedByYou / BucketAlreadyExists where the name is taken.
    pub async fn create_bucket(&self, bucket: Bucket, wrapped_key: Vec<u8>) -> Result<(), MetaError> {
        let _splits = self.inner.map_changes.read().await;
        let taken = |row: &StoredBucket| {
            if row.bucket.owner == bucket.owner {
                refused(ErrorCode::BucketAlreadyOwnedByYou, &bucket.name)
            } else {
                refused(ErrorCode::BucketAlreadyExists, &bucket.name)
            }
        };
        if let Some((_, row)) = self.inner.bucket_row(&bucket.name).await? {
            return Err(taken(&row));
        }
        // Stubs first: they are harmless without the row, and the row must not be seen without them.
        let open = StubCommand::Open { bucket: bucket.id, generation: bucket.generation };
        self.inner.in_shards(bucket.id, &open).await?;
        let mut key = bucket.id.as_bytes().to_vec();
        key.extend_from_slice(&FIRST_KEY_GENERATION.to_be_bytes());
        let writes = vec![
            bucket_write(&bucket.name, Expect::Absent, Some(encode(&bucket, false)?)),
            RecordWrite {
                kind: RecordKind::BucketKey,
                key,
                expect: Expect::Absent,
                value: Some(wrapped_key),
            },
        ];
        match self.inner.write_records(writes).await {
            Ok(()) => {
                self.inner.buckets.put(&bucket, None);
                Ok(())
            }
            Err(error) if error.code() == ErrorCode::Conflict => {
                self.inner.in_shards(bucket.id, &StubCommand::Drop { bucket: bucket.id }).await?;
                match self.inner.bucket_row(&bucket.name).await? {
                    Some((_, row)) => Err(taken(&row)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The bucket with this name: answered from memory where known (the stub's generation catches what is stale), and
    /// among several nodes only while this node's replica of the root shard is at most `REPLICA_AGE_MAX` old; "no such
    /// bucket" only after a linearizable read.
    pub async fn bucket(&self, name: &BucketName) -> Result<Option<Bucket>, MetaError> {
        let alone = self.inner.peers.is_alone();
        let fresh = self.inner.group(ShardId::ROOT)?.fresh(REPLICA_AGE_MAX);
        if (alone || fresh.is_some())
            && let Some(known) = self.inner.buckets.get(name, if alone { None } else { fresh })
        {
            return Ok(Some(Bucket::clone(&known)));
        }
        match self.inner.bucket_row(name).await? {
            Some((_, row)) => {
                if !row.deleting {
                    self.inner.buckets.put(&row.bucket, fresh);
                }
                Ok(Some(row.bucket))
            }
            None => Ok(None),
        }
    }

    /// Buckets in name order, after `after`, at most `limit`.
    pub async fn buckets(&self, after: Option<&BucketName>, limit: usize) -> Result<Vec<Bucket>, MetaError> {
        let after = after.map(|name| name.as_str().as_bytes().to_vec());
        let page = self
            .inner
            .ask_named(ShardId::ROOT, move |view| view.records(RecordKind::Bucket, after.as_deref(), limit))
            .await?;
        page.iter().map(|record| decode(record).map(|row| row.bucket)).collect()
    }

    /// Replaces a bucket's settings: acknowledged after every shard of the bucket applied the new generation. Returns
    /// the bucket with its new generation; Conflict where `bucket.generation` is not the current one.
    pub async fn update_bucket(&self, mut bucket: Bucket) -> Result<Bucket, MetaError> {
        let _splits = self.inner.map_changes.read().await;
        let Some((generation, row)) = self.inner.bucket_row(&bucket.name).await? else {
            return Err(refused(ErrorCode::NoSuchBucket, &bucket.name));
        };
        if row.bucket.id != bucket.id || row.bucket.generation != bucket.generation || row.deleting {
            return Err(refused(ErrorCode::Conflict, "the bucket changed since it was read"));
        }
        bucket.generation += 1;
        let write = bucket_write(&bucket.name, Expect::Generation(generation), Some(encode(&bucket, false)?));
        self.inner.write_records(vec![write]).await?;
        self.inner.buckets.forget(&bucket.name);
        let open = StubCommand::Open { bucket: bucket.id, generation: bucket.generation };
        self.inner.in_shards(bucket.id, &open).await?;
        self.inner.buckets.put(&bucket, None);
        Ok(bucket)
    }

    /// Deletes an empty bucket; BucketNotEmpty where a version or an upload is left.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), MetaError> {
        let _splits = self.inner.map_changes.read().await;
        let Some((generation, row)) = self.inner.bucket_row(name).await? else {
            return Err(refused(ErrorCode::NoSuchBucket, name));
        };
        let bucket = row.bucket;
        let mark = bucket_write(name, Expect::Generation(generation), Some(encode(&bucket, true)?));
        self.inner.write_records(vec![mark]).await?;
        self.inner.buckets.forget(name);
        let marked = generation + 1;
        let answers = self.inner.in_shards(bucket.id, &StubCommand::Close { bucket: bucket.id }).await?;
        if !answers.iter().all(|answer| matches!(answer, Answer::Closed { empty: true })) {
            self.inner.reopen(&bucket, marked).await?;
            return Err(refused(ErrorCode::BucketNotEmpty, name));
        }
        let mut writes = vec![bucket_write(name, Expect::Generation(marked), None)];
        writes.extend(self.key_records(bucket.id).await?);
        if let Err(error) = self.inner.write_records(writes).await {
            if error.code() == ErrorCode::Conflict
                && let Some((_, row)) = self.inner.bucket_row(name).await?
            {
                // Somebody took this deletion for one that was cut short, and opened the bucket again.
                let open = StubCommand::Open { bucket: row.bucket.id, generation: row.bucket.generation };
                self.inner.in_shards(row.bucket.id, &open).await?;
            }
            return Err(error);
        }
        self.inner.in_shards(bucket.id, &StubCommand::Drop { bucket: bucket.id }).await?;
        Ok(())
    }

    /// Deletions of all wrapped keys of a bucket.
    async fn key_records(&self, bucket: BucketId) -> Result<Vec<RecordWrite>, MetaError> {
        let page = self
            .inner
            .ask_named(ShardId::ROOT, move |view| {
                view.records(RecordKind::BucketKey, Some(bucket.as_bytes()), RECORDS_PAGE)
            })
            .await?;
        let keys =
            page.into_iter().map(|record| record.key).take_while(|key| key.starts_with(bucket.as_bytes()));
        Ok(keys
            .map(|key| RecordWrite { kind: RecordKind::BucketKey, key, expect: Expect::Any, value: None })
            .collect())
    }

    /// Objects and bytes of a bucket, summed over its shards.
    pub async fn usage(&self, bucket: BucketId) -> Result<Usage, MetaError> {
        // A hand-over between two answers would count what moves twice or not at all.
        let _splits = self.inner.map_changes.read().await;
        let shards = self.inner.map.read().of_bucket(bucket);
        let mut sum = Usage::default();
        for shard in shards {
            let usage = self.inner.ask_named(shard, move |view| view.usage(bucket)).await?;
            sum.objects += usage.objects;
            sum.bytes += usage.bytes;
        }
        Ok(sum)
    }

    /// After a refusal for a stale generation: reads the bucket anew. True where the shard was the one that lagged, and
    /// was brought up to date.
    pub(super) async fn refresh_stub(&self, bucket: BucketId, action: &Action) -> Result<bool, MetaError> {
        let used = match action {
            Action::Object(
                Command::PutVersion { bucket_generation, .. }
                | Command::DeleteVersion { bucket_generation, .. }
                | Command::CreateUpload { bucket_generation, .. }
                | Command::CompleteUpload { bucket_generation, .. },
            ) => *bucket_generation,
            _ => return Ok(false),
        };
        let name = self.inner.buckets.name_of(bucket);
        self.inner.buckets.forget_id(bucket);
        let Some(name) = name else {
            return Ok(false);
        };
        let _splits = self.inner.map_changes.read().await;
        match self.inner.bucket_row(&name).await? {
            Some((_, row)) if row.bucket.id == bucket && row.bucket.generation == used && !row.deleting => {
                self.inner.in_shards(bucket, &StubCommand::Open { bucket, generation: used }).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

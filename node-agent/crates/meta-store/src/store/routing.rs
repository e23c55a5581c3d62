//! Which shard owns a key, and asking it: old maps are corrected by the answer, unavailable groups are asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_types::{BucketId, ErrorCode, OpId, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Inner, RETRY_PATIENCE};
use crate::MetaError;
use crate::root::{Expect, RecordKind, RecordWrite};
use crate::state::{Action, Answer, CommandError, Proposal, ReadView, ShardRange};

/// First pause between tries; doubles up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// Version of a shard map record's value.
const RANGE_VERSION: u8 = 1;
/// Shards read from the root in one page.
const RANGES_PAGE: usize = 1_024;

/// The shard map: where each range begins.
#[derive(Debug, Clone, Default)]
pub(super) struct ShardMap {
    starts: BTreeMap<Vec<u8>, ShardId>,
}

/// A range of the map as its record stores it.
#[derive(Debug, Serialize, Deserialize)]
struct StoredRange {
    range: ShardRange,
}

pub(super) fn range_record(shard: ShardId, range: &ShardRange) -> RecordWrite {
    let stored = StoredRange { range: range.clone() };
    let value = postcard::to_extend(&stored, vec![RANGE_VERSION]).expect("a range encodes");
    RecordWrite {
        kind: RecordKind::ShardRange,
        key: shard.0.to_be_bytes().to_vec(),
        expect: Expect::Any,
        value: Some(value),
    }
}

pub(super) fn decode_range(key: &[u8], value: &[u8]) -> Result<(ShardId, ShardRange), MetaError> {
    let damaged = || MetaError::Damaged("the shard map holds a record that does not decode".to_owned());
    let shard = u64::from_be_bytes(key.try_into().map_err(|_| damaged())?);
    match value.split_first() {
        Some((&RANGE_VERSION, body)) => {
            let stored: StoredRange = postcard::from_bytes(body).map_err(|_| damaged())?;
            Ok((ShardId(shard), stored.range))
        }
        _ => Err(damaged()),
    }
}

impl ShardMap {
    pub(super) fn insert(&mut self, start: Vec<u8>, shard: ShardId) {
        self.starts.insert(start, shard);
    }

    /// Adds a range that was not known to begin there.
    pub(super) fn insert_new(&mut self, start: Vec<u8>, shard: ShardId) {
        self.starts.entry(start).or_insert(shard);
    }

    pub(super) fn owner(&self, routing: &[u8]) -> ShardId {
        let before =
            self.starts.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(routing)));
        before.last().map_or(ShardId(1), |(_, shard)| *shard)
    }

    /// Shards that may hold keys of a bucket.
    pub(super) fn of_bucket(&self, bucket: BucketId) -> Vec<ShardId> {
        let mut shards = vec![self.owner(bucket.as_bytes())];
        let inside = self.starts.range::<[u8], _>((
            std::ops::Bound::Excluded(bucket.as_bytes().as_slice()),
            std::ops::Bound::Unbounded,
        ));
        shards.extend(
            inside.take_while(|(start, _)| start.starts_with(bucket.as_bytes())).map(|(_, shard)| *shard),
        );
        shards
    }

    pub(super) fn shards(&self) -> Vec<ShardId> {
        self.starts.values().copied().collect()
    }
}

/// Pauses between tries until patience ends.
pub(super) struct Patience {
    pause: Duration,
    until: tokio::time::Instant,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { pause: PAUSE_MIN, until: tokio::time::Instant::now() + RETRY_PATIENCE }
    }

    /// Waits; gives the error back once patience has ended.
    pub(super) async fn wait(&mut self, error: MetaError) -> Result<(), MetaError> {
        if tokio::time::Instant::now() + self.pause > self.until {
            return Err(error);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// May the same question be asked again?
fn transient(error: &MetaError) -> bool {
    matches!(error, MetaError::Unavailable { .. } | MetaError::Refused { code: ErrorCode::WrongShard, .. })
}

impl Inner {
    /// Reads the map anew from the root shard.
    pub(super) async fn reload_map(&self) -> Result<Vec<(ShardId, ShardRange)>, MetaError> {
        let mut ranges = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let from = after.clone();
            let page = self
                .ask_shard(ShardId::ROOT, move |view| {
                    view.records(RecordKind::ShardRange, from.as_deref(), RANGES_PAGE)
                })
                .await?;
            for record in &page {
                ranges.push(decode_range(&record.key, &record.value)?);
            }
            match page.last() {
                Some(last) if page.len() >= RANGES_PAGE => after = Some(last.key.clone()),
                _ => break,
            }
        }
        let mut map = ShardMap::default();
        for (shard, range) in &ranges {
            map.insert(range.start.clone(), *shard);
        }
        *self.map.write() = map;
        Ok(ranges)
    }

    /// Asks one shard, once.
    pub(super) async fn ask_shard<R: Send + 'static>(
        &self,
        shard: ShardId,
        question: impl FnOnce(&ReadView<'_>) -> Result<R, CommandError> + Send + 'static,
    ) -> Result<R, MetaError> {
        let group = self.group(shard)?;
        let file = group.linearizable_file().await?;
        let answer = self.readers.run(move || file.read(question)).await;
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(CommandError::Refused(refusal))) => Err(refusal.into()),
            Some(Err(CommandError::State(error))) if error.is_damage() => {
                group.report_damage(&error.to_string());
                Err(MetaError::Unavailable {
                    shard,
                    reason: "its file is damaged and is being rebuilt".to_owned(),
                })
            }
            Some(Err(CommandError::State(error))) => Err(error.of_shard(shard)),
            None => Err(self.closed_error(shard)),
        }
    }

    /// Asks the shard that owns a routing key, again where it is not available or no longer the owner.
    pub(super) async fn ask<R: Send + 'static>(
        &self,
        routing: &[u8],
        question: impl Fn(&ReadView<'_>) -> Result<R, CommandError> + Clone + Send + 'static,
    ) -> Result<R, MetaError> {
        let mut patience = Patience::new();
        loop {
            let shard = self.map.read().owner(routing);
            match self.ask_shard(shard, question.clone()).await {
                Err(error) if transient(&error) => self.recover(error, &mut patience).await?,
                answer => return answer,
            }
        }
    }

    /// As `ask`, for a shard that is named.
    pub(super) async fn ask_named<R: Send + 'static>(
        &self,
        shard: ShardId,
        question: impl Fn(&ReadView<'_>) -> Result<R, CommandError> + Clone + Send + 'static,
    ) -> Result<R, MetaError> {
        let mut patience = Patience::new();
        loop {
            match self.ask_shard(shard, question.clone()).await {
                Err(error @ MetaError::Unavailable { .. }) => self.recover(error, &mut patience).await?,
                answer => return answer,
            }
        }
    }

    async fn recover(&self, error: MetaError, patience: &mut Patience) -> Result<(), MetaError> {
        if self.is_closed() {
            return Err(error);
        }
        let moved = matches!(error, MetaError::Refused { .. });
        patience.wait(error).await?;
        if moved {
            // A failing root shard is met again at the next try.
            if let Err(error) = self.reload_map().await {
                tracing::warn!(%error, "the shard map cannot be read now");
            }
        }
        Ok(())
    }

    /// Proposes to one shard, once.
    async fn propose_once(
        &self,
        shard: ShardId,
        op: OpId,
        birth: Timestamp,
        action: &Action,
    ) -> Result<Answer, MetaError> {
        self.check_writable(shard, action)?;
        let group = self.group(shard)?;
        let proposal = Proposal { op, birth, stamp: self.clock.now(), action: action.clone() };
        let bytes = proposal.encode().map_err(MetaError::from)?;
        Ok(group.propose(bytes.into()).await??)
    }

    /// When a request was born: never before the shard's last stamp, so that a clock that stepped back makes nothing
    /// look too old.
    fn birth(&self, shard: ShardId) -> Timestamp {
        let stamp = self.group(shard).and_then(|group| group.file()).map(|(file, _)| file.stamp());
        self.clock.now().max(stamp.unwrap_or_default())
    }

    /// Proposes to the shard that owns a routing key; the op id makes repeats harmless.
    pub(super) async fn propose(
        &self,
        routing: &[u8],
        op: OpId,
        action: Action,
    ) -> Result<Answer, MetaError> {
        let mut patience = Patience::new();
        let birth = self.birth(self.map.read().owner(routing));
        loop {
            let shard = self.map.read().owner(routing);
            match self.propose_once(shard, op, birth, &action).await {
                Err(error) if transient(&error) => self.recover(error, &mut patience).await?,
                answer => return answer,
            }
        }
    }

    /// As `propose`, to a shard that is named.
    pub(super) async fn propose_named(&self, shard: ShardId, action: Action) -> Result<Answer, MetaError> {
        let mut patience = Patience::new();
        let op = OpId::from(self.random.id());
        let birth = self.birth(shard);
        loop {
            match self.propose_once(shard, op, birth, &action).await {
                Err(error @ MetaError::Unavailable { .. }) => self.recover(error, &mut patience).await?,
                answer => return answer,
            }
        }
    }
}

//! Splitting a shard: its leader drives it, every replica copies for itself. design: prepare → copy in the background → hand over → map → sweep.
//!
//! Each step is derived from what is stored, so that whoever comes after a crash goes on where the last one stood. From
//! the hand-over until the map names the child nobody owns the child's range: its requests are asked again meanwhile,
//! and the bucket protocols wait (`map_changes`).
//!
//! Who votes first on the child is written down in its parent once they hold it (`group::founders`).

use std::sync::Arc;
use std::time::Duration;

use grid_types::ShardId;

use super::routing::range_record;
use super::{Inner, MetaStore, blocking};
use crate::MetaError;
use crate::group::{Group, choose_founders, holders};
use crate::root::{Expect, RecordKind, RecordWrite};
use crate::state::{Action, Answer, ShardFile, ShardRange, SplitCommand, SplitState};

/// Record that holds the next free shard number, as 8 bytes, big endian.
const NEXT_SHARD: &[u8] = b"next-shard";
/// Numbers below are those of founding.
const FIRST_FREE_SHARD: u64 = 2;
/// Keys deleted by one command: about 10 ms.
const SWEEP_KEYS_MAX: u32 = 256;
/// Pause between batches, so that clients get the writer in between.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// Between two questions who holds a child.
const HOLDERS_PAUSE: Duration = Duration::from_millis(50);
/// Pause before a failed step is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitStep {
    /// Nothing to do.
    Idle,
    /// A batch was copied.
    Copied,
    /// The child has its range, is born and mapped.
    HandedOver(ShardId),
    /// Keys that moved were deleted.
    Swept { more: bool },
}

impl MetaStore {
    /// Splits a shard in the middle of its keys, whatever its size. Returns the new shard; `None` where there are too
    /// few keys. Runs to completion even if dropped half-way: maintenance goes on with it.
    pub async fn split_shard(&self, shard: ShardId) -> Result<Option<ShardId>, MetaError> {
        if !self.inner.begin_split(shard).await? {
            return Ok(None);
        }
        let mut child = None;
        loop {
            match self.inner.split_step(shard).await? {
                SplitStep::Idle => return Ok(child),
                SplitStep::HandedOver(born) => child = Some(born),
                SplitStep::Copied | SplitStep::Swept { .. } => tokio::time::sleep(BATCH_PAUSE).await,
            }
        }
    }
}

impl Inner {
    pub(super) async fn split_state(&self, shard: ShardId) -> Result<Option<SplitState>, MetaError> {
        self.ask_named(shard, |view| view.split()).await
    }

    /// Writes down where a shard is to be split, unless that was done. False where it has too few keys.
    pub(super) async fn begin_split(&self, shard: ShardId) -> Result<bool, MetaError> {
        if self.split_state(shard).await?.is_some() {
            return Ok(true);
        }
        let Some(at) = self.ask_named(shard, |view| Ok(view.middle()?)).await? else {
            return Ok(false);
        };
        let child = self.draw_shard().await?;
        self.propose_named(shard, Action::Split(SplitCommand::Prepare { child, at })).await?;
        tracing::info!(%shard, %child, "a metadata shard is being split");
        Ok(true)
    }

    async fn draw_shard(&self) -> Result<ShardId, MetaError> {
        loop {
            let record =
                self.ask_named(ShardId::ROOT, |view| view.record(RecordKind::Setting, NEXT_SHARD)).await?;
            let (number, expect) = match &record {
                None => (FIRST_FREE_SHARD, Expect::Absent),
                Some(record) => {
                    let bytes = record.value.as_slice().try_into();
                    let bytes =
                        bytes.map_err(|_| MetaError::Damaged("the next shard's number".to_owned()))?;
                    (u64::from_be_bytes(bytes), Expect::Generation(record.generation))
                }
            };
            let write = RecordWrite {
                kind: RecordKind::Setting,
                key: NEXT_SHARD.to_vec(),
                expect,
                value: Some((number + 1).to_be_bytes().to_vec()),
            };
            match self.write_records(vec![write]).await {
                Ok(()) => return Ok(ShardId(number)),
                Err(error) if error.code() == grid_types::ErrorCode::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Does the next step of a split that was begun.
    pub(super) async fn split_step(self: &Arc<Self>, shard: ShardId) -> Result<SplitStep, MetaError> {
        let Some(split) = self.split_state(shard).await? else {
            return Ok(SplitStep::Idle);
        };
        if !split.committed {
            if !self.copy_step(shard).await? {
                return Ok(SplitStep::Copied);
            }
            self.hand_over(shard, &split).await?;
            return Ok(SplitStep::HandedOver(split.child));
        }
        if !self.is_mapped(split.child).await? {
            self.hand_over(shard, &split).await?;
            return Ok(SplitStep::HandedOver(split.child));
        }
        let sweep = Action::Split(SplitCommand::Sweep { keys_max: SWEEP_KEYS_MAX });
        match self.propose_named(shard, sweep).await? {
            Answer::Swept { more } => Ok(SplitStep::Swept { more }),
            other => Err(MetaError::Damaged(format!("a sweep was answered with {other:?}"))),
        }
    }

    /// Copies one batch; true when all that is there now is copied.
    async fn copy_step(&self, shard: ShardId) -> Result<bool, MetaError> {
        let group = self.group(shard)?;
        let (file, _) = group.file()?;
        let step = blocking(move || file.writer().copy_step().map_err(|error| error.of_shard(shard))).await;
        if let Err(MetaError::Damaged(what)) = &step {
            group.report_damage(what);
        }
        step
    }

    async fn is_mapped(&self, child: ShardId) -> Result<bool, MetaError> {
        let key = child.0.to_be_bytes();
        let record =
            self.ask_named(ShardId::ROOT, move |view| view.record(RecordKind::ShardRange, &key)).await?;
        Ok(record.is_some())
    }

    /// Gives the child its range, lets it live, and names it in the map. Tried until it is done, here or by a leader that
    /// came after this node: half of it would leave a range that nobody owns.
    pub(super) async fn hand_over(
        self: &Arc<Self>,
        shard: ShardId,
        split: &SplitState,
    ) -> Result<(), MetaError> {
        let _alone = self.map_changes.write().await;
        loop {
            match self.try_hand_over(shard, split.child).await {
                Ok(()) => return Ok(()),
                Err(error) if self.is_closed() => return Err(error),
                Err(error) => {
                    let now = self.split_state(shard).await;
                    if now.is_ok_and(|now| now.is_none_or(|now| now.child != split.child)) {
                        return Ok(());
                    }
                    tracing::error!(%shard, child = %split.child, %error, "a split cannot go on now; it is tried again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn try_hand_over(self: &Arc<Self>, shard: ShardId, child: ShardId) -> Result<(), MetaError> {
        // A repeat is answered and changes nothing.
        self.propose_named(shard, Action::Split(SplitCommand::Commit { child })).await?;
        self.live_child(shard, &self.split_of_child(shard, child).await?).await?;
        if !self.peers.is_alone() {
            let split = self.decide_founders(shard, child).await?;
            self.live_child(shard, &split).await?;
        }
        let left = self.ask_named(shard, |view| view.range()).await?;
        let right = self.ask_named(child, |view| view.range()).await?;
        self.write_records(vec![range_record(shard, &left), range_record(child, &right)]).await?;
        self.map.write().insert(right.start.clone(), child);
        tracing::info!(%shard, %child, "a metadata shard was split");
        Ok(())
    }

    async fn split_of_child(&self, shard: ShardId, child: ShardId) -> Result<SplitState, MetaError> {
        let split = self.split_state(shard).await?.filter(|split| split.child == child);
        let over = || MetaError::Unavailable { shard: child, reason: "its split is over".to_owned() };
        split.ok_or_else(over)
    }

    /// Writes down in the parent who founds the child, once enough nodes hold it; whoever decides first counts.
    async fn decide_founders(&self, shard: ShardId, child: ShardId) -> Result<SplitState, MetaError> {
        let began = tokio::time::Instant::now();
        loop {
            let split = self.split_of_child(shard, child).await?;
            if !split.founders.is_empty() {
                return Ok(split);
            }
            let mut holders = holders(&self.peers, child).await;
            // Fails where the store is closed.
            self.group(child)?;
            holders.insert(self.peers.me());
            let voters = self.group(shard)?.voters()?;
            match choose_founders(&voters, &holders, &self.peers.members(), began.elapsed()) {
                Some(founders) => {
                    let founders = founders.into_iter().collect();
                    self.propose_named(shard, Action::Split(SplitCommand::Found { child, founders })).await?;
                }
                None => tokio::time::sleep(HOLDERS_PAUSE).await,
            }
        }
    }

    /// Sees that the child that was handed over lives here, and has its first voters once they are known.
    pub(super) async fn live_child(&self, shard: ShardId, split: &SplitState) -> Result<(), MetaError> {
        if self.is_left_out(split) {
            let reason = "other nodes founded it; this one fetches it".to_owned();
            return Err(MetaError::Unavailable { shard: split.child, reason });
        }
        self.ensure_born(shard, split.child).await?;
        if split.founders.contains(&self.peers.me()) {
            // Each of them may: all begin with the same entry.
            self.group(split.child)?.found(split.founders.iter().copied().collect()).await?;
        }
        Ok(())
    }

    /// Was the child founded without this node, which has nothing of it? Then it comes from those that have it: this
    /// node's replica of the parent may go on from a snapshot behind the hand-over and cannot make it.
    pub(super) fn is_left_out(&self, split: &SplitState) -> bool {
        !split.founders.is_empty()
            && !split.founders.contains(&self.peers.me())
            && !self.groups.read().contains_key(&split.child)
            && !self.holds(split.child)
    }

    /// Sees that the child lives here.
    pub(super) async fn ensure_born(&self, shard: ShardId, child: ShardId) -> Result<(), MetaError> {
        let _one_at_a_time = self.births.lock().await;
        if !self.groups.read().contains_key(&child) {
            self.give_birth(shard, child).await?;
            self.start_group(child).await?;
        }
        Ok(())
    }

    /// The child's first snapshot: from here on it can be rebuilt without its parent.
    async fn give_birth(&self, shard: ShardId, child: ShardId) -> Result<(), MetaError> {
        let group = self.group(shard)?;
        let (parent, _) = group.file()?;
        let homes = self.homes.clone();
        let born = blocking(move || {
            if !homes.snapshots(child).is_empty() {
                return Ok(true);
            }
            let of_child = |error: crate::state::StateError| error.of_shard(child);
            let (_, storage) = homes.storage(child)?;
            let finished = parent.writer().take_finished(child);
            let file = match finished {
                Some(writer) => ShardFile::from_writer(storage, homes.cache_bytes(), writer),
                None if storage.exists().map_err(of_child)? => {
                    let opened = ShardFile::open(storage, homes.cache_bytes(), true, homes.clone());
                    match opened {
                        Ok(file) => file,
                        Err(error) if error.is_damage() => return Ok(false),
                        Err(error) => return Err(of_child(error)),
                    }
                }
                None => return Ok(false),
            };
            if file.range().map_err(of_child)? == ShardRange::default() {
                // The file was made, but the hand-over that fills it did not reach the disk.
                return Ok(false);
            }
            let file = Arc::new(file);
            let image = file.image().map_err(of_child)?;
            homes.write_snapshot(child, image)?;
            Ok(true)
        })
        .await?;
        if born {
            return Ok(());
        }
        // The parent's log still holds the hand-over: applying it again makes the child anew. Once is enough: where it goes
        // on from another node's snapshot, the hand-over may lie in that.
        if self.remade.lock().insert(child) {
            group.report_damage("the file of a shard that was split off is lost");
        }
        Err(MetaError::Unavailable { shard: child, reason: "it is made anew from its parent".to_owned() })
    }

    /// Lets a child live whose file this node made and whose parent has forgotten the split: the hand-over and the end of
    /// the sweep were applied between two looks. True where it lives now.
    pub(super) async fn ensure_late_birth(&self, child: ShardId) -> Result<bool, MetaError> {
        let _one_at_a_time = self.births.lock().await;
        if self.groups.read().contains_key(&child) {
            return Ok(true);
        }
        if self.has_run(child) {
            return Ok(false);
        }
        let parents: Vec<Group> = self.groups.read().values().cloned().collect();
        let homes = self.homes.clone();
        let born = blocking(move || {
            let of_child = |error: crate::state::StateError| error.of_shard(child);
            let (_, storage) = homes.storage(child)?;
            if !homes.snapshots(child).is_empty() || !storage.exists().map_err(of_child)? {
                return Ok(false);
            }
            // Whoever made it may have it open.
            let files = parents.iter().filter_map(|parent| parent.file().ok());
            let finished = files.into_iter().find_map(|(file, _)| file.writer().take_finished(child));
            let file = match finished {
                Some(writer) => ShardFile::from_writer(storage, homes.cache_bytes(), writer),
                None => match ShardFile::open(storage, homes.cache_bytes(), true, homes.clone()) {
                    Ok(file) => file,
                    Err(error) if error.is_damage() => return Ok(false),
                    Err(error) => return Err(of_child(error)),
                },
            };
            let handed_over = file.range().map_err(of_child)? != ShardRange::default();
            let untouched = file.applied().map_err(of_child)?.applied.index.is_none();
            if handed_over && untouched {
                homes.write_snapshot(child, Arc::new(file).image().map_err(of_child)?)?;
            }
            Ok(handed_over && untouched)
        })
        .await?;
        if born {
            self.start_group(child).await?;
        }
        Ok(born)
    }

    /// Goes on with a split in the background, if it was begun.
    pub(super) async fn run_split(self: Arc<Self>, shard: ShardId) {
        while !self.is_closed() {
            match self.split_step(shard).await {
                Ok(SplitStep::Idle) => return,
                Ok(_) => tokio::time::sleep(BATCH_PAUSE).await,
                Err(error) => {
                    tracing::warn!(%shard, %error, "a split waits");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// After a start: ranges that were handed over and not mapped get their owner before anything is served.
    pub(super) async fn finish_hand_overs(self: &Arc<Self>) -> Result<(), MetaError> {
        let shards = self.map.read().shards();
        for shard in shards {
            if let Some(split) = self.split_state(shard).await?
                && split.committed
                && !self.is_mapped(split.child).await?
            {
                self.hand_over(shard, &split).await?;
            }
        }
        Ok(())
    }
}

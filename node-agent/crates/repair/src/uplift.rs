//! `uplift`: sees to segments that could be better protected than they are. What `auto` wrote when domains were missing or
//! away is re-coded; chunks that crowd one domain are moved to others, of whatever profile; and where drives leave and too few
//! stay for all chunks, `auto` is re-coded to what those can carry, and of the rest one chunk is let go, so that the drive can
//! leave. Those that can lose no domain come first.
//!
//! A re-coded segment is the same ciphertext under a fresh segment id, synced and re-read; then one compare-and-set puts it
//! into the row, and the old segment becomes garbage. What no row will name is declared dead before its chunks go. Segments
//! that are known by their ids elsewhere than in rows keep them. The node that leads a shard does it, one segment at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{
    BucketId, DriveId, DriveSnapshot, ErrorCode, GridSnapshot, ProfileChoice, Segment, ShardId,
};
use meta_store::query::{ClassedSegment, SegmentFilter};
use placement::{Change, Wishes};
use segment_store::SegmentError;

use crate::context::RepairContext;
use crate::mover::{self, Moved, move_elsewhere, refused_for_good, remove_from_holder, take_out_of_row};
use crate::{Counters, RepairError, Step, Worker};

/// Which segments a scan looks for: first those that can lose no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    AtRisk,
    Other,
}

/// A shard to be looked through, and how far that is.
#[derive(Clone)]
struct Source {
    shard: ShardId,
    urgency: Urgency,
    cursor: Option<Vec<u8>>,
}

/// How a shard was left.
struct Looked {
    /// What its segments were held against.
    wishes: Wishes,
    at: Duration,
    /// Something could not be done.
    undone: bool,
}

/// The pass under way.
struct Pass {
    wishes: Wishes,
    sources: VecDeque<Source>,
    sources_total: usize,
    /// Its shards, and whether something in them could not be done.
    shards: BTreeMap<ShardId, bool>,
}

/// A segment that needs something.
#[derive(Clone)]
struct Task {
    shard: ShardId,
    found: ClassedSegment,
    /// What it was meant to be.
    choice: ProfileChoice,
}

/// How one segment went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    Done,
    /// A step was done, and there may be more to do for it.
    Part,
    /// Its row changed, or it needs nothing any more.
    Overtaken,
    /// Not now, but later.
    Later,
}

pub(crate) struct Uplift {
    context: Arc<RepairContext>,
    looked: BTreeMap<ShardId, Looked>,
    /// What the grid allows to wish for, and since when that is so.
    seen: Option<(Wishes, Duration)>,
    pass: Option<Pass>,
    /// Of one page of rows.
    tasks: VecDeque<Task>,
    /// Written, and not known to be in a row or out of it for good.
    doubtful: Option<Segment>,
    /// The operator wants a pass now.
    ordered: bool,
    counters: Counters,
}

impl Uplift {
    pub fn new(context: Arc<RepairContext>) -> Self {
        Self {
            context,
            looked: BTreeMap::new(),
            seen: None,
            pass: None,
            tasks: VecDeque::new(),
            doubtful: None,
            ordered: false,
            counters: Counters::default(),
        }
    }

    async fn work(&mut self) -> Result<Step, RepairError> {
        if self.settle().await? == Some(Went::Done) {
            self.counters.done += 1;
        }
        self.counters.waiting = self.tasks.len() as u64;
        // What is at hand stays first until it is done: the step may be dropped anywhere.
        if let Some(task) = self.tasks.front().cloned() {
            if !self.context.leads(task.shard) {
                self.leave(task.shard);
            } else if self.uplift(&task).await? == Went::Part {
                return Ok(Step::Busy);
            }
            self.tasks.pop_front();
            return Ok(Step::Busy);
        }
        if let Some(pass) = &mut self.pass {
            if let Some(source) = pass.sources.front().cloned() {
                self.fetch(source).await?;
                return Ok(Step::Busy);
            }
            self.end_pass();
        }
        self.begin_pass();
        Ok(if self.pass.is_some() { Step::Busy } else { Step::Idle(self.context.config.uplift_look_every) })
    }

    /// A pass over the shards that are due, if there are any and the grid has been as it is for long enough.
    fn begin_pass(&mut self) {
        let ordered = std::mem::take(&mut self.ordered);
        if !self.context.knows_choices() {
            "nobody says which profile a storage class stands for".clone_into(&mut self.counters.detail);
            return;
        }
        let wishes = placement::Uplift::new(&self.context.grid()).wishes();
        let now = self.context.clock.since_boot();
        let since = self.seen.filter(|(seen, _)| *seen == wishes).map_or(now, |(_, since)| since);
        self.seen = Some((wishes, since));
        let config = &self.context.config;
        let settled = ordered || now.saturating_sub(since) >= config.uplift_settle;
        if !settled || (wishes.small, wishes.large) == (None, None) {
            return;
        }
        let led = self.context.led_shards();
        self.looked.retain(|shard, _| led.contains(shard));
        let due = |looked: &Looked| {
            let pause = if looked.undone { config.uplift_retry_every } else { config.uplift_every };
            looked.wishes != wishes || now.saturating_sub(looked.at) >= pause
        };
        let shards: BTreeMap<ShardId, bool> = led
            .into_iter()
            .filter(|shard| ordered || self.looked.get(shard).is_none_or(due))
            .map(|shard| (shard, false))
            .collect();
        let sources: VecDeque<Source> = [Urgency::AtRisk, Urgency::Other]
            .into_iter()
            .flat_map(|urgency| {
                shards.keys().map(move |shard| Source { shard: *shard, urgency, cursor: None })
            })
            .collect();
        if !sources.is_empty() {
            self.counters.pass = Some(0.0);
            "looking for segments that can be better protected".clone_into(&mut self.counters.detail);
            self.pass = Some(Pass { wishes, sources_total: sources.len(), sources, shards });
        }
    }

    fn end_pass(&mut self) {
        let Some(pass) = self.pass.take() else { return };
        let now = self.context.clock.since_boot();
        self.counters.pass = None;
        for (shard, undone) in pass.shards {
            if self.context.leads(shard) {
                self.looked.insert(shard, Looked { wishes: pass.wishes, at: now, undone });
            }
        }
    }

    /// Nothing can be done now for any segment.
    fn give_up_pass(&mut self) {
        self.tasks.clear();
        if let Some(pass) = &mut self.pass {
            pass.sources.clear();
            pass.shards.values_mut().for_each(|undone| *undone = true);
        }
    }

    /// Another node leads the shard by now: should the lead come back, all of it is looked through anew.
    fn leave(&mut self, shard: ShardId) {
        if let Some(pass) = &mut self.pass {
            pass.shards.remove(&shard);
            pass.sources.retain(|source| source.shard != shard);
        }
    }

    fn note_undone(&mut self, shard: ShardId) {
        if let Some(undone) = self.pass.as_mut().and_then(|pass| pass.shards.get_mut(&shard)) {
            *undone = true;
        }
    }

    async fn fetch(&mut self, source: Source) -> Result<(), RepairError> {
        let Source { shard, urgency, cursor } = source;
        if !self.context.leads(shard) {
            self.leave(shard);
            return Ok(());
        }
        let plan = placement::Uplift::new(&self.context.grid());
        let wanted: SegmentFilter = Arc::new(move |segment: &Segment| {
            let at_risk = plan.tolerance(segment) == 0;
            let choices = [ProfileChoice::Auto, ProfileChoice::Fixed(segment.profile)];
            at_risk == (urgency == Urgency::AtRisk)
                && choices.into_iter().any(|choice| plan.change_for(segment, choice).is_some())
        });
        let limit = self.context.config.page;
        let fetched = async {
            let (page, next) = self.context.rows.segments_that(shard, wanted, cursor.clone(), limit).await?;
            // After the page, so that a bucket made meanwhile is not missed.
            let spared = if page.is_empty() { Vec::new() } else { self.spared().await? };
            let plan = placement::Uplift::new(&self.context.grid());
            let tasks = page.into_iter().map(|found| {
                let choice = self.choice_for(&found, &spared);
                Task { shard, found, choice }
            });
            let needs = |task: &Task| plan.change_for(&task.found.row.segment, task.choice).is_some();
            Ok::<_, RepairError>((tasks.filter(needs).collect::<Vec<_>>(), next))
        };
        let fetched = fetched.await;
        let Some(pass) = &mut self.pass else { return Ok(()) };
        match fetched {
            Ok((tasks, next)) => {
                self.tasks.extend(tasks);
                pass.sources.pop_front();
                if next.is_some() {
                    pass.sources.push_front(Source { shard, urgency, cursor: next });
                }
                let done = pass.sources_total.saturating_sub(pass.sources.len());
                self.counters.pass = Some(done as f64 / pass.sources_total.max(1) as f64);
                Ok(())
            }
            Err(error) => {
                // The other shards may answer.
                pass.sources.rotate_left(1);
                Err(error)
            }
        }
    }

    /// Buckets whose segments keep their ids.
    async fn spared(&self) -> Result<Vec<BucketId>, RepairError> {
        let mut spared = Vec::new();
        for name in &self.context.spared {
            spared.extend(self.context.rows.bucket_id(name.clone()).await?);
        }
        Ok(spared)
    }

    /// What it was meant to be. Of a class that nobody knows any more, and where its id must stay, what it is.
    fn choice_for(&self, found: &ClassedSegment, spared: &[BucketId]) -> ProfileChoice {
        let choice = self.context.choice_of(&found.storage_class);
        let choice = choice.filter(|_| !spared.contains(&found.bucket));
        choice.unwrap_or(ProfileChoice::Fixed(found.row.segment.profile))
    }

    /// One segment. After an error it is tried again: the metadata is away, or requests need all memory.
    async fn uplift(&mut self, task: &Task) -> Result<Went, RepairError> {
        match self.change(task).await {
            Ok(went) => {
                self.counters.done += u64::from(matches!(went, Went::Done | Went::Part));
                if went == Went::Later {
                    self.note_undone(task.shard);
                }
                Ok(went)
            }
            Err(error @ (RepairError::Meta(_) | RepairError::Segment(SegmentError::Budget(_)))) => Err(error),
            Err(error) => {
                self.note_undone(task.shard);
                let hopeless = matches!(
                    &error,
                    RepairError::Segment(error @ (SegmentError::Placement(_) | SegmentError::AckSet { .. }))
                        if matches!(error.code(), ErrorCode::StorageFull | ErrorCode::InsufficientDomains)
                );
                tracing::warn!(segment = %task.found.row.segment.id, %error, "a segment is not better protected now");
                self.counters.failed(error);
                if hopeless {
                    self.give_up_pass();
                }
                Ok(Went::Later)
            }
        }
    }

    /// What the segment needs as its row and the grid are now.
    async fn change(&mut self, task: &Task) -> Result<Went, RepairError> {
        let context = self.context.clone();
        let Some((bucket, key, row)) = context.rows.find_segment(task.found.row.segment.id).await? else {
            return Ok(Went::Overtaken);
        };
        let plan = placement::Uplift::new(&context.grid());
        let chunk = |index, row| mover::Task { bucket, key, row, index };
        let moved = match plan.change_for(&row.segment, task.choice) {
            None => return Ok(Went::Overtaken),
            Some(Change::Recode(_)) => return self.recode(task).await,
            Some(Change::Move(index)) => {
                "moving chunks to where they lie better".clone_into(&mut self.counters.detail);
                move_elsewhere(&context, &chunk(index, row), true).await?
            }
            Some(Change::Release(index)) => {
                "letting chunks go that no drive stays for".clone_into(&mut self.counters.detail);
                let (kept, chunk) = (plan.kept(&row.segment), chunk(index, row));
                let all_kept = |good: &[DriveId]| kept.iter().all(|drive| good.contains(drive));
                let released = take_out_of_row(&context, &chunk, all_kept).await?;
                if released == Moved::Done {
                    remove_from_holder(&context, &chunk).await;
                }
                released
            }
        };
        Ok(match moved {
            Moved::Done => Went::Part,
            Moved::Overtaken => Went::Overtaken,
            Moved::NoDrive => Went::Later,
        })
    }

    async fn recode(&mut self, task: &Task) -> Result<Went, RepairError> {
        let context = self.context.clone();
        let id = task.found.row.segment.id;
        let Some(_lock) = context.lock_segment(id) else { return Ok(Went::Later) };
        // The row as it is now that nobody else moves its chunks.
        let Some((bucket, key, row)) = context.rows.find_segment(id).await? else {
            return Ok(Went::Overtaken);
        };
        let grid = context.grid();
        let Some(Change::Recode(profile)) =
            placement::Uplift::new(&grid).change_for(&row.segment, task.choice)
        else {
            return Ok(Went::Overtaken);
        };
        if !has_room(&grid, context.config.uplift_free_percent_min) {
            let reason = "too little room is left to write segments anew beside the old ones";
            tracing::warn!(segment = %id, "{reason}");
            self.counters.failed(reason);
            self.give_up_pass();
            return Ok(Went::Later);
        }
        self.counters.detail = format!("re-coding segments, now one of {} to {profile}", row.segment.profile);
        let new = context.segments.recode(&row.segment, profile).await?;
        self.doubtful = Some(new.clone());
        if !placement::Uplift::new(&context.grid()).improves(&row.segment, &new) {
            self.settle().await?;
            self.counters.failed("drives refused, and the segment would be no better than before");
            return Ok(Went::Later);
        }
        match context.rows.replace_segment(bucket, key, row.owner, id, new).await {
            Ok(()) => {
                self.doubtful = None;
                Ok(Went::Done)
            }
            Err(error) if refused_for_good(error.code()) || error.code() == ErrorCode::InvalidArgument => {
                // Perhaps an earlier answer was lost and the row names the new one: the shards know.
                Ok(self.settle().await?.unwrap_or(Went::Overtaken))
            }
            // It may have happened, or happen yet: settled before the next one.
            Err(error) => Err(error.into()),
        }
    }

    /// Finds out what became of a segment whose exchange is in doubt, by having it declared dead: that succeeds only where no
    /// row names it, and then none ever will. `None` where there is none in doubt.
    async fn settle(&mut self) -> Result<Option<Went>, RepairError> {
        let Some(new) = &self.doubtful else { return Ok(None) };
        let dead = self.context.rows.reap(vec![new.id]).await?;
        let lives = !dead.contains(&new.id);
        if !lives {
            // What stays of it is the inventory's.
            self.context.segments.discard(std::slice::from_ref(new)).await;
        }
        self.doubtful = None;
        Ok(Some(if lives { Went::Done } else { Went::Overtaken }))
    }
}

/// The old chunks stay for a while beside the new ones, and clients write meanwhile.
fn has_room(grid: &GridSnapshot, free_percent_min: u64) -> bool {
    let writable = || grid.drives.iter().filter(|drive| drive.writable());
    let sum =
        |bytes: fn(&DriveSnapshot) -> u64| writable().map(|drive| u128::from(bytes(drive))).sum::<u128>();
    sum(|drive| drive.free_bytes) * 100 >= sum(|drive| drive.total_bytes) * u128::from(free_percent_min)
}

impl Worker for Uplift {
    fn name(&self) -> &'static str {
        "uplift"
    }

    fn purpose(&self) -> &'static str {
        "re-codes segments or moves their chunks where the grid can protect them better by now"
    }

    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
        self.work().boxed()
    }

    fn counters(&self) -> Counters {
        self.counters.clone()
    }

    fn run_now(&mut self) {
        self.ordered = true;
    }
}

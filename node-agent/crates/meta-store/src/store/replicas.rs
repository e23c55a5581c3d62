//! Replicas on other nodes: what they ask, and fetching what this node lacks.
//!
//! Invariants: a replica begins with a snapshot of another one, never with an empty file, since the first rows of a
//! shard are not in its log; a snapshot is whole on the drives before the log forgets what it covers; a node that lost
//! its metadata never votes under its old number (it would forget what it promised): it must be removed and join anew.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use grid_types::{ErrorCode, NodeId, ShardId};
use rpc::{Body, CALL_BYTES_MAX, Caller, RpcError, Service, collect, once};
use tokio::sync::{mpsc, watch};

use super::homes::ReceivedHead;
use super::leaders::{Leaders, Move};
use super::routing::decode_range;
use super::{Inner, blocking, io};
use crate::group::{
    BEAT, Group, Led, Request, SNAPSHOT, answer_heartbeats, holds_answer, parse_request, voters_of,
};
use crate::root::RecordKind;
use crate::state::{Action, CommandError, Proposal, ShardFile, ShardRange};
use crate::{MetaError, MetaMember};

/// Between two looks at what this node should hold.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a look waits for a change of a shard's voters.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// A deletion of a bucket that is no further after so long was cut short.
const DELETION_PATIENCE: Duration = Duration::from_secs(60);
/// A snapshot's sender may pause so long.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(30);
/// Pieces of a snapshot in flight: 256 KiB each.
const PIECES_WAITING_MAX: usize = 4;
/// Snapshots that are sent at a time; each holds up the checkpoints of its shard.
const SENDING_MAX: usize = 2;
/// The map's ranges read in one page.
const RANGES_PAGE: usize = 1_024;

/// Answers other nodes about the groups of this one.
pub(super) struct MetaService {
    inner: Weak<Inner>,
    sending: Arc<tokio::sync::Semaphore>,
}

impl MetaService {
    pub(super) fn new(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::downgrade(inner), sending: Arc::new(tokio::sync::Semaphore::new(SENDING_MAX)) }
    }
}

impl Service for MetaService {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        let (inner, method, sending) = (self.inner.upgrade(), method.to_owned(), self.sending.clone());
        async move {
            let gone = || RpcError::new(ErrorCode::Unavailable, "the metadata store is shut down");
            let inner = inner.ok_or_else(gone)?;
            if method == "generation" {
                return Ok(once(inner.peers.generation_answer()));
            }
            let message = inner.peers.unframed(collect(body, CALL_BYTES_MAX).await?)?;
            if method == "snapshot" {
                let shard: u64 = postcard::from_bytes(&message)
                    .map_err(|error| RpcError::new(ErrorCode::InvalidArgument, error.to_string()))?;
                let permit = sending.try_acquire_owned();
                let busy = |_| RpcError::new(ErrorCode::SlowDown, "other snapshots are being sent");
                return inner.send_snapshot(ShardId(shard), permit.map_err(busy)?).await;
            }
            if method == "heartbeats" {
                return answer_heartbeats(message, |shard| inner.group(shard));
            }
            let (shard, request) = parse_request(&method, message)?;
            let answer = match request {
                Request::Ask(question) => inner.group(shard)?.answer(question).await?,
                Request::Propose(command) => {
                    let command = inner.restamped(shard, &command)?;
                    inner.group(shard)?.answer_proposal(command).await?
                }
                Request::Holds => {
                    let held = inner.groups.read().contains_key(&shard);
                    if !held {
                        // It may have been split off a moment ago.
                        inner.look_now.notify_one();
                    }
                    holds_answer(held)
                }
                Request::Install(leadership) => {
                    inner.group(shard)?;
                    let settled = leadership.settled(&inner.log.group(shard).state());
                    match settled.map_err(|error| RpcError::new(ErrorCode::Corrupt, error.to_string()))? {
                        Some(answer) => answer,
                        None => {
                            inner.begin_take_over(shard, caller.node);
                            leadership.pending()
                        }
                    }
                }
            };
            Ok(once(answer))
        }
        .boxed()
    }
}

impl Inner {
    /// A proposal of another node, with this node's clock: the leader alone gives stamps.
    fn restamped(&self, shard: ShardId, command: &[u8]) -> Result<Bytes, MetaError> {
        let proposal = Proposal::decode(command).map_err(|error| error.of_shard(shard))?;
        self.check_writable(shard, &proposal.action)?;
        let proposal = Proposal { stamp: self.clock.now(), ..proposal };
        Ok(proposal.encode().map_err(MetaError::from)?.into())
    }

    /// May this be proposed here now?
    pub(super) fn check_writable(&self, shard: ShardId, action: &Action) -> Result<(), MetaError> {
        if let Some(reason) = self.read_only.read().clone() {
            return Err(MetaError::ReadOnly(reason));
        }
        self.room.check(shard, action)
    }

    /// Head and pieces of a shard's image.
    async fn send_snapshot(
        &self,
        shard: ShardId,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Body, RpcError> {
        let (file, _) = self.group(shard)?.file()?;
        let image = blocking(move || file.image().map_err(|error| error.of_shard(shard))).await?;
        let head = ReceivedHead::of(&image.durable).encode();
        let (pieces, sent) = mpsc::channel(PIECES_WAITING_MAX);
        tokio::task::spawn_blocking(move || {
            let (mut image, _permit) = (image, permit);
            loop {
                let piece = image
                    .next_chunk()
                    .map(|chunk| chunk.map(Bytes::from))
                    .map_err(|error| RpcError::new(ErrorCode::Internal, error.to_string()));
                let Some(piece) = piece.transpose() else { return };
                let failed = piece.is_err();
                // Who fetches may have gone.
                if pieces.blocking_send(piece).is_err() || failed {
                    return;
                }
            }
        });
        let rest =
            stream::unfold(sent, |mut sent| async move { sent.recv().await.map(|piece| (piece, sent)) });
        Ok(stream::once(async move { Ok(head) }).chain(rest).boxed())
    }

    /// Fetches a snapshot of a shard from a node and keeps it on the drives. Returns what it covers.
    async fn fetch_snapshot(&self, shard: ShardId, from: NodeId) -> Result<ReceivedHead, MetaError> {
        let unavailable = |reason: String| MetaError::Unavailable { shard, reason };
        let message = postcard::to_allocvec(&shard.0).expect("a number encodes");
        let answer = self.peers.send(from, SNAPSHOT, &message, SNAPSHOT_PATIENCE);
        let mut body = answer.await.map_err(|error| unavailable(format!("node {from}: {error}")))?;
        let broken = |error: RpcError| unavailable(format!("node {from} broke off its snapshot: {error}"));
        // The head is a piece of its own, which the network may have cut.
        let mut buffer: Vec<u8> = Vec::new();
        let (head, rest) = loop {
            let piece = body.next().await;
            let piece = piece.ok_or_else(|| unavailable(format!("node {from} sent no snapshot")))?;
            buffer.extend_from_slice(&piece.map_err(broken)?);
            if let Some((head, used)) = ReceivedHead::decode(&buffer)? {
                break (head, Bytes::from(buffer).slice(used..));
            }
        };
        let (pieces, received) = mpsc::channel::<Result<Bytes, MetaError>>(PIECES_WAITING_MAX);
        let (homes, durable) = (self.homes.clone(), head.durable());
        let writing = tokio::task::spawn_blocking(move || homes.receive_snapshot(shard, &durable, received));
        let feed = async move {
            if !rest.is_empty() && pieces.send(Ok(rest)).await.is_err() {
                return;
            }
            while let Some(piece) = body.next().await {
                if pieces.send(piece.map_err(broken)).await.is_err() {
                    return;
                }
            }
        };
        feed.await;
        writing.await.map_err(|error| io("a task")(std::io::Error::other(error)))??;
        Ok(head)
    }

    /// Takes a snapshot over in the background, one of a shard at a time.
    fn begin_take_over(self: &Arc<Self>, shard: ShardId, from: NodeId) {
        let mut running = self.taking_over.lock();
        if running.get(&shard).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let inner = self.clone();
        let task = tokio::spawn(async move {
            if let Err(error) = inner.take_over(shard, from).await {
                tracing::warn!(%shard, %error, "a snapshot was not taken over; it is tried again");
            }
        });
        running.insert(shard, task);
    }

    /// The leader at `from` purged what this replica would need next: goes on from its snapshot.
    async fn take_over(&self, shard: ShardId, from: NodeId) -> Result<(), MetaError> {
        let group = self.group(shard)?;
        let head = self.fetch_snapshot(shard, from).await?;
        let log = self.log.group(shard);
        let exchange = async move {
            let Some(index) = head.index().filter(|index| log.state().last < Some(*index)) else {
                return Ok(());
            };
            log.purge_through(index, head.log_id()).await?;
            tracing::info!(%shard, index, "a replica goes on from another node's snapshot");
            Ok(())
        };
        group.exchange(exchange.boxed()).await
    }

    /// Makes a replica of a shard that this node holds nothing of, from whichever member has it.
    pub(super) async fn join_shard(&self, shard: ShardId) -> Result<(), MetaError> {
        let mut last = MetaError::Unavailable { shard, reason: "there are no other nodes".to_owned() };
        for member in self.peers.others() {
            let head = match self.fetch_snapshot(shard, member.node).await {
                Ok(head) => head,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let voters = voters_of(head.durable().membership.as_deref());
            if voters.map_err(io("read a snapshot's members"))?.contains(&self.peers.me()) {
                self.homes.forget(shard)?;
                return Err(MetaError::Damaged(format!(
                    "this node votes on shard {shard} and has lost what it promised there: remove it from the grid on another \
                     node, empty its folders, and let it join as a new one"
                )));
            }
            if let Some(index) = head.index() {
                self.log.group(shard).purge_through(index, head.log_id()).await?;
            }
            self.start_group(shard).await?;
            tracing::info!(%shard, from = %member.node, "this node replicates a metadata shard");
            return Ok(());
        }
        Err(last)
    }

    /// See `MetaStore::continue_alone`.
    pub(super) async fn continue_alone(&self) -> Result<(), MetaError> {
        let groups: Vec<(ShardId, Group)> =
            self.groups.read().iter().map(|(shard, group)| (*shard, group.clone())).collect();
        for (shard, group) in groups {
            group.force_alone(self.log.group(shard)).await?;
            tracing::warn!(%shard, "this node goes on as the only voter, by order");
        }
        Ok(())
    }

    /// The map as this node's replica of the root shard has it; may be behind.
    pub(super) async fn known_ranges(&self) -> Result<Vec<(ShardId, ShardRange)>, MetaError> {
        let (file, _) = self.group(ShardId::ROOT)?.file()?;
        let page = self
            .readers
            .run(move || file.read(|view| view.records(RecordKind::ShardRange, None, RANGES_PAGE)));
        let page = page.await.ok_or_else(|| self.closed_error(ShardId::ROOT))?;
        let page = page.map_err(|error| match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::State(error) => error.of_shard(ShardId::ROOT),
        })?;
        page.iter().map(|record| decode_range(&record.key, &record.value)).collect()
    }

    /// One look: children of this node's shards live, shards of the map that this node lacks are fetched, groups that it
    /// leads follow the members. What fails does not hold the rest up. `mapped`: what the root shard had applied when the
    /// map was last found complete.
    async fn look(self: &Arc<Self>, mapped: &mut Option<u64>) {
        let note = |shard: ShardId, done: Result<(), MetaError>| {
            if let Err(error) = &done {
                tracing::debug!(%shard, %error, "a replica is not as it should be; it is tried again");
            }
            done.is_ok()
        };
        let parents: Vec<ShardId> = self.groups.read().keys().copied().collect();
        for parent in parents {
            note(parent, self.see_child(parent).await);
        }
        note(ShardId::ROOT, self.follow_map(mapped, note).await);
        let members = self.peers.members();
        let groups = self.groups.read().clone();
        for (shard, group) in groups {
            note(shard, self.follow_members(shard, &group, &members).await);
        }
    }

    /// A change of voters goes on, if a majority can be had, after this has stopped waiting for it: other shards wait, and
    /// whoever shuts the store down.
    async fn follow_members(
        &self,
        shard: ShardId,
        group: &Group,
        members: &[MetaMember],
    ) -> Result<(), MetaError> {
        let mut stop = self.stop.subscribe();
        let unfinished = |reason: &str| MetaError::Unavailable { shard, reason: reason.to_owned() };
        tokio::select! {
            followed = group.follow_members(members) => followed.map(|_| ()),
            () = tokio::time::sleep(CHANGE_PATIENCE) => Err(unfinished("its change of voters takes long")),
            _ = stop.wait_for(|stop| *stop) => Err(unfinished("the store is shut down")),
        }
    }

    async fn see_child(self: &Arc<Self>, parent: ShardId) -> Result<(), MetaError> {
        let (file, _) = self.group(parent)?.file()?;
        let split = file.writer().split().cloned();
        match split.filter(|split| split.committed) {
            Some(split) if self.is_left_out(&split) => self.fetch_or_bear(split.child).await,
            Some(split) => self.live_child(parent, &split).await,
            None => Ok(()),
        }
    }

    async fn follow_map(
        self: &Arc<Self>,
        mapped: &mut Option<u64>,
        note: impl Fn(ShardId, Result<(), MetaError>) -> bool,
    ) -> Result<(), MetaError> {
        let applied = self.group(ShardId::ROOT)?.status().applied;
        if *mapped == Some(applied) {
            return Ok(());
        }
        let mut complete = true;
        for (shard, range) in self.known_ranges().await? {
            self.map.write().insert_new(range.start, shard);
            if !self.groups.read().contains_key(&shard) {
                complete &= note(shard, self.hold_shard(shard).await);
            }
        }
        *mapped = complete.then_some(applied);
        Ok(())
    }

    /// Makes this node hold a shard that it lacks: from its own file, or from another node.
    async fn hold_shard(&self, shard: ShardId) -> Result<(), MetaError> {
        let files: Vec<_> = self.groups.read().values().filter_map(|group| group.file().ok()).collect();
        let copies = |file: &ShardFile| file.writer().split().is_some_and(|split| split.child == shard);
        if files.iter().any(|(file, _)| copies(file)) {
            let reason = "this node's replica of its parent has not handed it over yet".to_owned();
            return Err(MetaError::Unavailable { shard, reason });
        }
        self.fetch_or_bear(shard).await
    }

    async fn fetch_or_bear(&self, shard: ShardId) -> Result<(), MetaError> {
        if self.has_run(shard) && self.holds(shard) {
            // This node's map was behind when the others were opened: the root shard was rebuilt from an old snapshot.
            return self.start_group(shard).await;
        }
        if self.ensure_late_birth(shard).await? { Ok(()) } else { self.join_shard(shard).await }
    }

    /// Moves the leadership of a shard, if one should go from this node now.
    async fn spread_leaders(&self, leaders: &mut Leaders) {
        let members = self.peers.members();
        let groups = self.groups.read().clone();
        let led: Vec<Led> = groups.values().filter_map(Group::led).collect();
        let now = self.clock.since_boot();
        let able = |one: Move| {
            let Some(group) = groups.get(&one.shard) else { return false };
            // Who leads a shard drives its split.
            let splits = group.file().map_or(true, |(file, _)| file.writer().split().is_some());
            !splits && group.could_take_over(one.to, &members)
        };
        let Some(chosen) = leaders.next(now, &members, &led, able) else { return };
        let Some(group) = groups.get(&chosen.shard) else { return };
        if group.hand_over_to(chosen.to).await {
            tracing::info!(shard = %chosen.shard, to = chosen.to, "leadership moved");
        } else {
            tracing::warn!(shard = %chosen.shard, to = chosen.to, "leadership was not taken over");
            leaders.not_taken(self.clock.since_boot(), chosen.shard);
        }
    }
}

/// Beats until `stop`; whatever ends it, groups mind their own timers afterwards.
pub(super) async fn beat(inner: Weak<Inner>, mut stop: watch::Receiver<bool>) {
    struct Timers(Weak<Inner>);
    impl Drop for Timers {
        fn drop(&mut self) {
            if let Some(inner) = self.0.upgrade() {
                inner.groups.read().values().for_each(Group::run_timer);
            }
        }
    }
    let _timers = Timers(inner.clone());
    let mut next = tokio::time::interval(BEAT);
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = next.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(inner) = inner.upgrade() else { return };
        let groups: Vec<Group> = inner.groups.read().values().cloned().collect();
        inner.heartbeats.beat(&groups).await;
    }
}

/// Looks until `stop`.
pub(super) async fn hold(inner: Weak<Inner>, mut stop: watch::Receiver<bool>) {
    let (mut deletions, mut mapped) = (Vec::new(), None);
    let mut looked = tokio::time::Instant::now();
    let (mut leaders, look_now) = match inner.upgrade() {
        Some(inner) => (Leaders::new(inner.peers.me(), inner.config.leader_settle), inner.look_now.clone()),
        None => return,
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = look_now.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(inner) = inner.upgrade() else { return };
        inner.look(&mut mapped).await;
        if !inner.peers.is_alone() {
            inner.spread_leaders(&mut leaders).await;
        }
        let leads = inner.group(ShardId::ROOT).is_ok_and(|root| root.leads());
        if leads && !inner.peers.is_alone() && looked.elapsed() >= DELETION_PATIENCE {
            looked = tokio::time::Instant::now();
            match inner.undo_deletions(Some(&mut deletions)).await {
                Ok(0) => {}
                Ok(undone) => tracing::warn!(undone, "bucket deletions that were cut short are undone"),
                Err(error) => tracing::debug!(%error, "deletions of buckets cannot be looked at now"),
            }
        }
    }
}

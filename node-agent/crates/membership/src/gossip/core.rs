//! The decisions of gossip, without I/O: packets, answers and the time go in, commands come out.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use foca::{AccumulatingRuntime, Codec, OwnedNotification, PostcardCodec};
use grid_types::NodeId;
use parking_lot::Mutex;
use sys::Random;

use super::config::{FANOUT, GossipConfig};
use super::peer::{Draws, Peer};
use super::view::{GridView, Liveness, MemberView, NodeState};
use super::wire::{self, StateVersion};
use crate::member_list::MemberList;

/// The view is made anew at most so often, save where something is known to have changed.
const VIEW_PERIOD: Duration = Duration::from_millis(100);
/// A pull that was not answered is tried again after this time.
const PULL_AGAIN: Duration = Duration::from_secs(2);
/// States that are pulled at once.
pub(super) const PULLS_MAX: usize = 8;

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Send these bytes; they may be lost.
    Send(NodeId, Vec<u8>),
    /// Get this node's state and hand it to `pulled`.
    Pull(NodeId),
}

pub(super) struct Core {
    node: NodeId,
    incarnation: u64,
    config: GossipConfig,
    random: Arc<dyn Random>,
    swim: foca::Foca<Peer, PostcardCodec, Draws, Versions>,
    effects: AccumulatingRuntime<Peer>,
    /// Somebody answers this node under its present name.
    connected: bool,
    timers: BinaryHeap<Pending>,
    /// Counts timers, so that those of one moment and kind keep their order.
    timer_count: u64,
    next_call: Duration,
    members: BTreeSet<NodeId>,
    removed: BTreeSet<NodeId>,
    seen: Arc<Mutex<Seen>>,
    /// By node: when the running pull began, or the failed one may be tried again.
    pulls: BTreeMap<NodeId, Pull>,
    own: NodeState,
    /// What is published when `publish_period` is over.
    waiting: Option<NodeState>,
    published: Option<Duration>,
    view: GridView,
    view_made: Duration,
    view_stale: bool,
    commands: Vec<Command>,
}

enum Pull {
    Running,
    After(Duration),
}

impl Core {
    /// A node that knows itself alone.
    pub(super) fn new(
        node: NodeId,
        incarnation: u64,
        own: NodeState,
        config: GossipConfig,
        random: Arc<dyn Random>,
        now: Duration,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen {
            own: node,
            members: BTreeSet::from([node]),
            versions: BTreeMap::new(),
            told: BTreeMap::new(),
            wanted: BTreeSet::new(),
        }));
        let me = Peer { node, incarnation, renewal: 0 };
        let swim = foca::Foca::with_custom_broadcast(
            me,
            config.swim(),
            Draws(Arc::clone(&random)),
            PostcardCodec,
            Versions(Arc::clone(&seen)),
        );
        let mut core = Self {
            node,
            incarnation,
            config,
            random,
            swim,
            effects: AccumulatingRuntime::new(),
            connected: false,
            timers: BinaryHeap::new(),
            timer_count: 0,
            next_call: now,
            members: BTreeSet::from([node]),
            removed: BTreeSet::new(),
            seen,
            pulls: BTreeMap::new(),
            own: NodeState { node, incarnation, version: 0, ..own },
            waiting: None,
            published: None,
            view: GridView::default(),
            view_made: now,
            view_stale: true,
            commands: Vec::new(),
        };
        core.refresh(now);
        core
    }

    /// Who counts from now on.
    pub(super) fn set_members(&mut self, list: &MemberList, now: Duration) {
        self.members = list.current().map(|member| member.node).collect();
        self.members.insert(self.node);
        self.removed =
            list.members.iter().filter(|member| member.removed.is_some()).map(|member| member.node).collect();
        {
            let mut seen = self.seen.lock();
            seen.members.clone_from(&self.members);
            seen.versions.retain(|node, _| self.members.contains(node));
            seen.told.retain(|node, _| self.members.contains(node));
            seen.wanted.retain(|node| self.members.contains(node));
        }
        self.pulls.retain(|node, _| self.members.contains(node));
        self.next_call = now;
        self.refresh(now);
        self.advance(now);
    }

    /// What this node says of itself from now on, or from the end of `publish_period` on.
    pub(super) fn publish(&mut self, state: NodeState, now: Duration) {
        self.waiting = Some(state);
        self.advance(now);
    }

    /// A packet of this member. Packets of others are not for this function to judge and ignored.
    pub(super) fn packet(
        &mut self,
        from: NodeId,
        bytes: &[u8],
        now: Duration,
    ) -> Result<(), wire::StateError> {
        if !self.members.contains(&from) || from == self.node {
            return Ok(());
        }
        let (version, packet) = wire::decode_packet(bytes)?;
        let header =
            PostcardCodec.decode_header(packet).map_err(|_: postcard::Error| wire::StateError::Content)?;
        let header: foca::Header<Peer> = header;
        if header.src.node != from {
            return Err(wire::StateError::Other(from, header.src.node));
        }
        self.seen.lock().learn(from, version);
        let done = self.swim.handle_data(packet, &mut self.effects);
        self.view_stale = true;
        self.advance(now);
        match done {
            Err(foca::Error::Decode(_) | foca::Error::MalformedPacket) => Err(wire::StateError::Content),
            _ => Ok(()),
        }
    }

    /// What became of `Command::Pull`.
    pub(super) fn pulled(&mut self, from: NodeId, state: Option<NodeState>, now: Duration) {
        match state {
            Some(state) if self.members.contains(&from) && state.node == from => {
                self.pulls.remove(&from);
                let version = StateVersion { incarnation: state.incarnation, version: state.version };
                self.seen.lock().got(from, version);
                let held = self.held(from);
                if held.is_none_or(|held| version > held)
                    && let Some(member) = self.view.members.get_mut(&from)
                {
                    member.state = Some(Arc::new(state));
                    self.view.epoch += 1;
                }
            }
            _ => {
                self.pulls.insert(from, Pull::After(now + PULL_AGAIN));
            }
        }
        self.advance(now);
    }

    /// As if a packet had told of this version.
    #[cfg(test)]
    pub(super) fn rumour(&mut self, node: NodeId, version: StateVersion, now: Duration) {
        self.seen.lock().learn(node, version);
        self.advance(now);
    }

    /// Runs what is due at `now`.
    pub(super) fn tick(&mut self, now: Duration) {
        self.advance(now);
    }

    /// When `tick` is wanted again.
    pub(super) fn next_tick(&self, now: Duration) -> Duration {
        let timer = self.timers.peek().map_or(Duration::MAX, |pending| pending.at);
        let publish = match (&self.waiting, self.published) {
            (Some(_), Some(published)) => published + self.config.publish_period,
            (Some(_), None) => now,
            (None, _) => Duration::MAX,
        };
        let view = if self.view_stale { self.view_made + VIEW_PERIOD } else { Duration::MAX };
        timer.min(self.next_call).min(publish).min(view)
    }

    /// What is to be done since the last call.
    pub(super) fn commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// The grid as this node sees it.
    pub(super) fn view(&self) -> &GridView {
        &self.view
    }

    /// What this node says of itself, as others pull it.
    pub(super) fn own(&self) -> &NodeState {
        &self.own
    }

    /// Tells some others that this node goes.
    pub(super) fn leave(&mut self, now: Duration) {
        if let Err(error) = self.swim.leave_cluster(&mut self.effects) {
            tracing::debug!(%error, "telling others that this node goes");
        }
        self.collect(now);
    }

    fn advance(&mut self, now: Duration) {
        self.collect(now);
        while self.timers.peek().is_some_and(|pending| pending.at <= now) {
            let Some(pending) = self.timers.pop() else { break };
            if let Err(error) = self.swim.handle_timer(pending.timer, &mut self.effects) {
                // After a pause of the machine a probe ends late: it begins anew by itself.
                tracing::debug!(%error, "a timer of the failure detector");
            }
            self.view_stale = true;
            self.collect(now);
        }
        self.publish_waiting(now);
        if self.view_stale && now >= self.view_made + VIEW_PERIOD {
            self.refresh(now);
        }
        if now >= self.next_call {
            self.next_call = now + self.config.call_period;
            self.call(now);
            self.refresh(now);
        }
        self.pull(now);
    }

    /// Takes over what the failure detector wants done.
    fn collect(&mut self, now: Duration) {
        while let Some((to, packet)) = self.effects.to_send() {
            if self.members.contains(&to.node) && !self.spurious(to, &packet) {
                let own = StateVersion { incarnation: self.own.incarnation, version: self.own.version };
                self.commands.push(Command::Send(to.node, wire::encode_packet(own, &packet)));
            }
        }
        while let Some((after, timer)) = self.effects.to_schedule() {
            self.timer_count += 1;
            self.timers.push(Pending { at: now + after, timer, count: self.timer_count });
        }
        while let Some(notification) = self.effects.to_notify() {
            self.view_stale = true;
            match notification {
                OwnedNotification::Active => self.connected = true,
                OwnedNotification::Idle | OwnedNotification::Defunct => self.connected = false,
                OwnedNotification::Rejoin(_) => {
                    tracing::warn!("the grid took this node for dead: it comes back under a new name");
                    self.connected = false;
                    self.next_call = now;
                }
                _ => {}
            }
        }
    }

    /// foca 2.0 tells a suspect that it is dead when its time is up, even where it objected in time: such a packet would make
    /// it take a new name for nothing.
    fn spurious(&self, to: Peer, packet: &[u8]) -> bool {
        let header: Result<foca::Header<Peer>, _> = PostcardCodec.decode_header(packet);
        header.is_ok_and(|header| header.message == foca::Message::TurnUndead)
            && self
                .swim
                .iter_membership_state()
                .any(|member| *member.id() == to && member.state() != foca::State::Down)
    }

    fn publish_waiting(&mut self, now: Duration) {
        let due = self.published.is_none_or(|published| now >= published + self.config.publish_period);
        let Some(state) = self.waiting.take_if(|_| due) else { return };
        let version = self.own.version + 1;
        self.own = NodeState { node: self.node, incarnation: self.incarnation, version, ..state };
        self.published = Some(now);
        let news = (self.node, StateVersion { incarnation: self.incarnation, version });
        match postcard::to_allocvec(&news) {
            Ok(news) => {
                if let Err(error) = self.swim.add_broadcast(&news) {
                    tracing::debug!(%error, "telling others of a new state");
                }
            }
            Err(error) => tracing::debug!(%error, "telling others of a new state"),
        }
        self.refresh(now);
    }

    /// Calls members that are not alive: they may have come back, or know of nobody yet. A node that nobody answers under its
    /// present name calls all: to those that know it by another name it can say nothing else.
    fn call(&mut self, now: Duration) {
        let mut quiet: Vec<NodeId> = self
            .view
            .members
            .iter()
            .filter(|(node, member)| {
                **node != self.node && (member.liveness != Liveness::Alive || !self.connected)
            })
            .map(|(node, _)| *node)
            .collect();
        for _ in 0..FANOUT.get() {
            if quiet.is_empty() {
                break;
            }
            let bound = u64::try_from(quiet.len()).unwrap_or(u64::MAX);
            let at = usize::try_from(self.random.below(bound)).unwrap_or_default();
            let node = quiet.swap_remove(at);
            if let Err(error) = self.swim.announce(Peer::any(node), &mut self.effects) {
                tracing::debug!(%error, %node, "calling a quiet node");
            }
        }
        self.collect(now);
    }

    fn held(&self, node: NodeId) -> Option<StateVersion> {
        let state = self.view.members.get(&node)?.state.as_ref()?;
        Some(StateVersion { incarnation: state.incarnation, version: state.version })
    }

    /// Pulls states that are known to be newer than those held.
    fn pull(&mut self, now: Duration) {
        let mut running = self.pulls.values().filter(|pull| matches!(pull, Pull::Running)).count();
        let wanted: Vec<NodeId> = self.seen.lock().wanted.iter().copied().collect();
        for node in wanted {
            let alive = self.view.liveness(node) == Liveness::Alive;
            let free = match self.pulls.get(&node) {
                Some(Pull::Running) => false,
                Some(Pull::After(after)) => now >= *after,
                None => true,
            };
            if alive && free && running < PULLS_MAX {
                running += 1;
                self.pulls.insert(node, Pull::Running);
                self.commands.push(Command::Pull(node));
            }
        }
    }

    /// A node that takes a new name loses foca's timers: whom it suspects then, it would suspect for ever. Given up in their place;
    /// who lives is told, and comes back under a new name.
    fn is_forgotten_suspect(&self, node: NodeId, now: Duration) -> bool {
        let member = self.view.members.get(&node);
        member.is_some_and(|member| {
            member.liveness == Liveness::Suspect && now >= member.since + self.config.forgotten_after()
        })
    }

    /// Makes the view anew.
    fn refresh(&mut self, now: Duration) {
        (self.view_made, self.view_stale) = (now, false);
        let mut lives: BTreeMap<NodeId, Liveness> = BTreeMap::new();
        let mut dead = Vec::new();
        let mut seen = self.seen.lock();
        for member in self.swim.iter_membership_state() {
            let liveness = match member.state() {
                foca::State::Alive => Liveness::Alive,
                foca::State::Suspect => Liveness::Suspect,
                foca::State::Down => Liveness::Down,
            };
            let ghost = liveness != Liveness::Down && self.removed.contains(&member.id().node);
            if ghost || liveness == Liveness::Suspect && self.is_forgotten_suspect(member.id().node, now) {
                dead.push(foca::Member::down(*member.id()));
            }
            if liveness == Liveness::Alive {
                // Whoever is new has something to say, even before it says which version.
                let first = StateVersion { incarnation: member.id().incarnation, version: 0 };
                seen.learn(member.id().node, first);
            }
            lives.insert(member.id().node, liveness);
        }
        drop(seen);
        lives.insert(self.node, Liveness::Alive);
        if !dead.is_empty() {
            if let Err(error) = self.swim.apply_many(dead.into_iter(), true, &mut self.effects) {
                tracing::debug!(%error, "giving up removed members and forgotten suspects");
            }
            self.collect(now);
        }
        let mut changed = self.view.members.len() != self.members.len();
        let mut members = BTreeMap::new();
        for node in &self.members {
            let before = self.view.members.get(node);
            let liveness = match (lives.get(node), before) {
                (Some(liveness), _) => *liveness,
                (None, Some(before))
                    if before.liveness != Liveness::Suspect
                        || now >= before.since + self.config.unheard_for =>
                {
                    Liveness::Down
                }
                (None, _) => Liveness::Suspect,
            };
            let state = if *node == self.node {
                let kept = before.and_then(|before| before.state.clone());
                kept.filter(|kept| **kept == self.own).or_else(|| Some(Arc::new(self.own.clone())))
            } else {
                before.and_then(|before| before.state.clone())
            };
            let since =
                before.filter(|before| before.liveness == liveness).map_or(now, |before| before.since);
            let next = MemberView { liveness, since, state };
            changed |= before != Some(&next);
            members.insert(*node, next);
        }
        if changed {
            self.view = GridView { epoch: self.view.epoch + 1, members };
        }
    }
}

/// A timer of the failure detector. The earliest is the greatest; of one moment, in the detector's own order.
struct Pending {
    at: Duration,
    timer: foca::Timer<Peer>,
    count: u64,
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at).then_with(|| other.timer.cmp(&self.timer)).then(other.count.cmp(&self.count))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pending {}

/// Newest versions that were heard of.
struct Seen {
    own: NodeId,
    members: BTreeSet<NodeId>,
    versions: BTreeMap<NodeId, StateVersion>,
    /// Newest versions that were passed on.
    told: BTreeMap<NodeId, StateVersion>,
    /// Nodes whose newest version is not held.
    wanted: BTreeSet<NodeId>,
}

impl Seen {
    fn learn(&mut self, node: NodeId, version: StateVersion) {
        if node != self.own && self.members.contains(&node) && raise(&mut self.versions, node, version) {
            self.wanted.insert(node);
        }
    }

    /// This version is held. The node's own word ends what others may have made up of it.
    fn got(&mut self, node: NodeId, version: StateVersion) {
        self.versions.insert(node, version);
        self.wanted.remove(&node);
    }

    /// Are others to be told? Once for each version.
    fn tell(&mut self, node: NodeId, version: StateVersion) -> bool {
        self.members.contains(&node) && raise(&mut self.told, node, version)
    }
}

/// Is that newer than what is known?
fn raise(known: &mut BTreeMap<NodeId, StateVersion>, node: NodeId, version: StateVersion) -> bool {
    let news = known.get(&node).is_none_or(|known| version > *known);
    if news {
        known.insert(node, version);
    }
    news
}

/// Tells others of new versions, through the packets of the failure detector.
struct Versions(Arc<Mutex<Seen>>);

/// The news about one node; newer ones replace older ones.
struct News(NodeId);

impl foca::Invalidates for News {
    fn invalidates(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl foca::BroadcastHandler<Peer> for Versions {
    type Key = News;
    type Error = Infallible;

    fn receive_item(&mut self, data: &[u8], _: Option<&Peer>) -> Result<Option<News>, Infallible> {
        // What cannot be read is of a newer release, or not worth the packet that carries it.
        let Ok((node, version)) = postcard::from_bytes::<(NodeId, StateVersion)>(data) else {
            return Ok(None);
        };
        let mut seen = self.0.lock();
        seen.learn(node, version);
        Ok(seen.tell(node, version).then_some(News(node)))
    }
}

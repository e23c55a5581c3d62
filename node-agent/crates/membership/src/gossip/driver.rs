//! The task that owns the core: packets and timers in, calls out.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, NodeId};
use parking_lot::Mutex;
use rpc::{Body, Caller, Network, NetworkExt, RpcError, Service, Services, collect, once};
use sys::{Clock, Random};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::config::{GossipConfig, PACKET_BYTES_MAX};
use super::core::{Command, Core, PULLS_MAX};
use super::view::{GridView, NodeState};
use super::wire;
use crate::member_list::MemberList;

/// Name under which gossip is registered.
pub const SERVICE: &str = "gossip";
/// Packets and orders that wait for the task; packets beyond are lost, as on any net.
const EVENTS_MAX: usize = 256;
/// Packets on their way at once; those beyond are lost. A round of the largest grid needs some 20.
const SENDS_MAX: usize = 64;
/// A packet that takes longer came too late for the probe that waits for it.
const PACKET_DEADLINE: Duration = Duration::from_secs(1);
/// A state of 64 KiB on a slow and busy link.
const PULL_DEADLINE: Duration = Duration::from_secs(5);
/// The goodbye is given so long.
const GOODBYE: Duration = Duration::from_millis(500);
/// Bytes of the sender's version before a packet.
const PACKET_HEAD_BYTES_MAX: usize = 32;

/// Gossip of this node. Dropping it stops it without a goodbye.
pub struct Gossip {
    events: mpsc::Sender<Event>,
    view: watch::Receiver<Arc<GridView>>,
    services: Services,
    task: Mutex<Option<JoinHandle<()>>>,
}

enum Event {
    Packet(NodeId, Bytes),
    Pulled(NodeId, Option<NodeState>),
    Members(MemberList),
    Publish(NodeState),
    Shutdown(oneshot::Sender<()>),
}

impl Gossip {
    /// Starts as a grid of one and answers others from now on. `me` says who this node is and which start this is (`node`
    /// and `incarnation`), and what others are told until the first `publish`. Must be called within a runtime.
    pub fn start(
        me: NodeState,
        network: Arc<dyn Network>,
        services: &Services,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: GossipConfig,
    ) -> Self {
        let core = Core::new(me.node, me.incarnation, me, config, random, clock.since_boot());
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let (view_tx, view) = watch::channel(Arc::new(core.view().clone()));
        let own = Arc::new(ArcSwap::from_pointee(Bytes::new()));
        services.add(SERVICE, Arc::new(GossipService { events: events.clone(), own: Arc::clone(&own) }));
        let driver = Driver {
            core,
            network,
            clock,
            events: events.downgrade(),
            own,
            own_version: None,
            view: view_tx,
            sends: Arc::new(Semaphore::new(SENDS_MAX)),
            pulls: Arc::new(Semaphore::new(PULLS_MAX)),
            tasks: JoinSet::new(),
        };
        let task = tokio::spawn(driver.run(inbox));
        Self { events, view, services: services.clone(), task: Mutex::new(Some(task)) }
    }

    /// Who counts from now on. Safe to drop once it was polled.
    pub async fn set_members(&self, list: &MemberList) {
        self.order(Event::Members(list.clone())).await;
    }

    /// What this node says of itself from now on; `node`, `incarnation` and `version` are filled in. Publications that follow
    /// each other within a second are joined.
    pub async fn publish(&self, state: NodeState) {
        self.order(Event::Publish(state)).await;
    }

    async fn order(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            tracing::debug!("gossip has stopped and takes no more orders");
        }
    }

    /// The grid as this node sees it now.
    pub fn view(&self) -> Arc<GridView> {
        self.view.borrow().clone()
    }

    /// Wakes with each change of the view.
    pub fn changed(&self) -> watch::Receiver<Arc<GridView>> {
        self.view.clone()
    }

    /// Says goodbye, so that others need not find out, and stops.
    pub async fn shutdown(&self) {
        self.services.remove(SERVICE);
        let (done, gone) = oneshot::channel();
        self.order(Event::Shutdown(done)).await;
        let _ = gone.await;
        let task = self.task.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().take() {
            task.abort();
        }
    }
}

struct Driver {
    core: Core,
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
    /// Weak, so that the inbox ends with its owners.
    events: mpsc::WeakSender<Event>,
    own: Arc<ArcSwap<Bytes>>,
    /// Version of what `own` holds.
    own_version: Option<u64>,
    view: watch::Sender<Arc<GridView>>,
    sends: Arc<Semaphore>,
    pulls: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        loop {
            self.carry_out();
            let now = self.clock.since_boot();
            let wait = self.core.next_tick(now).saturating_sub(now);
            tokio::select! {
                event = inbox.recv() => {
                    let now = self.clock.since_boot();
                    match event {
                        None => return,
                        Some(Event::Shutdown(done)) => {
                            self.goodbye(now).await;
                            let _ = done.send(());
                            return;
                        }
                        Some(event) => self.take(event, now),
                    }
                }
                () = tokio::time::sleep(wait) => self.core.tick(self.clock.since_boot()),
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
            }
        }
    }

    fn take(&mut self, event: Event, now: Duration) {
        match event {
            Event::Packet(from, bytes) => {
                if let Err(error) = self.core.packet(from, &bytes, now) {
                    tracing::debug!(%from, %error, "a packet of gossip");
                }
            }
            Event::Pulled(from, state) => self.core.pulled(from, state, now),
            Event::Members(list) => self.core.set_members(&list, now),
            Event::Publish(state) => self.core.publish(state, now),
            Event::Shutdown(_) => {}
        }
    }

    fn carry_out(&mut self) {
        for command in self.core.commands() {
            match command {
                Command::Send(to, packet) => self.send(to, packet),
                Command::Pull(from) => self.pull(from),
            }
        }
        if self.own_version != Some(self.core.own().version) {
            self.own_version = Some(self.core.own().version);
            match wire::encode_state(self.core.own()) {
                Ok(bytes) => self.own.store(Arc::new(bytes.into())),
                Err(error) => tracing::warn!(%error, "others cannot be told the state of this node"),
            }
        }
        if self.view.borrow().epoch != self.core.view().epoch {
            self.view.send_replace(Arc::new(self.core.view().clone()));
        }
    }

    fn send(&mut self, to: NodeId, packet: Vec<u8>) {
        let Ok(permit) = Arc::clone(&self.sends).try_acquire_owned() else {
            tracing::debug!(%to, "too many packets of gossip are on their way: this one is lost");
            return;
        };
        let answer = self.network.call(to, wire::PACKET, packet.into(), PACKET_DEADLINE);
        self.tasks.spawn(async move {
            if let Err(error) = answer.await {
                tracing::trace!(%to, %error, "a packet of gossip was lost");
            }
            drop(permit);
        });
    }

    fn pull(&mut self, from: NodeId) {
        let (permits, events) = (Arc::clone(&self.pulls), self.events.clone());
        let answer = self.network.call(from, wire::STATE, Bytes::new(), PULL_DEADLINE);
        self.tasks.spawn(async move {
            let permit = permits.acquire_owned().await;
            let state = match answer.await {
                Ok(bytes) => wire::decode_state(from, &bytes).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let state =
                state.map_err(|error| tracing::debug!(%from, error, "pulling the state of a node")).ok();
            drop(permit);
            if let Some(events) = events.upgrade() {
                let _ = events.send(Event::Pulled(from, state)).await;
            }
        });
    }

    async fn goodbye(&mut self, now: Duration) {
        self.core.leave(now);
        self.carry_out();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, all).await;
    }
}

struct GossipService {
    events: mpsc::Sender<Event>,
    own: Arc<ArcSwap<Bytes>>,
}

impl Service for GossipService {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        match method {
            "packet" => {
                let events = self.events.clone();
                async move {
                    let packet = collect(body, PACKET_BYTES_MAX.get() + PACKET_HEAD_BYTES_MAX).await?;
                    match events.try_send(Event::Packet(caller.node, packet)) {
                        Ok(()) => Ok(once(Bytes::new())),
                        Err(_) => {
                            Err(RpcError::new(ErrorCode::SlowDown, "gossip is behind: the packet is lost"))
                        }
                    }
                }
                .boxed()
            }
            "state" => {
                let state = Bytes::clone(&self.own.load());
                async move { Ok(once(state)) }.boxed()
            }
            _ => {
                let error = RpcError::new(ErrorCode::InvalidArgument, "gossip knows packet and state alone");
                async move { Err(error) }.boxed()
            }
        }
    }
}

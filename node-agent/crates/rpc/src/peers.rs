//! The way to the other members: two connections a peer, opened when first needed.
//!
//! Invariants: a connection carries calls only after the peer proved the key of the node that was asked for; one
//! attempt to connect serves all that wait for it; after a failed one, calls fail at once for a short time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use futures_util::stream::StreamExt;
use grid_types::NodeId;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use tokio::time::{Instant, timeout_at};

use crate::link::{Dial, Failed, Link};
use crate::message::{DEADLINE_MAX, Progress};
use crate::runtimes::Runtimes;
use crate::{Body, Caller, Lane, Method, Network, NodeKey, RpcConfig, RpcError, Services, tls};

/// The network of this node. Cheap to clone; connections end with the last clone.
#[derive(Clone)]
pub struct Peers {
    table: Arc<Table>,
    local: Option<Services>,
}

struct Table {
    key: NodeKey,
    config: RpcConfig,
    runtimes: Runtimes,
    provider: CryptoProvider,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
}

#[derive(Default)]
struct Peer {
    addresses: Vec<SocketAddr>,
    control: Slot,
    bulk: Slot,
}

/// One of the two connections to a peer.
#[derive(Default)]
struct Slot {
    state: State,
    /// Attempts that failed one after the other.
    failures: u32,
    /// Attempts so far: what an old one brings is not taken.
    attempts: u64,
}

type Attempt = Shared<BoxFuture<'static, Result<Link, RpcError>>>;

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Connecting(Attempt),
    Open(Link),
    Failed {
        until: Instant,
        error: RpcError,
    },
}

impl Peer {
    fn slot(&mut self, lane: Lane) -> &mut Slot {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl Slot {
    fn cut(&self) {
        if let State::Open(link) = &self.state {
            link.cut();
        }
    }
}

impl Peers {
    /// Knows nobody yet. Control connections live in the runtime that this is called in.
    pub fn new(key: NodeKey, config: RpcConfig) -> Self {
        let provider = tls::provider(codec::cpu_has_aes());
        let runtimes = Runtimes::new(&config);
        Self {
            table: Arc::new(Table { key, config, runtimes, provider, peers: Mutex::default() }),
            local: None,
        }
    }

    /// Calls to this node itself go to these services, without a connection.
    pub fn with_local(mut self, services: Services) -> Self {
        self.local = Some(services);
        self
    }

    /// Where a node can be reached, best first. Open connections stay; a failed one is tried again at once.
    pub fn set_addresses(&self, node: NodeId, addresses: Vec<SocketAddr>) {
        let mut peers = self.table.peers.lock();
        let peer = peers.entry(node).or_default();
        if peer.addresses == addresses {
            return;
        }
        peer.addresses = addresses;
        for slot in [&mut peer.control, &mut peer.bulk] {
            if matches!(slot.state, State::Failed { .. }) {
                slot.state = State::Closed;
            }
        }
    }

    /// Closes the connections to a node and forgets its addresses.
    pub fn forget(&self, node: NodeId) {
        if let Some(peer) = self.table.peers.lock().remove(&node) {
            peer.control.cut();
            peer.bulk.cut();
        }
    }
}

impl Network for Peers {
    fn send(
        &self,
        to: NodeId,
        method: Method,
        body: Body,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        let (started, deadline) = (Instant::now(), deadline.min(DEADLINE_MAX));
        if let Some(services) = self.local.clone().filter(|_| to == self.table.key.node()) {
            return here(self.table.key.clone(), services, method, body, started, deadline).boxed();
        }
        let table = self.table.clone();
        async move {
            let mut body = body;
            // A connection may have closed since it was last used: then the request did not leave, and goes once more.
            for _ in 0..2 {
                let link = table.link(to, method.lane, started + deadline).await?;
                match link.send(method, body, started, deadline).await {
                    Ok(answer) => return Ok(answer),
                    Err(Failed::Error(error)) => return Err(error),
                    Err(Failed::Unsent(untouched)) => body = untouched,
                }
            }
            Err(RpcError::not_sent(format!("node {to} closes its connections")))
        }
        .boxed()
    }
}

/// A call of this node to itself.
async fn here(
    key: NodeKey,
    services: Services,
    method: Method,
    body: Body,
    started: Instant,
    deadline: Duration,
) -> Result<Body, RpcError> {
    let caller = Caller {
        node: key.node(),
        public_key: key.public_key().to_vec(),
        member: true,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        exporter: [0; 32],
    };
    let progress = Progress::new();
    let moving = progress.clone();
    let body = body.inspect(move |_| moving.note()).boxed();
    // A task of its own, as on the other side of a wire: a caller that goes away does not stop what was begun.
    let answer = tokio::spawn(async move { services.answer(caller, method.path, body).await });
    match progress.wait(started, deadline, answer).await? {
        Ok(answer) => answer,
        Err(error) => Err(RpcError::unknown(format!("{}: broke off: {error}", method.path))),
    }
}

impl Table {
    /// An open connection, by the deadline. The attempt goes on for others when this caller gives up.
    async fn link(self: &Arc<Self>, node: NodeId, lane: Lane, until: Instant) -> Result<Link, RpcError> {
        let attempt = {
            let mut peers = self.peers.lock();
            let peer = peers
                .get_mut(&node)
                .ok_or_else(|| RpcError::not_sent(format!("no address of node {node} is known")))?;
            let addresses = peer.addresses.clone();
            let slot = peer.slot(lane);
            match &slot.state {
                State::Open(link) if !link.is_closed() => return Ok(link.clone()),
                State::Failed { until, error } if Instant::now() < *until => return Err(error.clone()),
                State::Connecting(attempt) => attempt.clone(),
                _ => {
                    slot.attempts += 1;
                    let attempt = self.clone().attempt(node, lane, addresses, slot.attempts);
                    slot.state = State::Connecting(attempt.clone());
                    attempt
                }
            }
        };
        match timeout_at(until, attempt).await {
            Ok(link) => link,
            Err(_) => Err(RpcError::not_sent(format!("no connection to node {node} in time"))),
        }
    }

    /// Runs to completion by itself and leaves the outcome in the slot.
    fn attempt(
        self: Arc<Self>,
        node: NodeId,
        lane: Lane,
        addresses: Vec<SocketAddr>,
        number: u64,
    ) -> Attempt {
        let runtime = self.runtimes.of(lane).clone();
        let task = runtime.spawn(async move {
            let outcome = self.connect(node, lane, &addresses).await;
            self.arrived(node, lane, number, &addresses, outcome)
        });
        async move {
            task.await
                .unwrap_or_else(|error| Err(RpcError::not_sent(format!("connecting broke off: {error}"))))
        }
        .boxed()
        .shared()
    }

    async fn connect(
        self: &Arc<Self>,
        node: NodeId,
        lane: Lane,
        addresses: &[SocketAddr],
    ) -> Result<Link, RpcError> {
        let tls = tls::client_config(&self.key, self.provider.clone(), Some(node), lane)
            .map_err(|error| RpcError::not_sent(format!("TLS: {error}")))?;
        let tls = Arc::new(tls);
        let mut tried = Vec::new();
        for address in addresses {
            let dial = Dial { tls: tls.clone(), address: *address, lane, config: &self.config };
            let table = Arc::downgrade(self);
            match dial.open(move |silent| ended(&table, node, lane, silent)).await {
                Ok(link) => return Ok(link),
                Err(error) => tried.push(error.detail),
            }
        }
        let tried = if tried.is_empty() { "it has no address".to_owned() } else { tried.join("; ") };
        Err(RpcError::not_sent(format!("node {node} cannot be reached: {tried}")))
    }

    fn arrived(
        &self,
        node: NodeId,
        lane: Lane,
        number: u64,
        tried: &[SocketAddr],
        outcome: Result<Link, RpcError>,
    ) -> Result<Link, RpcError> {
        let mut peers = self.peers.lock();
        let peer = peers.get_mut(&node);
        let Some(peer) = peer.and_then(|peer| (peer.slot(lane).attempts == number).then_some(peer)) else {
            if let Ok(link) = &outcome {
                link.cut();
            }
            return Err(RpcError::not_sent(format!("node {node} was forgotten")));
        };
        let outdated = peer.addresses != tried;
        let slot = peer.slot(lane);
        match &outcome {
            Ok(link) => {
                slot.failures = 0;
                slot.state = State::Open(link.clone());
            }
            // Other addresses came meanwhile: they are tried at once.
            Err(_) if outdated => slot.state = State::Closed,
            Err(error) => {
                let backoff = self.config.backoff_min.saturating_mul(1 << slot.failures.min(10));
                let until = Instant::now() + backoff.min(self.config.backoff_max);
                slot.failures += 1;
                slot.state = State::Failed { until, error: error.clone() };
            }
        }
        outcome
    }
}

/// A control connection that fell silent takes the bulk connection along, whose pings may wait for longer.
fn ended(table: &Weak<Table>, node: NodeId, lane: Lane, silent: bool) {
    if !silent || lane != Lane::Control {
        return;
    }
    if let Some(table) = table.upgrade()
        && let Some(peer) = table.peers.lock().get(&node)
    {
        peer.bulk.cut();
    }
}

//! Where the other replicas are: voter numbers, nodes, and the way to them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use grid_types::{ErrorCode, NodeId, Score};
use parking_lot::RwLock;
use rpc::{Body, Method, Network, NetworkExt, RpcError, once};
use tokio::sync::watch;

/// Number of a voter within the grid; a member's number, never used again. The founder is 1.
pub type VoterNumber = u64;

/// The founder's number.
pub const FOUNDER: VoterNumber = 1;

/// Asks a member for the generation of its metadata.
const GENERATION: Method = Method::control("/meta/generation");
/// For the answer.
const GENERATION_PATIENCE: Duration = Duration::from_secs(2);
/// Members asked at once: of a larger grid some, as calls between members tell the rest.
const ASKED_MAX: usize = 16;
/// Every other message begins with the generation of the caller's metadata.
const GENERATION_BYTES: usize = 8;

/// A member of the grid as the metadata sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaMember {
    /// Its number.
    pub number: VoterNumber,
    /// The node.
    pub node: NodeId,
    /// It answers, or has not been silent for long enough to be replaced as a voter.
    pub alive: bool,
    /// It did not answer a moment ago: it is given nothing to lead.
    pub suspected: bool,
    /// How fit it is to lead: `Score::LOCKED` leads nothing where another one can.
    pub score: Score,
}

impl MetaMember {
    /// A member with nothing against it.
    pub fn healthy(number: VoterNumber, node: NodeId) -> Self {
        Self { number, node, alive: true, suspected: false, score: Score::BEST }
    }
}

/// The members and the network between them. Cheap to clone.
#[derive(Clone)]
pub struct MetaPeers {
    inner: Arc<Inner>,
}

struct Inner {
    me: VoterNumber,
    network: Option<Arc<dyn Network>>,
    members: RwLock<Vec<MetaMember>>,
    /// Of this node's metadata.
    generation: AtomicU64,
    /// The newest that another member has.
    heard: watch::Sender<u64>,
}

impl fmt::Debug for MetaPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetaPeers").field("me", &self.inner.me).field("members", &self.members()).finish()
    }
}

impl MetaPeers {
    /// A grid of one node.
    pub fn alone() -> Self {
        Self::lone(FOUNDER)
    }

    /// A node that works on the metadata while no other one runs: `me` is its number in the grid.
    pub fn lone(me: VoterNumber) -> Self {
        Self::of(me, None, Vec::new())
    }

    /// This node is `me`; the others are reached over `network`.
    pub fn new(me: VoterNumber, network: Arc<dyn Network>, members: Vec<MetaMember>) -> Self {
        Self::of(me, Some(network), members)
    }

    fn of(me: VoterNumber, network: Option<Arc<dyn Network>>, members: Vec<MetaMember>) -> Self {
        let (generation, heard) = (AtomicU64::new(0), watch::Sender::new(0));
        Self { inner: Arc::new(Inner { me, network, members: RwLock::new(members), generation, heard }) }
    }

    /// Generation of this node's metadata, once it is open.
    pub fn generation(&self) -> u64 {
        self.inner.generation.load(Ordering::Acquire)
    }

    pub(crate) fn set_generation(&self, generation: u64) {
        self.inner.generation.store(generation, Ordering::Release);
    }

    /// Another member's metadata is newer: that of this node has no part in the grid any more.
    pub fn is_outdated(&self) -> bool {
        *self.inner.heard.borrow() > self.generation()
    }

    /// Waits until `is_outdated`. Safe to drop.
    pub async fn outdated(&self) {
        let mut heard = self.inner.heard.subscribe();
        // The sender lives as long as this.
        let _ = heard.wait_for(|heard| *heard > self.generation()).await;
    }

    /// The newest generation of those that other members have; none where nobody answers.
    pub async fn newest_of_others(&self) -> Option<u64> {
        let others = self.others().into_iter().take(ASKED_MAX);
        let mut asking: FuturesUnordered<_> = others.map(|member| self.ask_generation(member.node)).collect();
        let mut newest = None;
        while let Some(answer) = asking.next().await {
            newest = newest.max(answer);
        }
        newest
    }

    async fn ask_generation(&self, node: NodeId) -> Option<u64> {
        let network = self.network()?;
        let answer = network.call(node, GENERATION, Bytes::new(), GENERATION_PATIENCE).await;
        let generation = u64::from_be_bytes(answer.ok()?.as_ref().try_into().ok()?);
        self.hear(generation);
        Some(generation)
    }

    fn hear(&self, generation: u64) {
        self.inner.heard.send_if_modified(|heard| {
            let newer = generation > *heard;
            *heard = generation.max(*heard);
            newer
        });
    }

    pub(crate) fn generation_answer(&self) -> Bytes {
        Bytes::copy_from_slice(&self.generation().to_be_bytes())
    }

    fn framed(&self, message: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(GENERATION_BYTES + message.len());
        bytes.put_u64(self.generation());
        bytes.extend_from_slice(message);
        bytes.freeze()
    }

    /// The message of a member whose metadata is of the same generation.
    pub(crate) fn unframed(&self, mut message: Bytes) -> Result<Bytes, RpcError> {
        if message.len() < GENERATION_BYTES {
            return Err(RpcError::new(ErrorCode::InvalidArgument, "a message without a generation"));
        }
        let (theirs, own) = (message.get_u64(), self.generation());
        self.hear(theirs);
        if theirs == own {
            return Ok(message);
        }
        let why = format!("the metadata here is of generation {own}, that of the caller of {theirs}");
        Err(RpcError::new(ErrorCode::StaleGeneration, why))
    }

    /// One message to a member, one back.
    pub(crate) async fn call(
        &self,
        node: NodeId,
        method: Method,
        message: Bytes,
        patience: Duration,
    ) -> Result<Bytes, RpcError> {
        let network = self.network().ok_or_else(no_others)?;
        let answer = network.call(node, method, self.framed(&message), patience).await;
        self.learn(node, answer).await
    }

    /// As `call`, with an answer that is a stream.
    pub(crate) async fn send(
        &self,
        node: NodeId,
        method: Method,
        message: &[u8],
        patience: Duration,
    ) -> Result<Body, RpcError> {
        let network = self.network().ok_or_else(no_others)?;
        let answer = network.send(node, method, once(self.framed(message)), patience).await;
        self.learn(node, answer).await
    }

    /// Who refused a message for its generation says which one it has.
    async fn learn<T>(&self, node: NodeId, answer: Result<T, RpcError>) -> Result<T, RpcError> {
        if matches!(&answer, Err(error) if error.code == ErrorCode::StaleGeneration) {
            self.ask_generation(node).await;
        }
        answer
    }

    /// This node's number.
    pub fn me(&self) -> VoterNumber {
        self.inner.me
    }

    /// The member list changed, or somebody fell silent or came back.
    pub fn set_members(&self, members: Vec<MetaMember>) {
        *self.inner.members.write() = members;
    }

    /// All members, this node among them.
    pub fn members(&self) -> Vec<MetaMember> {
        self.inner.members.read().clone()
    }

    /// Are there other members?
    pub fn is_alone(&self) -> bool {
        self.inner.members.read().iter().all(|member| member.number == self.inner.me)
    }

    fn network(&self) -> Option<&Arc<dyn Network>> {
        self.inner.network.as_ref()
    }

    pub(crate) fn node(&self, number: VoterNumber) -> Option<NodeId> {
        let members = self.inner.members.read();
        members.iter().find(|member| member.number == number).map(|member| member.node)
    }

    /// Other members, those that answer first.
    pub(crate) fn others(&self) -> Vec<MetaMember> {
        let mut others: Vec<MetaMember> = self
            .inner
            .members
            .read()
            .iter()
            .filter(|member| member.number != self.inner.me)
            .cloned()
            .collect();
        others.sort_by_key(|member| !member.alive);
        others
    }
}

fn no_others() -> RpcError {
    RpcError::not_sent("there are no other nodes")
}

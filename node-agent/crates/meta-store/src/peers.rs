//! Where the other replicas are: voter numbers, nodes, and the way to them.

use std::fmt;
use std::sync::Arc;

use grid_types::{NodeId, Score};
use parking_lot::RwLock;
use rpc::Network;

/// Number of a voter within the grid; a member's number, never used again. The founder is 1.
pub type VoterNumber = u64;

/// The founder's number.
pub const FOUNDER: VoterNumber = 1;

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
        Self { inner: Arc::new(Inner { me, network: None, members: RwLock::default() }) }
    }

    /// This node is `me`; the others are reached over `network`.
    pub fn new(me: VoterNumber, network: Arc<dyn Network>, members: Vec<MetaMember>) -> Self {
        Self { inner: Arc::new(Inner { me, network: Some(network), members: RwLock::new(members) }) }
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

    pub(crate) fn network(&self) -> Option<&Arc<dyn Network>> {
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

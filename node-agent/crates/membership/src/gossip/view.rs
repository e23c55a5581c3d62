//! What this node knows of the others now.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grid_types::{DriveSnapshot, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a node says of itself. `node`, `incarnation` and `version` are filled in when it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Who.
    pub node: NodeId,
    /// Registered starts of the node.
    pub incarnation: u64,
    /// Grows with each publication of one start.
    pub version: u64,
    /// Where it is reached now.
    pub addresses: Vec<SocketAddr>,
    /// Epoch of the member list that it has.
    pub member_list_epoch: u64,
    /// Its drives.
    pub drives: Vec<DriveSnapshot>,
    /// Its processor has AES instructions.
    pub has_aes: bool,
    /// How busy its processor is, in percent of all cores.
    pub load_percent: u8,
    /// Of the processor, in degrees Celsius, where it is measured.
    pub temperature: Option<i16>,
    /// When this start began.
    pub started: Timestamp,
}

impl NodeState {
    /// The state of a node that knows nothing of itself yet.
    pub fn new(node: NodeId, started: Timestamp) -> Self {
        Self {
            node,
            incarnation: 0,
            version: 0,
            addresses: Vec::new(),
            member_list_epoch: 0,
            drives: Vec::new(),
            has_aes: false,
            load_percent: 0,
            temperature: None,
            started,
        }
    }
}

/// Does a member live?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer, or was not heard yet.
    Suspect,
    /// It did not object, or was not heard for long.
    Down,
}

/// One member as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Does it live?
    pub liveness: Liveness,
    /// Since when, on `Clock::since_boot` of this node.
    pub since: Duration,
    /// What it said of itself last.
    pub state: Option<Arc<NodeState>>,
}

/// All members, this node included, as it sees them at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GridView {
    /// Grows by one with each change.
    pub epoch: u64,
    /// By node.
    pub members: BTreeMap<NodeId, MemberView>,
}

impl GridView {
    /// Does this member live? Who is no member is down.
    pub fn liveness(&self, node: NodeId) -> Liveness {
        self.members.get(&node).map_or(Liveness::Down, |member| member.liveness)
    }
}

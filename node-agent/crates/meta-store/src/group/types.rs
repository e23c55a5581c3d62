//! The types with which the Raft library is instantiated.

use std::fmt;

use bytes::Bytes;

use crate::state::Reply;

/// What a leader proposes: an encoded `state::Proposal`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Number of a voter within the grid. The founder is 1.
pub(super) type Voter = u64;

openraft::declare_raft_types!(
    pub(super) Types:
        D = Payload,
        R = Reply,
        NodeId = Voter,
        Node = openraft::EmptyNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub(super) type LogId = openraft::alias::LogIdOf<Types>;
pub(super) type Vote = openraft::alias::VoteOf<Types>;
pub(super) type RaftEntry = openraft::alias::EntryOf<Types>;
pub(super) type EntryPayload = openraft::alias::PayloadOf<Types>;
pub(super) type Membership = openraft::Membership<Voter, openraft::EmptyNode>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;

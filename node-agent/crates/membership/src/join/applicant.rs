//! The side of the node that wants to become a member.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, GridId, NodeId};
use rpc::{Method, RpcError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::wire::{self, Admitted, ApplicantData, Prove};
use crate::grid_ca::{CaPin, node_id};
use crate::member_list::{ListError, Member, SignedList};
use crate::ticket::{DrivePolicy, Ticket};

/// A call of joining takes one commit of the root shard, on slow cards too.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// A TLS connection to a node that this one does not know yet.
pub trait Door: Send + Sync {
    /// Hash of the key that the peer proved.
    fn peer(&self) -> NodeId;

    /// That key.
    fn peer_public_key(&self) -> &[u8];

    /// Bytes that only the two ends of this connection know.
    fn exporter(&self) -> [u8; 32];

    /// One message there, one back.
    fn call(
        &self,
        method: Method,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RpcError>>;
}

/// The node that wants to join.
#[derive(Debug, Clone)]
pub struct Applicant {
    /// The key with which it opened the connection.
    pub public_key: Vec<u8>,
    /// For people.
    pub name: String,
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
    /// Its processor has AES instructions.
    pub has_aes: bool,
    /// It brings drives.
    pub has_drives: bool,
    /// Its release, for the log of the grid.
    pub release: String,
}

/// What a new member knows.
pub struct Admission {
    /// Its number as a Raft voter.
    pub number: u64,
    /// The grid.
    pub grid: GridId,
    /// The list that names it.
    pub list: SignedList,
    /// The root key, in the form that its owner reads.
    pub root_key: Zeroizing<Vec<u8>>,
    /// Settings that every member knows, as the grid's side encoded them.
    pub settings: Vec<u8>,
    /// Which drives it may take into service.
    pub drive_policy: DrivePolicy,
}

/// This node did not become a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The peer did not answer; trying again is safe.
    #[error("asking node {peer} to join: {source}")]
    Call {
        /// The peer.
        peer: NodeId,
        /// The cause.
        source: RpcError,
    },
    /// Another CA, another grid, a damaged list. Nothing was proved to it.
    #[error("node {peer} is not of the ticket's grid and was told nothing: {source}")]
    FalseGrid {
        /// The peer.
        peer: NodeId,
        /// The cause.
        source: ListError,
    },
    /// A list of the right grid, from somebody who is not in it. Nothing was proved to it.
    #[error(
        "node {0} shows the member list of the ticket's grid and is not a member itself: it was told nothing"
    )]
    NotAMember(NodeId),
    /// The grid says no.
    #[error("the grid does not let this node in: {0}; the log of the member that was asked tells which")]
    Refused(String),
    /// No operator registered the key of this node, or not any more.
    #[error("the grid does not let this node in: {0}; `shoal node enrol KEY` on a member registers a key")]
    NotEnrolled(String),
    /// The grid knows this node and will not have it.
    #[error("the grid does not take this node: {0}")]
    Rejected(String),
    /// The answer contradicts the list.
    #[error("node {peer} answered with {what}; try another member")]
    Answer {
        /// The peer.
        peer: NodeId,
        /// What is wrong.
        what: &'static str,
    },
    /// The key is none of TLS.
    #[error("the key of this node or of its peer is not the 32 bytes of an Ed25519 key")]
    Key,
}

/// What is known after the first answer: the peer is a member of the right grid.
pub(super) struct Greeted {
    pub(super) list: SignedList,
    pub(super) own_key: [u8; 32],
    pub(super) peer_key: [u8; 32],
}

/// Becomes a member through this door. Safe to repeat, and to drop and repeat: the same key is admitted once. The caller
/// wipes its text of the ticket afterwards.
pub async fn join(door: &dyn Door, ticket: &Ticket, me: &Applicant) -> Result<Admission, JoinError> {
    let failed = |source: RpcError| JoinError::Call { peer: door.peer(), source };
    let greeted = greet(door, Some(&ticket.ca_pin), Some(ticket.grid), me).await?;
    let applicant = postcard::to_allocvec(&data(me))
        .map_err(|error| failed(RpcError::not_sent(format!("an application: {error}"))))?;
    let message = wire::proved(&door.exporter(), &greeted.own_key, &greeted.peer_key, ticket.id, &applicant);
    let prove = Prove { ticket: ticket.id, proof: ticket.prove(&message), applicant };
    let prove = wire::encode(&prove).map_err(failed)?;
    ask(door, wire::PROVE, prove, &greeted).await
}

/// Takes up the place that an operator gave to this node's key in the grid with this pin. Safe to repeat, and to drop and
/// repeat.
pub async fn enrol(door: &dyn Door, pin: &CaPin, me: &Applicant) -> Result<Admission, JoinError> {
    let greeted = greet(door, Some(pin), None, me).await?;
    let question = wire::encode(&data(me)).map_err(|source| JoinError::Call { peer: door.peer(), source })?;
    ask(door, wire::ENROL, question, &greeted).await.map_err(|error| match error {
        JoinError::Refused(reason) => JoinError::NotEnrolled(reason),
        other => other,
    })
}

pub(super) fn data(me: &Applicant) -> ApplicantData {
    ApplicantData {
        name: me.name.clone(),
        addresses: me.addresses.clone(),
        has_aes: me.has_aes,
        has_drives: me.has_drives,
        release: me.release.clone(),
    }
}

/// Sees that the peer belongs to some grid, whose pin a person must confirm.
pub(super) async fn greet_any(door: &dyn Door, me: &Applicant) -> Result<(CaPin, Greeted), JoinError> {
    let greeted = greet(door, None, None, me).await?;
    Ok((super::pairing::pin_of(&greeted.list), greeted))
}

/// One question, one answer, both encoded.
pub(super) async fn exchange<A: DeserializeOwned>(
    door: &dyn Door,
    method: Method,
    question: &impl Serialize,
) -> Result<A, JoinError> {
    let failed = |source: RpcError| JoinError::Call { peer: door.peer(), source };
    let question = wire::encode(question).map_err(failed)?;
    let answer = door.call(method, question.into(), CALL_DEADLINE).await.map_err(failed)?;
    wire::decode(&answer).map_err(failed)
}

/// Sees that the peer belongs to the grid with this pin.
async fn greet(
    door: &dyn Door,
    pin: Option<&CaPin>,
    grid: Option<GridId>,
    me: &Applicant,
) -> Result<Greeted, JoinError> {
    let peer = door.peer();
    let failed = |source: RpcError| JoinError::Call { peer, source };
    let own_key: [u8; 32] = me.public_key.as_slice().try_into().map_err(|_| JoinError::Key)?;
    let peer_key: [u8; 32] = door.peer_public_key().try_into().map_err(|_| JoinError::Key)?;
    let hello = wire::encode(&()).map_err(failed)?;
    let shown = door.call(wire::HELLO, hello.into(), CALL_DEADLINE).await.map_err(failed)?;
    let list = match pin {
        Some(pin) => SignedList::verify_pinned(&shown, pin),
        None => SignedList::verify_any(&shown),
    };
    let list = list.map_err(|source| JoinError::FalseGrid { peer, source })?;
    if grid.is_some_and(|grid| grid != list.grid) {
        return Err(JoinError::FalseGrid { peer, source: ListError::Grid(list.grid) });
    }
    let known = list.member(peer).is_some_and(|member| member.public_key == peer_key);
    if !known || node_id(&peer_key) != peer {
        return Err(JoinError::NotAMember(peer));
    }
    Ok(Greeted { list, own_key, peer_key })
}

/// Asks to be let in, and believes the answer as far as the list bears it out.
pub(super) async fn ask(
    door: &dyn Door,
    method: Method,
    question: Vec<u8>,
    greeted: &Greeted,
) -> Result<Admission, JoinError> {
    let peer = door.peer();
    let answer =
        door.call(method, question.into(), CALL_DEADLINE).await.map_err(|error| match error.code {
            ErrorCode::AccessDenied => JoinError::Refused(error.detail),
            ErrorCode::Conflict => JoinError::Rejected(error.detail),
            _ => JoinError::Call { peer, source: error },
        })?;
    let mut admitted: Admitted = wire::decode(&answer).map_err(|source| JoinError::Call { peer, source })?;
    let list = accept(&greeted.list, &admitted.list, &greeted.own_key, admitted.number)
        .map_err(|what| JoinError::Answer { peer, what })?;
    Ok(Admission {
        number: admitted.number,
        grid: list.grid,
        list,
        root_key: Zeroizing::new(std::mem::take(&mut admitted.root_key)),
        settings: std::mem::take(&mut admitted.settings),
        drive_policy: admitted.drive_policy,
    })
}

/// The list of the answer, if it fits the one shown before and names this node.
fn accept(
    shown: &SignedList,
    bytes: &[u8],
    own_key: &[u8; 32],
    number: u64,
) -> Result<SignedList, &'static str> {
    let list = match shown.newer(bytes) {
        Ok(Some(newer)) => newer,
        Ok(None) => shown.clone(),
        Err(_) => return Err("a member list that does not follow the one it showed before"),
    };
    let named = |member: &Member| member.number == number && member.public_key == own_key;
    if !list.member(node_id(own_key)).is_some_and(named) {
        return Err("a member list that does not name this node as it said");
    }
    Ok(list)
}

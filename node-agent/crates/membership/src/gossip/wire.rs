//! What travels: packets of the failure detector behind the sender's version, and states. See docs/formats/gossip.md.

use std::net::SocketAddr;

use grid_types::{DriveSnapshot, NodeId};
use rpc::Method;
use serde::{Deserialize, Serialize};

use super::view::NodeState;
use crate::member_list::ADDRESSES_MAX;

pub(super) const PACKET: Method = Method::control("/gossip/packet");
pub(super) const STATE: Method = Method::control("/gossip/state");

const VERSION: u8 = 1;
/// Drives of one node: what the largest JBOD holds, twice.
pub const NODE_STATE_DRIVES_MAX: usize = 256;
/// Bytes of a state: 256 drives of some 150 bytes, and room.
pub const NODE_STATE_BYTES_MAX: usize = 64 << 10;

/// A state's place in the order of a node's states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct StateVersion {
    pub(super) incarnation: u64,
    pub(super) version: u64,
}

/// Bytes that are no packet or no state, or none that is believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another version.
    #[error("gossip of version {0}, this release speaks {VERSION}: update the older of the two nodes")]
    Version(u8),
    /// Not in the format.
    #[error("gossip that cannot be read")]
    Content,
    /// Says something of another node.
    #[error("node {0} tells of node {1}")]
    Other(NodeId, NodeId),
    /// More than a node has.
    #[error("a state of more than {NODE_STATE_DRIVES_MAX} drives, 16 addresses or 64 KiB")]
    TooLarge,
}

pub(super) fn encode_packet(own: StateVersion, packet: &[u8]) -> Vec<u8> {
    // Cannot fail: the output grows and integers are always written.
    let mut bytes = postcard::to_extend(&own, vec![VERSION]).unwrap_or_default();
    bytes.extend_from_slice(packet);
    bytes
}

pub(super) fn decode_packet(bytes: &[u8]) -> Result<(StateVersion, &[u8]), StateError> {
    postcard::take_from_bytes(body(bytes)?).map_err(|_| StateError::Content)
}

pub(super) fn encode_state(state: &NodeState) -> Result<Vec<u8>, StateError> {
    check(state)?;
    let bytes = postcard::to_extend(state, vec![VERSION]).map_err(|_| StateError::Content)?;
    if bytes.len() > NODE_STATE_BYTES_MAX { Err(StateError::TooLarge) } else { Ok(bytes) }
}

/// The state that `from` gave of itself.
pub(super) fn decode_state(from: NodeId, bytes: &[u8]) -> Result<NodeState, StateError> {
    if bytes.len() > NODE_STATE_BYTES_MAX {
        return Err(StateError::TooLarge);
    }
    let (state, rest) =
        postcard::take_from_bytes::<NodeState>(body(bytes)?).map_err(|_| StateError::Content)?;
    if !rest.is_empty() {
        return Err(StateError::Content);
    }
    if state.node != from {
        return Err(StateError::Other(from, state.node));
    }
    check(&state)?;
    Ok(state)
}

fn check(state: &NodeState) -> Result<(), StateError> {
    let (addresses, drives): (&[SocketAddr], &[DriveSnapshot]) = (&state.addresses, &state.drives);
    if addresses.len() > ADDRESSES_MAX || drives.len() > NODE_STATE_DRIVES_MAX {
        return Err(StateError::TooLarge);
    }
    match drives.iter().find(|drive| drive.node != state.node) {
        Some(drive) => Err(StateError::Other(state.node, drive.node)),
        None => Ok(()),
    }
}

fn body(bytes: &[u8]) -> Result<&[u8], StateError> {
    match bytes.split_first() {
        Some((&VERSION, body)) => Ok(body),
        Some((version, _)) => Err(StateError::Version(*version)),
        None => Err(StateError::Content),
    }
}

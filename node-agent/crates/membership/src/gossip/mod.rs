//! Who lives, and what each node says of itself.
//!
//! Liveness is SWIM (`foca`): each node probes one other at a time, asks others to probe for it before it suspects, and
//! gives the suspect time to object. What a node says of itself (`NodeState`) is too large for packets: gossip carries
//! its version, and whoever lacks that version pulls the state from the node.
//!
//! `core` decides and does no I/O: it takes packets and the time, and returns commands; `driver` is the task that owns
//! it. Invariants: only members of the signed list count, whatever packets say; a state is believed only from the node
//! that it describes; nothing here decides who is a member.

mod config;
mod core;
mod driver;
mod peer;
mod view;
mod wire;

pub use config::GossipConfig;
pub use driver::{Gossip, SERVICE};
pub use view::{GridView, Liveness, MemberView, NodeState};
pub use wire::{NODE_STATE_BYTES_MAX, NODE_STATE_DRIVES_MAX, StateError};

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod tests;

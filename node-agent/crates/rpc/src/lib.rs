//! Node to node calls and streams.
//!
//! `Network` is how a layer reaches another node; `Services` is what this node answers. The real network speaks HTTP/2
//! over TLS 1.3 with raw public keys; `memory` joins nodes of one process, with faults, for tests and simulations.
//!
//! Invariants: a caller's `NodeId` is the hash of the key that TLS proved, never what a message says; every call has a
//! deadline; an error says whether the peer may have acted (`Fate`), so that only what is safe is tried again.

mod body;
mod config;
mod error;
mod key;
mod link;
pub mod memory;
mod message;
mod network;
mod peers;
mod runtimes;
mod server;
mod services;
mod stranger;
mod stream;
mod tls;
mod visit;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{Body, collect, empty, once};
pub use config::RpcConfig;
pub use error::{Fate, RpcError};
pub use key::{NodeKey, NodeKeyError, PUBLIC_KEY_BYTES, node_of_key};
pub use network::{CALL_BYTES_MAX, Lane, Method, Network, NetworkExt};
pub use peers::Peers;
pub use server::{BindError, RpcServer, Trust};
pub use services::{Caller, Service, Services};
pub use stranger::{Stranger, dial_stranger};
pub use wire::DETAIL_BYTES_MAX;

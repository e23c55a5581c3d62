//! Node to node calls and streams.
//!
//! `Network` is how a layer reaches another node; `Services` is what this node answers. The real network speaks HTTP/2
//! over TLS 1.3 with raw public keys; `memory` joins nodes of one process, with faults, for tests and simulations.
//!
//! Invariants: a caller's `NodeId` is the hash of the key that TLS proved, never what a message says; every call has a
//! deadline; an error says whether the peer may have acted (`Fate`), so that only what is safe is tried again.

mod body;
mod error;
pub mod memory;
mod network;
mod services;

pub use body::{Body, collect, empty, once};
pub use error::{Fate, RpcError};
pub use network::{CALL_BYTES_MAX, Lane, Method, Network, NetworkExt};
pub use services::{Caller, Service, Services};

//! A connection to a node of which only an address is known: how a joiner meets a grid.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_types::NodeId;
use tokio::time::{Instant, timeout, timeout_at};

use crate::link::{Dial, Failed, Link};
use crate::message::DEADLINE_MAX;
use crate::{CALL_BYTES_MAX, Lane, Method, NodeKey, RpcConfig, RpcError, collect, once, tls};

/// A node whose key is proved and not yet trusted. Dropping it closes the connection.
pub struct Stranger {
    link: Link,
    address: SocketAddr,
}

/// Connects to whoever answers at `address`. Its key is proved; whether to trust it is the caller's to find out, with
/// proofs that are bound to `exporter`.
pub async fn dial_stranger(
    address: SocketAddr,
    key: &NodeKey,
    within: Duration,
) -> Result<Stranger, RpcError> {
    let tls = tls::client_config(key, tls::provider(codec::cpu_has_aes()), None, Lane::Control)
        .map_err(|error| RpcError::not_sent(format!("TLS: {error}")))?;
    let config = RpcConfig { connect_timeout: within, handshake_timeout: within, ..RpcConfig::default() };
    let dial = Dial { tls: Arc::new(tls), address, lane: Lane::Control, config: &config };
    match timeout(within, dial.open(|_| ())).await {
        Ok(link) => Ok(Stranger { link: link?, address }),
        Err(_) => Err(RpcError::not_sent(format!("{address}: no connection within {within:?}"))),
    }
}

impl Stranger {
    /// Hash of its key.
    pub fn peer(&self) -> NodeId {
        self.link.peer.node
    }

    /// Its Ed25519 public key.
    pub fn public_key(&self) -> &[u8] {
        &self.link.peer.public_key
    }

    /// Where it answered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that only the two ends of this connection know; the other end sees the same in `Caller::exporter`.
    pub fn exporter(&self) -> &[u8; 32] {
        &self.link.peer.exporter
    }

    /// One message there, one back, to an open service (the lane does not matter: there is one connection).
    pub async fn call(&self, method: Method, message: Bytes, deadline: Duration) -> Result<Bytes, RpcError> {
        let (started, deadline) = (Instant::now(), deadline.min(DEADLINE_MAX));
        let work = async {
            match self.link.send(method, once(message), started, deadline).await {
                Ok(answer) => collect(answer, CALL_BYTES_MAX).await,
                Err(Failed::Error(error)) => Err(error),
                Err(Failed::Unsent(_)) => Err(RpcError::not_sent("the connection is closed")),
            }
        };
        match timeout_at(started + deadline, work).await {
            Ok(answered) => answered,
            Err(_) => Err(RpcError::unknown(format!("no answer within {deadline:?}"))),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.link.cut();
    }
}

//! Real sockets on the loopback.

mod calls;
mod failures;
mod streams;
mod trust;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use grid_types::{ErrorCode, NodeId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::{
    Body, CALL_BYTES_MAX, Caller, Method, NodeKey, Peers, RpcConfig, RpcError, RpcServer, Service, Services,
    Trust, collect, once,
};

pub(super) const ECHO: Method = Method::control("/test/echo");
pub(super) const BULK_ECHO: Method = Method::bulk("/test/echo");
/// Far more than anything here takes, so that a slow machine fails no test.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// The member list of a test.
#[derive(Default)]
pub(super) struct Members(RwLock<BTreeSet<NodeId>>);

impl Members {
    pub(super) fn add(&self, node: NodeId) {
        self.0.write().insert(node);
    }

    pub(super) fn remove(&self, node: NodeId) {
        self.0.write().remove(&node);
    }
}

impl Trust for Members {
    fn is_member(&self, node: NodeId) -> bool {
        self.0.read().contains(&node)
    }
}

/// Answers what a test needs.
#[derive(Default)]
pub(super) struct TestService {
    /// Opens the gate of `gated` and `read_late`.
    pub(super) gate: Notify,
    /// Told when a handler waits at the gate.
    pub(super) waiting: Notify,
    /// What became of the request bodies of `swallow`.
    pub(super) swallowed: Mutex<Vec<Result<usize, RpcError>>>,
    pub(super) swallow_ended: Notify,
    pub(super) callers: Mutex<Vec<Caller>>,
    /// Pieces of `flood` that were taken.
    pub(super) flooded: Arc<Mutex<usize>>,
}

pub(super) const PIECE: usize = 64 << 10;

/// So many pieces, each told to `taken` when it is.
pub(super) fn pieces(count: usize, taken: Arc<Mutex<usize>>) -> Body {
    futures_util::stream::iter(0..count)
        .map(move |number| {
            *taken.lock() += 1;
            Ok(Bytes::from(vec![number as u8; PIECE]))
        })
        .boxed()
}

async fn answer(
    service: Arc<TestService>,
    caller: Caller,
    method: String,
    mut body: Body,
) -> Result<Body, RpcError> {
    service.callers.lock().push(caller);
    match method.as_str() {
        "echo" => Ok(once(collect(body, CALL_BYTES_MAX).await?)),
        "stream" => Ok(body),
        "thread" => Ok(once(std::thread::current().name().unwrap_or_default().to_owned().into())),
        "gated" => {
            service.waiting.notify_one();
            service.gate.notified().await;
            Ok(crate::empty())
        }
        "read_late" => {
            service.waiting.notify_one();
            service.gate.notified().await;
            let mut bytes = 0_u64;
            while let Some(piece) = body.next().await {
                bytes += piece?.len() as u64;
            }
            Ok(once(Bytes::copy_from_slice(&bytes.to_le_bytes())))
        }
        "flood" => Ok(pieces(48, service.flooded.clone())),
        "swallow" => {
            let mut bytes = 0;
            let outcome = loop {
                match body.next().await {
                    Some(Ok(piece)) => bytes += piece.len(),
                    Some(Err(error)) => break Err(error),
                    None => break Ok(bytes),
                }
            };
            service.swallowed.lock().push(outcome.clone());
            service.swallow_ended.notify_one();
            outcome.map(|_| crate::empty())
        }
        "refuse" => Err(RpcError::new(ErrorCode::StaleGeneration, "no, thank you")),
        "unsure" => Err(RpcError::unknown("half done")),
        "long_words" => Err(RpcError::new(ErrorCode::Conflict, "é".repeat(5_000))),
        "panic" => panic!("a handler that breaks"),
        "break_off" => {
            let first = Ok(Bytes::from_static(b"half a"));
            let broken = Err(RpcError::new(ErrorCode::Corrupt, "the other half is rotten"));
            Ok(futures_util::stream::iter([first, broken]).boxed())
        }
        "stand_still" => {
            let first = futures_util::stream::iter([Ok(Bytes::from_static(b"x"))]);
            Ok(first.chain(futures_util::stream::pending()).boxed())
        }
        other => Err(RpcError::new(ErrorCode::NotImplemented, other)),
    }
}

pub(super) struct Shared(pub(super) Arc<TestService>);

impl Service for Shared {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        answer(self.0.clone(), caller, method.to_owned(), body).boxed()
    }
}

/// A server, its service under `/test` and openly under `/door`, and a member's way to it.
pub(super) struct Grid {
    pub(super) server: RpcServer,
    pub(super) server_key: NodeKey,
    pub(super) node: NodeId,
    pub(super) service: Arc<TestService>,
    pub(super) services: Services,
    pub(super) members: Arc<Members>,
    pub(super) client_key: NodeKey,
    pub(super) peers: Peers,
}

pub(super) fn key() -> NodeKey {
    NodeKey::generate().unwrap().0
}

pub(super) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

pub(super) async fn grid() -> Grid {
    grid_with(RpcConfig::default()).await
}

pub(super) async fn grid_with(config: RpcConfig) -> Grid {
    let (server_key, client_key) = (key(), key());
    let service = Arc::new(TestService::default());
    let services = Services::default();
    services.add("test", Arc::new(Shared(service.clone())));
    services.add_open("door", Arc::new(Shared(service.clone())));
    let members = Arc::new(Members::default());
    members.add(client_key.node());
    let server = RpcServer::bind(loopback(), &server_key, members.clone(), services.clone(), config.clone())
        .await
        .unwrap();
    let node = server_key.node();
    let peers = Peers::new(client_key.clone(), config);
    peers.set_addresses(node, vec![server.address()]);
    Grid { server, server_key, node, service, services, members, client_key, peers }
}

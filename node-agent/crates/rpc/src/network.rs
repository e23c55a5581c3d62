//! How a node reaches another one.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, NodeId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Body, RpcError, collect, once};

/// Bytes of a call's message at most, in either direction. More travels as a stream.
pub const CALL_BYTES_MAX: usize = 4 << 20;

/// Which of the two connections to a peer carries a call, so that heartbeats never wait behind chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Raft, gossip and other small calls.
    Control,
    /// Chunks, snapshots.
    Bulk,
}

/// A method that a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Method {
    /// `/service/method`; part of the wire format.
    pub path: &'static str,
    /// The connection that carries it.
    pub lane: Lane,
}

impl Method {
    /// A method on the control connection.
    pub const fn control(path: &'static str) -> Self {
        Self { path, lane: Lane::Control }
    }

    /// A method on the bulk connection.
    pub const fn bulk(path: &'static str) -> Self {
        Self { path, lane: Lane::Bulk }
    }
}

/// Reaches the members of the grid. Dropping a future or an answer's body gives the call up.
pub trait Network: Send + Sync + 'static {
    /// Sends a request whose body may still be growing; returns when the answer begins. `deadline` is the time to the
    /// beginning of the answer where the request is one piece; a body that moves may take longer, one that stands
    /// still for so long fails.
    ///
    /// A stream that nobody reads keeps its place among those of its lane, and what its window holds (docs/formats/rpc.md):
    /// whoever asks for one takes it as it comes, and asks for no more than there is room for.
    fn send(
        &self,
        to: NodeId,
        method: Method,
        body: Body,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Body, RpcError>>;
}

/// What all networks can do with `send`.
pub trait NetworkExt: Network {
    /// One message there, one back.
    fn call(
        &self,
        to: NodeId,
        method: Method,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RpcError>> {
        let answer = self.send(to, method, once(message), deadline);
        Box::pin(async move {
            match tokio::time::timeout(deadline, async { collect(answer.await?, CALL_BYTES_MAX).await }).await
            {
                Ok(answered) => answered,
                Err(_) => Err(RpcError::unknown(format!("no answer within {deadline:?}"))),
            }
        })
    }

    /// As `call`, with values in postcard.
    fn ask<A: DeserializeOwned>(
        &self,
        to: NodeId,
        method: Method,
        question: &impl Serialize,
        deadline: Duration,
    ) -> impl Future<Output = Result<A, RpcError>> + Send {
        let message = postcard::to_allocvec(question);
        let answer = message.map(|bytes| self.call(to, method, bytes.into(), deadline));
        async move {
            let answer = answer.map_err(|error| RpcError::not_sent(error.to_string()))?.await?;
            postcard::from_bytes(&answer).map_err(|error| {
                RpcError::new(ErrorCode::Internal, format!("an answer that does not decode: {error}"))
            })
        }
    }
}

impl<N: Network + ?Sized> NetworkExt for N {}

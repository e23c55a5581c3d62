//! The requests of one connection: from HTTP/2 to `Services` and back.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use grid_types::ErrorCode;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::message::{Arriving, Outgoing};
use crate::server::Door;
use crate::tls::Proved;
use crate::{Body, Caller, RpcError, once, wire};

/// One connection: what its requests share.
pub(crate) struct Visit {
    door: Arc<Door>,
    peer: Proved,
    address: SocketAddr,
    /// One for each handler that runs: also those whose caller left, which HTTP/2 no longer counts.
    handlers: Arc<Semaphore>,
}

impl Visit {
    pub(crate) fn new(door: Arc<Door>, peer: Proved, address: SocketAddr, streams_max: u32) -> Self {
        Self { door, peer, address, handlers: Arc::new(Semaphore::new(streams_max as usize)) }
    }

    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Outgoing> {
        let answered = self.run(request).await;
        let (status, body) = match answered {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, once(Bytes::from(wire::encode_error(&error)))),
        };
        let mut response = Response::new(Outgoing::new(body, None));
        *response.status_mut() = status;
        response
    }

    async fn run(&self, request: Request<Incoming>) -> Result<Body, RpcError> {
        if request.method() != http::Method::POST {
            return Err(RpcError::new(ErrorCode::InvalidArgument, "nodes ask by POST alone"));
        }
        let Ok(permit) = self.handlers.clone().try_acquire_owned() else {
            return Err(RpcError::new(
                ErrorCode::SlowDown,
                "too many calls of this node are still being answered",
            ));
        };
        let door = &self.door;
        let caller = Caller {
            node: self.peer.node,
            public_key: self.peer.public_key.to_vec(),
            member: door.trust.is_member(self.peer.node),
            address: self.address,
            exporter: self.peer.exporter,
        };
        let bytes_max = if caller.member { u64::MAX } else { door.config.stranger_request_bytes_max };
        let (head, body) = request.into_parts();
        let body = Arriving::new(body, door.config.body_stall_timeout, bytes_max).boxed();
        let services = door.services.clone();
        let handler = door.handlers.spawn(async move {
            let answer = services.answer(caller, head.uri.path(), body).await;
            drop(permit);
            answer
        });
        match handler.await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, "answering a node broke off");
                Err(RpcError {
                    code: ErrorCode::Internal,
                    ..RpcError::unknown("the node broke off while it answered")
                })
            }
        }
    }
}

//! What a front door implements.

use std::fmt;
use std::net::SocketAddr;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::ResponseBody;

/// 16 upper-case hex digits, as AWS's look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// Who asks, and over what.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address; `None` on a Unix socket.
    pub address: Option<SocketAddr>,
    /// True over TLS.
    pub tls: bool,
    /// Names this request in logs and answers.
    pub request_id: RequestId,
}

/// Answers requests. Panics are caught by the server: 500, logged, the connection closed.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Errors are answers.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

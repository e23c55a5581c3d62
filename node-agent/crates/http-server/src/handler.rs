//! What a front door implements.

use std::fmt;
use std::net::SocketAddr;

use http::{Request, Response};

use crate::{RequestBody, ResponseBody};

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
    /// Answers one request. Errors are answers. Dropped when the client leaves before the answer.
    ///
    /// `Expect: 100-continue` is answered when the body is first polled; a body that is never polled is never asked
    /// for. A short body that the handler leaves unread is read and dropped by the server, a long one closes the
    /// connection after the answer. `RequestLabels` in the answer's extensions reach the observer.
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: Peer,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;
}

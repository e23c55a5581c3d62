//! What a listener tells about each finished request: for metrics and the access log.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;

use crate::RequestId;

/// Bytes of the request target that a record keeps; the rest is cut.
pub const RECORD_TARGET_BYTES_MAX: usize = 2_048;

/// What a handler says of a request. It puts this into the extensions of its answer; the server takes it out again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestLabels {
    /// The operation's name from the front door's table, for example `PutObject`. One of few: it labels metrics.
    pub operation: &'static str,
    /// The access key (never its secret) or other caller that was proven.
    pub caller: Option<String>,
    /// The error code that the answer carries, for example `NoSuchKey`.
    pub error: Option<String>,
}

/// One request, told after the last byte of its answer was sent or its connection broke.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// Its id, as in the answer's headers.
    pub request_id: RequestId,
    /// The client; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// True over TLS.
    pub tls: bool,
    /// The method.
    pub method: Method,
    /// Path and query as sent, at most `RECORD_TARGET_BYTES_MAX`. May hold a presigned signature: mask before writing.
    pub target: String,
    /// The status of the answer.
    pub status: u16,
    /// What the handler said.
    pub labels: RequestLabels,
    /// Body bytes taken from the client.
    pub bytes_in: u64,
    /// Body bytes sent to the client.
    pub bytes_out: u64,
    /// From the last header byte to the head of the answer.
    pub answered_after: Duration,
    /// From the last header byte to the last byte of the answer.
    pub finished_after: Duration,
    /// False where the connection broke or the body failed before its end.
    pub complete: bool,
}

/// Is told of every finished request. Called on the connection's task: must neither block nor fail.
pub trait RequestObserver: fmt::Debug + Send + Sync + 'static {
    /// One request is over.
    fn finished(&self, record: RequestRecord);
}

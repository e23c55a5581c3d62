//! What is told of each finished request: for metrics and the access log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::RequestId;

/// What a handler says of its request, put into the extensions of its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestLabels {
    /// The operation, for example `PutObject`; a fixed list, so that it can label a metric.
    pub operation: &'static str,
    /// The error code of the answer, for example `NoSuchKey`.
    pub error_code: Option<&'static str>,
}

/// One finished request.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// The id in the answer and in the logs.
    pub request_id: RequestId,
    /// The client; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// True over TLS.
    pub tls: bool,
    /// The method.
    pub method: Method,
    /// Path as sent, without the query (which may hold a signature).
    pub path: String,
    /// `User-Agent`, where it is text.
    pub user_agent: Option<String>,
    /// What the handler said.
    pub labels: RequestLabels,
    /// The status; `None` where the client left before an answer.
    pub status: Option<StatusCode>,
    /// Body bytes received, as the handler saw them (before any decoding of its own).
    pub bytes_in: u64,
    /// Body bytes handed to the connection.
    pub bytes_out: u64,
    /// From the last header byte to the end of the answer.
    pub duration: Duration,
    /// From the last header byte to the first body byte of the answer, or to its head where it has no body.
    pub time_to_first_byte: Option<Duration>,
    /// False where the answer broke off, or there was none.
    pub complete: bool,
}

/// Told once of each finished request, in the connection's task: must neither block nor take long.
pub trait RequestObserver: Send + Sync + 'static {
    /// A request ended.
    fn request_finished(&self, record: &RequestRecord);
}

/// An observer or none.
#[derive(Clone, Default)]
pub struct Observer(pub(crate) Option<Arc<dyn RequestObserver>>);

impl Observer {
    /// This one.
    pub fn new(observer: Arc<dyn RequestObserver>) -> Self {
        Self(Some(observer))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer(set)" } else { "Observer(none)" })
    }
}

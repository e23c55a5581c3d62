//! The HTTP front: accept loop, TLS, limits, request ids, graceful drain. Knows nothing of S3.
//!
//! Invariants: every connection takes from a named limit; TCP_NODELAY everywhere; headers, idle connections and slow
//! bodies have deadlines; shutdown stops accepting, lets requests in flight end, then cuts.

mod body;
mod config;
mod handler;
mod observer;
mod serve;
mod tls;

pub use body::{BoxError, ResponseBody, empty, full, stream};
pub use config::HttpConfig;
pub use handler::{Handler, Peer, RequestId};
pub use observer::{RECORD_TARGET_BYTES_MAX, RequestLabels, RequestObserver, RequestRecord};
pub use serve::{HttpServer, ServeError};
pub use tls::{TlsError, TlsIdentity};

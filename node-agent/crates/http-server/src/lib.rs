//! The HTTP front: accept loop, TLS, limits, request ids, graceful drain. Knows nothing of S3.
//!
//! HTTP/1.1 on every listener, HTTP/2 beside it where TLS negotiates it. A connection is in one of three states:
//! parked (no request, no buffers: the socket and a timer), serving (hyper owns the stream), closing (what is still
//! sent is read and dropped for a moment, so that the answer is not lost to a reset).
//!
//! Invariants: every connection takes from a named limit; TCP_NODELAY everywhere; headers, idle connections and slow
//! bodies have deadlines; a request that ends in any way (answered, cut, panicked) is reported once to the observer;
//! shutdown stops accepting, lets requests in flight end, then cuts.

mod activity;
mod body;
mod config;
mod connection;
mod handler;
mod observer;
mod request_body;
mod serve;
mod service;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use body::{BoxError, ResponseBody, empty, full, stream};
pub use config::HttpConfig;
pub use handler::{Handler, Peer, RequestId};
pub use observer::{Observer, RequestLabels, RequestObserver, RequestRecord};
pub use request_body::{RequestBody, RequestBodyError};
pub use serve::{ConnectionCount, HttpServer, ServeError};
pub use tls::{TlsError, TlsIdentity};

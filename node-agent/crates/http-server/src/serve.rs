//! The accept loop.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::{Handler, HttpConfig, TlsIdentity};

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ServeError {
    /// The address asked for.
    pub address: String,
    /// The cause.
    pub source: std::io::Error,
}

/// One listener at work. Dropping it stops accepting and cuts its connections.
pub struct HttpServer {}

impl HttpServer {
    /// Listens on TCP (port 0 = any) and serves until `shutdown`. With TLS, a listener takes TLS alone.
    pub async fn bind<H: Handler>(
        _address: SocketAddr,
        _tls: Option<TlsIdentity>,
        _config: HttpConfig,
        _handler: Arc<H>,
    ) -> Result<Self, ServeError> {
        todo!()
    }

    /// Listens on a Unix socket with mode 0600, replacing a stale one.
    pub async fn bind_unix<H: Handler>(
        _path: &std::path::Path,
        _config: HttpConfig,
        _handler: Arc<H>,
    ) -> Result<Self, ServeError> {
        todo!()
    }

    /// The address really bound; `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// Open connections now.
    pub fn connections(&self) -> usize {
        todo!()
    }

    /// Stops accepting, waits for requests in flight up to `drain_timeout`, then cuts.
    pub async fn shutdown(self) {
        todo!()
    }
}

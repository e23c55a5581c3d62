//! Limits of one listener.

use std::sync::Arc;
use std::time::Duration;

use crate::RequestObserver;

/// Limits of one listener; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Bytes of request line and headers together.
    pub header_bytes_max: usize,
    /// Headers of one request.
    pub headers_max: usize,
    /// From accept (or the previous answer) to the last header byte, once a first byte came.
    pub header_timeout: Duration,
    /// A kept connection without a request.
    pub idle_timeout: Duration,
    /// Without one byte of a body moving, in either direction.
    pub body_stall_timeout: Duration,
    /// From shutdown to the cut.
    pub drain_timeout: Duration,
    /// Is told of every finished request.
    pub observer: Option<Arc<dyn RequestObserver>>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            header_bytes_max: 64 << 10,
            headers_max: 128,
            header_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(75),
            body_stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(20),
            observer: None,
        }
    }
}

//! Limits of one listener.

use std::time::Duration;

use crate::Observer;

/// Limits of one listener; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Connections at once; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// Bytes of request line and headers together; more is 431.
    pub header_bytes_max: usize,
    /// Headers of one request; more is 431.
    pub headers_max: usize,
    /// From the first byte of a request to its last header byte; later is 408. Also the limit of a TLS handshake.
    pub header_timeout: Duration,
    /// A kept connection without a request.
    pub idle_timeout: Duration,
    /// Without one byte of a body moving, in either direction.
    pub body_stall_timeout: Duration,
    /// From shutdown to the cut.
    pub drain_timeout: Duration,
    /// A connection without a request for so long gives its buffers back.
    pub park_after: Duration,
    /// The largest single read of a body, and what is queued of an answer before it is written. A connection that
    /// moves a body holds up to three of these: one being filled, one handed over, one queued.
    pub body_buffer_bytes: usize,
    /// Requests at once on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// What is told of each finished request.
    pub observer: Observer,
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
            park_after: Duration::from_secs(2),
            body_buffer_bytes: 256 << 10,
            http2_streams_max: 64,
            observer: Observer::default(),
        }
    }
}

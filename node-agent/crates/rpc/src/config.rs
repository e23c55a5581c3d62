//! Limits of both sides.

use std::time::Duration;

use tokio::runtime::Handle;

/// Limits and times of the server and of the client; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct RpcConfig {
    /// Where bulk connections are served, and what they ask for is done; `None`: where control connections are.
    pub bulk_runtime: Option<Handle>,
    /// Connections that a server has open, in handshake or proved; more are closed at once.
    pub connections_max: usize,
    /// Handshakes at once; more are closed at once. Far below `connections_max`, so that strangers cannot shut members out.
    pub handshakes_max: usize,
    /// Handshakes at once from one address.
    pub handshakes_per_address_max: usize,
    /// Connections of keys that are not in the member list.
    pub strangers_max: usize,
    /// Of these, from one address: so that one host alone does not keep all joiners out.
    pub strangers_per_address_max: usize,
    /// Connections of one member: two lanes, and what a restart of it left behind.
    pub connections_per_member_max: usize,
    /// A stranger's connection is closed after so long.
    pub stranger_lifetime: Duration,
    /// Requests at once on a stranger's connection.
    pub stranger_streams_max: u32,
    /// Bytes of a stranger's request at most.
    pub stranger_request_bytes_max: u64,
    /// Requests at once on a member's connection; also how many this node sends on one before callers wait.
    pub streams_max: u32,
    /// Window of one stream: what a reader that does not read makes this end buffer. One block of two packets; at 128 KiB
    /// a round trip, one stream fills a gigabit link up to a millisecond away.
    pub stream_window_bytes: u32,
    /// What one stream queues before it is written, beyond the piece that is being sent.
    pub send_buffer_bytes: usize,
    /// Largest HTTP/2 frame taken.
    pub frame_bytes_max: u32,
    /// Largest list of headers or trailers: a path, or an error in words (`DETAIL_BYTES_MAX`).
    pub header_bytes_max: u32,
    /// For TCP to connect to one address.
    pub connect_timeout: Duration,
    /// For TLS to finish, on either side.
    pub handshake_timeout: Duration,
    /// After a failed connect, calls to that peer fail at once for so long; doubles up to `backoff_max`.
    pub backoff_min: Duration,
    /// The longest such time.
    pub backoff_max: Duration,
    /// A control connection without a sign of life for so long is asked for one.
    pub ping_after: Duration,
    /// And is given up when none comes in so long: a dead peer is noticed after the sum of the two. A peer's bulk
    /// connection goes with its control connection.
    pub ping_timeout: Duration,
    /// The same for bulk connections, whose pings wait behind chunks on a slow link.
    pub bulk_ping_timeout: Duration,
    /// A request's body that stands still for so long reaches its service as an error.
    pub body_stall_timeout: Duration,
    /// From `shutdown` to the cut.
    pub drain_timeout: Duration,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            bulk_runtime: None,
            connections_max: 1_024,
            handshakes_max: 64,
            handshakes_per_address_max: 16,
            strangers_max: 32,
            strangers_per_address_max: 8,
            connections_per_member_max: 16,
            stranger_lifetime: Duration::from_secs(60),
            stranger_streams_max: 4,
            stranger_request_bytes_max: 64 << 10,
            streams_max: 256,
            stream_window_bytes: 128 << 10,
            send_buffer_bytes: 256 << 10,
            frame_bytes_max: 64 << 10,
            header_bytes_max: 8 << 10,
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            ping_after: Duration::from_secs(2),
            ping_timeout: Duration::from_secs(4),
            bulk_ping_timeout: Duration::from_secs(15),
            body_stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl RpcConfig {
    /// Window of a member's connection: those of all its streams, so that streams that nobody reads hold up no others.
    /// 32 MiB; it is never full of what is not wanted, since answers are no longer than what was asked for, and services
    /// limit what one peer has going.
    pub fn connection_window_bytes(&self) -> u32 {
        /// HTTP/2 allows no more.
        const WINDOW_BYTES_MAX: u32 = i32::MAX as u32;
        self.stream_window_bytes.saturating_mul(self.streams_max).min(WINDOW_BYTES_MAX)
    }
}

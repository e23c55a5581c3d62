//! Limits of writing and reading segments.

use std::time::Duration;

use grid_types::Cipher;

/// Limits of writing and reading segments; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct SegmentConfig {
    /// Seal new segments with this, whatever the CPUs say.
    pub cipher_override: Option<Cipher>,
    /// Frames that a drive may hold unwritten. With `lag_patience`: a chunk further behind is cut off.
    pub lag_frames_max: usize,
    /// How long, in all, the ack set of one segment waits for a drive that is slower than the others before it goes on
    /// without it. Longer than the pauses of a healthy SD card or USB drive, shorter than a client's patience.
    pub lag_patience: Duration,
    /// A write whose ack set itself stands still for so long fails.
    pub stall_max: Duration,
    /// After the ack set has synced, the other chunks get as long again as it took, within these bounds, so that
    /// normally all chunks stand in the row.
    pub finish_grace_min: Duration,
    /// See `finish_grace_min`.
    pub finish_grace_max: Duration,
    /// Write with fewer than 2 writable domains in a grid of 2 or more; counted and shown as "at risk".
    pub accept_degraded: bool,
    /// Stripe buffers of one writer: 1.5 MiB are three stripes of `ec:2+2`, so 32 writers take 48 MiB. At least two
    /// stripes are always in flight, one filling and one on its way.
    pub write_buffer_bytes: u64,
    /// Stripes read ahead of the consumer.
    pub read_ahead_stripes: usize,
    /// Bytes read ahead of the consumer; the smaller of both counts, but always one stripe.
    pub read_ahead_bytes: u64,
    /// A read that takes longer than the drive's p95, within these bounds, is asked of another chunk too.
    pub hedge_min: Duration,
    /// See `hedge_min`: a drive that has been slow for a while must not make its own slowness the measure.
    pub hedge_max: Duration,
    /// How long a stream waits in line for memory before it is told to slow down. Bounded, so that a copy that holds
    /// memory for reading while it waits for memory to write with cannot stop all others for ever.
    pub memory_wait_max: Duration,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self {
            cipher_override: None,
            lag_frames_max: 4,
            lag_patience: Duration::from_secs(1),
            stall_max: Duration::from_secs(30),
            finish_grace_min: Duration::from_secs(1),
            finish_grace_max: Duration::from_secs(5),
            accept_degraded: false,
            write_buffer_bytes: 3 << 19,
            read_ahead_stripes: 4,
            read_ahead_bytes: 512 << 10,
            hedge_min: Duration::from_millis(20),
            hedge_max: Duration::from_millis(500),
            memory_wait_max: Duration::from_secs(20),
        }
    }
}

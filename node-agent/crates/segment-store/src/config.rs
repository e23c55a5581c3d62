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
    /// A drive that the ack set cannot do without, and that has not moved for so long, is left behind where the segment can
    /// be written once more without it. Far beyond the pauses of healthy drives, since that costs reading and writing all
    /// of it; well within a client's patience.
    pub stuck_max: Duration,
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
    /// How drives of other nodes are asked.
    pub remote: RemoteConfig,
}

/// How drives of other nodes are asked.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// A chunk that its node has not begun by then goes elsewhere: a few round trips of a slow net, and the time that
    /// the peer lets it wait for memory.
    pub begin_max: Duration,
    /// A write that stands still for so long has failed; a third of it is the pace of the signs of life.
    pub idle_max: Duration,
    /// Frames handed over and not yet taken by the connection; more wait. Two keep it busy, and a chunk that is behind
    /// shows by having them.
    pub frames_queued_max: usize,
    /// The end of a chunk: the frames on their way, then sync, rename, sync. A large file on a slow card takes longest.
    pub finish_max: Duration,
    /// A read of some frames that brings nothing for so long has failed; the hedge comes much earlier.
    pub read_max: Duration,
    /// A small question.
    pub ask_max: Duration,
    /// Reading a whole chunk where it lies: 64 MiB at 1 MB/s.
    pub verify_max: Duration,
    /// Removing up to 1,000 chunks with their syncs.
    pub remove_max: Duration,
    /// A node that did not answer is asked last, and by repair not at all, for so long.
    pub distrust: Duration,
}

impl Default for RemoteConfig {
    fn default() -> Self {
        Self {
            begin_max: Duration::from_secs(3),
            idle_max: Duration::from_secs(30),
            frames_queued_max: 2,
            finish_max: Duration::from_secs(60),
            read_max: Duration::from_secs(10),
            ask_max: Duration::from_secs(10),
            verify_max: Duration::from_secs(64),
            remove_max: Duration::from_secs(60),
            distrust: Duration::from_secs(10),
        }
    }
}

/// Limits of what this node answers to others about its drives.
#[derive(Debug, Clone)]
pub struct ChunkServiceConfig {
    /// A request that brings nothing for so long is given up; a third of it is the pace of the signs of life.
    pub idle_max: Duration,
    /// Waits for memory or for a peer's other reads end after so long: before the peer's `begin_max`.
    pub wait_max: Duration,
    /// Chunks that one peer may write at once: 32 segments on eight drives of this node.
    pub writes_per_peer_max: usize,
    /// Reads of one peer at once; at half a MiB each.
    pub reads_per_peer_max: usize,
    /// Bytes that chunks on their way from peers to drives may hold: 64 files of 768 KiB.
    pub memory_bytes: u64,
}

impl Default for ChunkServiceConfig {
    fn default() -> Self {
        Self {
            idle_max: Duration::from_secs(30),
            wait_max: Duration::from_secs(2),
            writes_per_peer_max: 256,
            reads_per_peer_max: 32,
            memory_bytes: 48 << 20,
        }
    }
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self {
            cipher_override: None,
            lag_frames_max: 4,
            lag_patience: Duration::from_secs(1),
            stuck_max: Duration::from_secs(10),
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
            remote: RemoteConfig::default(),
        }
    }
}

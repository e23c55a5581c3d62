//! Counters of one drive and the p95 of its last operations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Samples that a p95 looks at.
const SAMPLES: usize = 128;
/// The p95 is computed anew after so many samples.
const REFRESH: usize = 8;

/// Counters since start.
#[derive(Debug, Clone, Default)]
pub struct DriveStats {
    /// Bytes of frames read.
    pub read_bytes: u64,
    /// Bytes written, headers included.
    pub written_bytes: u64,
    /// Completed syncs.
    pub syncs: u64,
    /// Frames, headers or records that did not match their hash.
    pub corruptions: u64,
    /// p95 of the last reads, in microseconds.
    pub read_p95_us: u64,
    /// p95 of the last syncs, in microseconds.
    pub sync_p95_us: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub read_bytes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub syncs: AtomicU64,
    pub corruptions: AtomicU64,
    pub reads: Latency,
    pub sync_times: Latency,
}

impl Counters {
    pub fn snapshot(&self) -> DriveStats {
        DriveStats {
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            corruptions: self.corruptions.load(Ordering::Relaxed),
            read_p95_us: self.reads.p95_us(),
            sync_p95_us: self.sync_times.p95_us(),
        }
    }
}

/// The p95 of the last durations.
#[derive(Default)]
pub struct Latency {
    ring: Mutex<Ring>,
    p95_us: AtomicU64,
}

#[derive(Default)]
struct Ring {
    samples: Vec<u32>,
    next: usize,
}

impl Latency {
    /// One more.
    pub fn record(&self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let mut ring = self.ring.lock();
        let at = ring.next % SAMPLES;
        if at < ring.samples.len() {
            ring.samples[at] = us;
        } else {
            ring.samples.push(us);
        }
        ring.next = ring.next.wrapping_add(1);
        if ring.next < REFRESH || ring.next.is_multiple_of(REFRESH) {
            let mut sorted = ring.samples.clone();
            sorted.sort_unstable();
            let p95 = sorted[(sorted.len() - 1) * 95 / 100];
            self.p95_us.store(u64::from(p95), Ordering::Relaxed);
        }
    }

    /// In microseconds; 0 before the first. Cheap.
    pub fn p95_us(&self) -> u64 {
        self.p95_us.load(Ordering::Relaxed)
    }
}

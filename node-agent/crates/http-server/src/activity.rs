//! What a connection does right now, as its stream, its requests and its timer see it.
//!
//! Timers are lazy: the hot path stores a time, and the one timer of a connection looks at it now and then. Nothing here
//! synchronises other memory, so every access is relaxed.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::HttpConfig;

/// The state of one connection, shared by its parts.
pub(crate) struct Activity {
    base: Instant,
    /// Milliseconds after `base` at which a byte last moved or a request last began or ended.
    progress: AtomicU64,
    /// Milliseconds after `base`, plus one, at which the first byte of a request head came; 0 = none.
    head_started: AtomicU64,
    /// Bytes of request bodies since the connection was set up: they make its read buffer grow.
    body_bytes: AtomicU64,
    /// Requests whose answer is not yet handed over whole.
    in_flight: AtomicU32,
    /// Those among them where the server is working: the client has nothing to do but wait.
    busy: AtomicU32,
    /// Written, not yet flushed to the end.
    dirty: AtomicBool,
    /// A request body was left unread: the stream no longer stands at a border between requests.
    tainted: AtomicBool,
    /// The client closed its side.
    eof: AtomicBool,
}

/// What the timer of a connection should do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Look again then.
    LookAgain(Instant),
    /// No request for a while: give the buffers back.
    Park,
    /// Half a request head for too long.
    HeadTimeout,
    /// Idle for too long, or a client that does not take its answer.
    Cut,
}

/// A connection that took in more than this parks as soon as it has answered: growing buffers anew costs a few reads of
/// the next large body, keeping them costs `body_buffer_bytes` for each idle connection.
const LARGE_BODY_BYTES: u64 = 64 << 10;
/// The longest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            base: Instant::now(),
            progress: AtomicU64::new(0),
            head_started: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            dirty: AtomicBool::new(false),
            tainted: AtomicBool::new(false),
            eof: AtomicBool::new(false),
        }
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn bytes_read(&self, count: usize) {
        if count == 0 {
            self.eof.store(true, Relaxed);
            return;
        }
        let now = self.now_millis();
        self.progress.store(now, Relaxed);
        if self.in_flight.load(Relaxed) > 0 {
            self.body_bytes.fetch_add(count as u64, Relaxed);
        } else if self.head_started.load(Relaxed) == 0 {
            self.head_started.store(now + 1, Relaxed);
        }
    }

    pub(crate) fn write_begins(&self) {
        self.dirty.store(true, Relaxed);
    }

    pub(crate) fn bytes_written(&self) {
        self.progress.store(self.now_millis(), Relaxed);
    }

    /// hyper flushes the stream only when nothing is left in its own buffers.
    pub(crate) fn flushed(&self) {
        self.dirty.store(false, Relaxed);
    }

    pub(crate) fn request_begins(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.busy.fetch_add(1, Relaxed);
        self.head_started.store(0, Relaxed);
        self.progress.store(self.now_millis(), Relaxed);
    }

    /// `server_turn`: what `turn` last said for this request.
    pub(crate) fn request_ends(&self, server_turn: bool) {
        if server_turn {
            self.busy.fetch_sub(1, Relaxed);
        }
        self.progress.store(self.now_millis(), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// The turn of a request passes to the server (its body is not ready) or to the client.
    pub(crate) fn turn(&self, to_server: bool) {
        if to_server {
            self.busy.fetch_add(1, Relaxed);
        } else {
            self.progress.store(self.now_millis(), Relaxed);
            self.busy.fetch_sub(1, Relaxed);
        }
    }

    pub(crate) fn taint(&self) {
        self.tainted.store(true, Relaxed);
    }

    pub(crate) fn tainted(&self) -> bool {
        self.tainted.load(Relaxed)
    }

    pub(crate) fn at_eof(&self) -> bool {
        self.eof.load(Relaxed)
    }

    /// hyper's part of the connection is new: small buffers.
    pub(crate) fn set_up(&self) {
        self.body_bytes.store(0, Relaxed);
    }

    /// Between two requests, with buffers that a large body has left behind.
    pub(crate) fn idle_with_large_buffers(&self) -> bool {
        self.in_flight.load(Relaxed) == 0
            && self.body_bytes.load(Relaxed) > LARGE_BODY_BYTES
            && self.parkable()
    }

    fn parkable(&self) -> bool {
        !self.dirty.load(Relaxed) && !self.tainted() && self.head_started.load(Relaxed) == 0
    }

    /// What to do now. `may_park` is false for HTTP/2, whose connection state cannot be set up anew.
    pub(crate) fn verdict(&self, config: &HttpConfig, may_park: bool) -> Verdict {
        let after = |millis: u64, limit: Duration| self.base + Duration::from_millis(millis) + limit;
        let now = Instant::now();
        let progress = self.progress.load(Relaxed);
        let head_started = self.head_started.load(Relaxed);
        let deadline = if self.in_flight.load(Relaxed) > 0 {
            if self.busy.load(Relaxed) > 0 {
                return Verdict::LookAgain(now + LOOK_EVERY.min(config.body_stall_timeout));
            }
            after(progress, config.body_stall_timeout)
        } else if head_started > 0 && may_park {
            let deadline = after(head_started - 1, config.header_timeout);
            if now >= deadline {
                return Verdict::HeadTimeout;
            }
            deadline
        } else {
            let park = after(progress, config.park_after);
            if may_park && now >= park && self.parkable() {
                return Verdict::Park;
            }
            let cut = after(progress, config.idle_timeout);
            if may_park && now < park { cut.min(park) } else { cut }
        };
        if now >= deadline { Verdict::Cut } else { Verdict::LookAgain(deadline.min(now + LOOK_EVERY)) }
    }
}

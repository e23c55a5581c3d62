//! One JSON line for each request, written by a thread of its own. Requests never wait for it: when the queue is full,
//! lines are dropped and counted.

#[cfg(test)]
mod access_log_tests;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use grid_types::Timestamp;
use http_server::{RequestObserver, RequestRecord};
use serde::Serialize;
use sys::Clock;

use crate::config::AccessLogTarget;

/// Lines that wait for the writer: about 2 MiB, a second of heavy load.
const LINES_MAX: usize = 4_096;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    time_ms: u64,
    door: &'a str,
    request_id: String,
    peer: Option<String>,
    tls: bool,
    method: &'a str,
    path: &'a str,
    operation: &'a str,
    status: Option<u16>,
    error: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    duration_us: u64,
    first_byte_us: Option<u64>,
    complete: bool,
    user_agent: Option<&'a str>,
}

type Entry = (Timestamp, &'static str, RequestRecord);

/// The access log. Clones share it; the thread ends when the last one is gone and everything is written.
#[derive(Clone)]
pub struct AccessLog {
    lines: Option<SyncSender<Entry>>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl AccessLog {
    /// Opens the target; a file is appended to and made with mode 0600.
    pub fn open(target: &AccessLogTarget, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        let output: Box<dyn Write + Send> = match target {
            AccessLogTarget::Off => return Ok(Self { lines: None, dropped, clock }),
            AccessLogTarget::Stdout => Box::new(io::stdout()),
            AccessLogTarget::File(path) => {
                Box::new(OpenOptions::new().append(true).create(true).mode(0o600).open(path)?)
            }
        };
        let (lines, received) = sync_channel(LINES_MAX);
        let lost = dropped.clone();
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&received, BufWriter::new(output), &lost))?;
        Ok(Self { lines: Some(lines), dropped, clock })
    }

    /// Lines dropped since start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes a request of this door.
    pub fn record(&self, door: &'static str, record: &RequestRecord) {
        if let Some(lines) = &self.lines
            && lines.try_send((self.clock.now(), door, record.clone())).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(lines: &Receiver<Entry>, mut output: impl Write, dropped: &AtomicU64) {
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut written = 0;
        let mut result = Ok(());
        while let Some(entry) = next {
            written += 1;
            result = result.and(write_line(&entry, &mut output));
            next = lines.try_recv().ok();
        }
        // Once nothing waits, everything is flushed, so that a reader sees the last request.
        if let Err(error) = result.and_then(|()| output.flush()) {
            dropped.fetch_add(written, Ordering::Relaxed);
            tracing::warn!(%error, "writing the access log");
        }
    }
}

fn write_line((time, door, record): &Entry, output: &mut impl Write) -> io::Result<()> {
    let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let line = Line {
        time_ms: time.as_millis(),
        door,
        request_id: record.request_id.to_string(),
        peer: record.peer.map(|peer| peer.to_string()),
        tls: record.tls,
        method: record.method.as_str(),
        path: &record.path,
        operation: record.labels.operation,
        status: record.status.map(|status| status.as_u16()),
        error: record.labels.error_code,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        duration_us: micros(record.duration),
        first_byte_us: record.time_to_first_byte.map(micros),
        complete: record.complete,
        user_agent: record.user_agent.as_deref(),
    };
    serde_json::to_writer(&mut *output, &line)?;
    output.write_all(b"\n")
}

/// Tells both the metrics and the access log.
pub struct Observers {
    /// `s3` or `admin`.
    pub door: &'static str,
    /// The metrics.
    pub metrics: admin_api::metrics::DoorObserver,
    /// The access log.
    pub log: AccessLog,
}

impl RequestObserver for Observers {
    fn request_finished(&self, record: &RequestRecord) {
        self.metrics.request_finished(record);
        self.log.record(self.door, record);
    }
}

//! Lines come out whole; a stuck writer costs lines, never requests.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use grid_types::Timestamp;
use http_server::{RequestId, RequestLabels, RequestRecord};
use sys::SimClock;

use super::{AccessLog, AccessLogTarget, LINES_MAX, write_lines};

fn record(path: &str) -> RequestRecord {
    RequestRecord {
        request_id: RequestId(0xAB),
        peer: Some("10.0.0.1:5".parse().unwrap()),
        tls: false,
        method: http::Method::GET,
        path: path.to_owned(),
        user_agent: Some("a \"quoted\" agent\n".to_owned()),
        labels: RequestLabels { operation: "GetObject", error_code: Some("NoSuchKey") },
        status: Some(http::StatusCode::NOT_FOUND),
        bytes_in: 0,
        bytes_out: 123,
        duration: Duration::from_micros(1_500),
        time_to_first_byte: None,
        complete: true,
    }
}

#[test]
fn each_request_is_one_json_line() {
    let (send, receive) = sync_channel(4);
    send.send((Timestamp::from_secs(7), "s3", record("/b/k\u{1}"))).unwrap();
    send.send((Timestamp::from_secs(8), "admin", record("/x"))).unwrap();
    drop(send);
    let mut written = Vec::new();
    write_lines(&receive, &mut written, &AtomicU64::new(0));
    let text = String::from_utf8(written).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["time_ms"], 7_000);
    assert_eq!(lines[0]["request_id"], "00000000000000AB");
    assert_eq!(lines[0]["path"], "/b/k\u{1}");
    assert_eq!(lines[0]["status"], 404);
    assert_eq!(lines[0]["error"], "NoSuchKey");
    assert_eq!(lines[0]["duration_us"], 1_500);
    assert_eq!(lines[1]["door"], "admin");
}

#[test]
fn a_full_queue_drops_and_counts() {
    let (send, _never_read) = sync_channel(LINES_MAX);
    let clock = Arc::new(SimClock::new(Timestamp::from_secs(1)));
    let log = AccessLog { lines: Some(send), dropped: Arc::default(), clock };
    for _ in 0..LINES_MAX + 3 {
        log.record("s3", &record("/"));
    }
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_full_disk_is_counted_and_the_thread_goes_on() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (send, receive) = sync_channel(2);
    send.send((Timestamp::from_secs(1), "s3", record("/"))).unwrap();
    send.send((Timestamp::from_secs(1), "s3", record("/"))).unwrap();
    drop(send);
    let dropped = AtomicU64::new(0);
    write_lines(&receive, Full, &dropped);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
}

#[test]
fn a_file_is_made_for_its_owner_alone_and_appended_to() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    std::fs::remove_file(&path).unwrap();
    let clock = Arc::new(SimClock::new(Timestamp::from_secs(1)));
    let _log = AccessLog::open(&AccessLogTarget::File(path.clone()), clock).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

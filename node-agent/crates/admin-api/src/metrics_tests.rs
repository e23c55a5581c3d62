//! What the page says, and that docs/metrics.md names all of it and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use grid_types::{DriveState, NodeId, Timestamp};
use http_server::{RequestId, RequestLabels, RequestObserver, RequestRecord};

use crate::Metrics;
use crate::metrics::{BudgetSample, DoorSample, DriveSample, NodeSample, ProcessSample};
use crate::types::{ClockInfo, JobInfo, MemberClock};

fn record(status: Option<u16>, millis: u64) -> RequestRecord {
    RequestRecord {
        request_id: RequestId(1),
        peer: None,
        tls: false,
        method: http::Method::PUT,
        path: "/b/k".to_owned(),
        user_agent: None,
        labels: RequestLabels { operation: "PutObject", error_code: None },
        status: status.map(|status| http::StatusCode::from_u16(status).unwrap()),
        bytes_in: 100,
        bytes_out: 7,
        duration: Duration::from_millis(millis),
        time_to_first_byte: Some(Duration::from_millis(1)),
        complete: status.is_some(),
    }
}

fn sample() -> NodeSample {
    NodeSample {
        ready: true,
        segments_unrecoverable: 0,
        metadata_ready: true,
        metadata_shards: 2,
        drives: vec![DriveSample {
            drive: "d1".to_owned(),
            state: DriveState::Suspect,
            total_bytes: 1_000,
            free_bytes: 400,
            read_score: 90,
            write_score: 0,
            read_bytes: 1,
            written_bytes: 2,
            syncs: 3,
            corruptions: 4,
            read_p95_us: 5,
            sync_p95_us: 6,
        }],
        budgets: vec![BudgetSample { limit: "requests", total_bytes: 64, available_bytes: 60 }],
        doors: vec![DoorSample { door: "s3", connections: 12 }],
        jobs: vec![JobInfo {
            name: "scrub".to_owned(),
            state: "paused".to_owned(),
            purpose: String::new(),
            detail: String::new(),
            done: 8,
            failed: 1,
            waiting: 9,
            pass: Some(0.5),
            items_per_second: 0.0,
            eta_seconds: None,
            last_error: None,
        }],
        process: ProcessSample { resident_bytes: 4_096, cpu_seconds: 1.5, ..ProcessSample::default() },
        access_log_dropped: 3,
        clock: Some(ClockInfo {
            time: Timestamp(0),
            trust: "proven".to_owned(),
            source: "ntp".to_owned(),
            peer: None,
            uncertainty_us: Some(700),
            floor: None,
            refused: Vec::new(),
            silent: Vec::new(),
            members: vec![MemberClock {
                node: NodeId::from_bytes([1; 16]),
                source: "host".to_owned(),
                ahead_us: -1_200_000,
                uncertainty_us: 900,
                apart: true,
            }],
        }),
    }
}

fn page() -> String {
    let metrics = Arc::new(Metrics::new());
    let observer = metrics.observer("s3");
    observer.request_finished(&record(Some(200), 3));
    observer.request_finished(&record(Some(200), 300));
    observer.request_finished(&record(Some(503), 3));
    observer.request_finished(&record(None, 3));
    metrics.page(sample())
}

#[test]
fn requests_and_samples_are_on_the_page() {
    let page = page();
    for line in [
        "shoal_requests_total{door=\"s3\",operation=\"PutObject\",status=\"200\"} 2",
        "shoal_requests_total{door=\"s3\",operation=\"PutObject\",status=\"503\"} 1",
        "shoal_requests_total{door=\"s3\",operation=\"PutObject\",status=\"0\"} 1",
        "shoal_request_seconds_bucket{le=\"0.005\",door=\"s3\",operation=\"PutObject\"} 3",
        "shoal_request_seconds_count{door=\"s3\",operation=\"PutObject\"} 4",
        "shoal_received_bytes_total{door=\"s3\"} 400",
        "shoal_sent_bytes_total{door=\"s3\"} 28",
        "shoal_broken_requests_total{door=\"s3\"} 1",
        "shoal_ready 1",
        "shoal_drive_state{drive=\"d1\",state=\"suspect\"} 1",
        "shoal_drive_state{drive=\"d1\",state=\"active\"} 0",
        "shoal_drive_free_bytes{drive=\"d1\"} 400",
        "shoal_drive_corruptions_total{drive=\"d1\"} 4",
        "shoal_memory_available_bytes{limit=\"requests\"} 60",
        "shoal_connections{door=\"s3\"} 12",
        "shoal_job_waiting{job=\"scrub\"} 9",
        "shoal_job_pass_percent{job=\"scrub\"} 50",
        "shoal_job_done_total{job=\"scrub\"} 8",
        "shoal_job_paused{job=\"scrub\"} 1",
        "shoal_access_log_dropped_total 3",
        "shoal_clock_source{source=\"ntp\"} 1",
        "shoal_clock_source{source=\"unproven\"} 0",
        "shoal_clock_uncertainty_microseconds 700",
        "shoal_clock_ahead_microseconds{node=\"01010101010101010101010101010101\"} -1200000",
        "shoal_process_resident_bytes 4096",
        "shoal_process_cpu_seconds_total 1.5",
    ] {
        assert!(page.lines().any(|found| found == line), "`{line}` is missing in:\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn the_document_names_every_metric_and_no_other() {
    let on_page: BTreeSet<String> = page()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            if kind == "counter" { format!("{name}_total") } else { name.to_owned() }
        })
        .collect();
    let document = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/metrics.md"),
    )
    .expect("docs/metrics.md");
    let in_document: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|rest| rest.split('`').next().unwrap().to_owned())
        .collect();
    assert_eq!(in_document, on_page);
}

//! Figures that are sampled when the page is asked for, and how they are written.

use std::fmt;
use std::sync::Arc;

use grid_types::DriveState;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::types::{ClockInfo, JobInfo};

/// The node at the moment of the scrape.
#[derive(Debug, Clone, Default)]
pub struct NodeSample {
    /// `/health/ready` says yes.
    pub ready: bool,
    /// Segments that repair found with too few good chunks to read.
    pub segments_unrecoverable: u64,
    /// Every metadata group has a live leader.
    pub metadata_ready: bool,
    /// Metadata shards of this node, the root shard not counted.
    pub metadata_shards: u64,
    /// Drives that are in service or were.
    pub drives: Vec<DriveSample>,
    /// Named memory limits.
    pub budgets: Vec<BudgetSample>,
    /// Listeners.
    pub doors: Vec<DoorSample>,
    /// Background workers.
    pub jobs: Vec<JobInfo>,
    /// The process.
    pub process: ProcessSample,
    /// Lines that the access log had to drop.
    pub access_log_dropped: u64,
    /// Which time it has.
    pub clock: Option<ClockInfo>,
}

/// One drive.
#[derive(Debug, Clone)]
pub struct DriveSample {
    /// Its id, as text.
    pub drive: String,
    /// Where it stands.
    pub state: DriveState,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// Bytes that clients may still fill.
    pub free_bytes: u64,
    /// 0..=100.
    pub read_score: u8,
    /// 0..=100.
    pub write_score: u8,
    /// Bytes of frames read since start.
    pub read_bytes: u64,
    /// Bytes written since start.
    pub written_bytes: u64,
    /// Syncs since start.
    pub syncs: u64,
    /// Bad frames, headers and records since start.
    pub corruptions: u64,
    /// p95 of the last reads, microseconds.
    pub read_p95_us: u64,
    /// p95 of the last syncs, microseconds.
    pub sync_p95_us: u64,
}

/// One named memory limit.
#[derive(Debug, Clone)]
pub struct BudgetSample {
    /// Its name.
    pub limit: &'static str,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes not taken.
    pub available_bytes: u64,
}

/// One listener.
#[derive(Debug, Clone)]
pub struct DoorSample {
    /// `s3` or `admin`.
    pub door: &'static str,
    /// Open connections.
    pub connections: u64,
}

/// The process, as /proc says.
#[derive(Debug, Clone, Default)]
pub struct ProcessSample {
    /// Resident memory now.
    pub resident_bytes: u64,
    /// Resident memory at its highest.
    pub resident_peak_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many it may open.
    pub fds_max: u64,
    /// Processor time used, user and system.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Since start.
    pub uptime_seconds: f64,
}

/// Every source of time, so that each scrape shows each as 0 or 1.
const SOURCES: [&str; 7] = ["unproven", "grid", "host", "rtc", "ntp", "operator", "peer"];

/// Every state, so that each scrape shows each drive in each state as 0 or 1.
const STATES: [(DriveState, &str); 7] = [
    (DriveState::Waiting, "waiting"),
    (DriveState::Active, "active"),
    (DriveState::Suspect, "suspect"),
    (DriveState::Failing, "failing"),
    (DriveState::Draining, "draining"),
    (DriveState::Removed, "removed"),
    (DriveState::Foreign, "foreign"),
];

pub(super) struct Sampled(pub Arc<Mutex<NodeSample>>);

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sampled")
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let sample = self.0.lock().clone();
        let page = &mut encoder;
        gauge(page, "ready", "1 = can serve GET and PUT now", u64::from(sample.ready))?;
        gauge(
            page,
            "metadata_ready",
            "1 = every metadata group has a leader",
            u64::from(sample.metadata_ready),
        )?;
        gauge(page, "metadata_shards", "Metadata shards of this node", sample.metadata_shards)?;
        let help = "Segments with too few good chunks to read, as repair last found";
        gauge(page, "segments_unrecoverable", help, sample.segments_unrecoverable)?;
        encode_drives(page, &sample.drives)?;
        encode_budgets(page, &sample.budgets)?;
        let doors = sample.doors.iter().map(|door| (vec![("door", door.door)], door.connections));
        gauges(page, "connections", "Open connections by door", doors)?;
        encode_jobs(page, &sample.jobs)?;
        counters(
            page,
            "access_log_dropped",
            "Access log lines dropped",
            [(vec![], sample.access_log_dropped)],
        )?;
        if let Some(clock) = &sample.clock {
            encode_clock(page, clock)?;
        }
        encode_process(page, &sample.process)
    }
}

fn encode_drives(page: &mut DescriptorEncoder, drives: &[DriveSample]) -> fmt::Result {
    fn each<'a>(
        drives: &'a [DriveSample],
        value: impl Fn(&DriveSample) -> u64 + 'a,
    ) -> impl Iterator<Item = (Labels<'a>, u64)> + 'a {
        drives.iter().map(move |drive| (vec![("drive", drive.drive.as_str())], value(drive)))
    }
    let states = drives.iter().flat_map(|drive| {
        STATES.iter().map(move |(state, name)| {
            (vec![("drive", drive.drive.as_str()), ("state", *name)], u64::from(drive.state == *state))
        })
    });
    gauges(page, "drive_state", "1 for the state that a drive is in", states)?;
    gauges(page, "drive_total_bytes", "Bytes of the file system", each(drives, |d| d.total_bytes))?;
    gauges(page, "drive_free_bytes", "Bytes that clients may fill", each(drives, |d| d.free_bytes))?;
    gauges(page, "drive_read_score", "0 to 100, 0 = locked", each(drives, |d| u64::from(d.read_score)))?;
    gauges(page, "drive_write_score", "0 to 100, 0 = locked", each(drives, |d| u64::from(d.write_score)))?;
    gauges(page, "drive_read_p95_microseconds", "p95 of the last reads", each(drives, |d| d.read_p95_us))?;
    gauges(page, "drive_sync_p95_microseconds", "p95 of the last syncs", each(drives, |d| d.sync_p95_us))?;
    counters(page, "drive_read_bytes", "Bytes of frames read", each(drives, |d| d.read_bytes))?;
    counters(page, "drive_written_bytes", "Bytes written", each(drives, |d| d.written_bytes))?;
    counters(page, "drive_syncs", "Completed syncs", each(drives, |d| d.syncs))?;
    counters(page, "drive_corruptions", "Bad frames, headers and records", each(drives, |d| d.corruptions))
}

fn encode_budgets(page: &mut DescriptorEncoder, budgets: &[BudgetSample]) -> fmt::Result {
    let total = budgets.iter().map(|budget| (vec![("limit", budget.limit)], budget.total_bytes));
    gauges(page, "memory_limit_bytes", "Bytes of a memory limit", total)?;
    let free = budgets.iter().map(|budget| (vec![("limit", budget.limit)], budget.available_bytes));
    gauges(page, "memory_available_bytes", "Bytes of a memory limit that are not taken", free)
}

fn encode_jobs(page: &mut DescriptorEncoder, jobs: &[JobInfo]) -> fmt::Result {
    fn each<'a>(
        jobs: &'a [JobInfo],
        value: impl Fn(&JobInfo) -> u64 + 'a,
    ) -> impl Iterator<Item = (Labels<'a>, u64)> + 'a {
        jobs.iter().map(move |job| (vec![("job", job.name.as_str())], value(job)))
    }
    gauges(page, "job_waiting", "Items that wait for a worker", each(jobs, |job| job.waiting))?;
    gauges(
        page,
        "job_paused",
        "1 = paused by the operator",
        each(jobs, |job| u64::from(job.state == "paused")),
    )?;
    let pass = |job: &JobInfo| job.pass.map_or(0, |pass| (pass.clamp(0.0, 1.0) * 100.0) as u64);
    gauges(page, "job_pass_percent", "How much of the current pass is done", each(jobs, pass))?;
    counters(page, "job_done", "Items done", each(jobs, |job| job.done))?;
    counters(page, "job_failed", "Items that failed", each(jobs, |job| job.failed))
}

fn encode_clock(page: &mut DescriptorEncoder, clock: &ClockInfo) -> fmt::Result {
    let sources =
        SOURCES.iter().map(|source| (vec![("source", *source)], u64::from(clock.source == *source)));
    gauges(page, "clock_source", "1 for who vouches for the time", sources)?;
    if let Some(uncertainty) = clock.uncertainty_us {
        let help = "How far the time may be off where it is proven";
        gauge(page, "clock_uncertainty_microseconds", help, uncertainty)?;
    }
    let help = "How far a member's clock is ahead of this one; negative where it is behind";
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = page.encode_descriptor("clock_ahead_microseconds", help, None, kind)?;
    for member in &clock.members {
        family.encode_family(&[("node", member.node.to_string())])?.encode_gauge(&member.ahead_us)?;
    }
    Ok(())
}

fn encode_process(page: &mut DescriptorEncoder, process: &ProcessSample) -> fmt::Result {
    gauge(page, "process_resident_bytes", "Resident memory", process.resident_bytes)?;
    gauge(
        page,
        "process_resident_peak_bytes",
        "Resident memory at its highest",
        process.resident_peak_bytes,
    )?;
    gauge(page, "process_open_fds", "Open file descriptors", process.open_fds)?;
    gauge(page, "process_fds_max", "File descriptors that it may open", process.fds_max)?;
    gauge(page, "process_threads", "Threads", process.threads)?;
    let cpu = ConstCounter::new(process.cpu_seconds);
    let help = "Processor time, user and system";
    cpu.encode(page.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)?;
    let uptime = ConstGauge::new(process.uptime_seconds);
    uptime.encode(page.encode_descriptor("uptime_seconds", "Since start", None, uptime.metric_type())?)
}

fn gauge(page: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(page.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn gauges<'a>(
    page: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let kind = ConstGauge::new(0_u64).metric_type();
    let mut family = page.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counters<'a>(
    page: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut family = page.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in values {
        let mut encoder = if labels.is_empty() {
            family.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            continue;
        } else {
            family.encode_family(&labels)?
        };
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

//! Results as JSON and as a Markdown table.

use std::fmt::Write;

use serde::Serialize;

use crate::disk::DiskFigures;
use crate::measure::Cell;
use crate::process::ServerFacts;

/// One run.
#[derive(Debug, Serialize)]
pub struct Report {
    label: String,
    profile: String,
    machine: Machine,
    disk: DiskFigures,
    server: ServerFacts,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
}

impl Report {
    /// Collects a run, with the machine it ran on.
    pub fn new(label: &str, profile: &str, disk: DiskFigures, server: ServerFacts, cells: Vec<Cell>) -> Self {
        Self { label: label.to_owned(), profile: profile.to_owned(), machine: machine(), disk, server, cells }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let _infallible = writeln!(
            text,
            "{} ({}) on {} × {}, {:.0} GiB, Linux {}\n\nDisk in the same run: {:.0} MB/s synced, 4 KiB sync p50 {} µs. \
             Binary {:.1} MiB, start {} ms, RSS idle {:.0} MiB, peak {:.0} MiB.\n",
            self.label,
            self.profile,
            self.machine.cores,
            self.machine.cpu,
            mib(self.machine.memory_bytes) / 1024.0,
            self.machine.kernel,
            self.disk.synced_mb_per_s,
            self.disk.sync_p50_us,
            mib(self.server.binary_bytes),
            self.server.start_ms,
            mib(self.server.idle_rss_bytes),
            mib(self.server.peak_rss_bytes),
        );
        text.push_str(
            "| verb | size | conc. | op/s | MB/s | p50 ms | p99 ms | CPU s/GB | CPU ms/op | RSS MiB | errors |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for cell in &self.cells {
            let _infallible = writeln!(text, "| {} |", line(cell));
        }
        text
    }
}

/// One cell as a row.
pub fn line(cell: &Cell) -> String {
    format!(
        "{:?} | {} | {} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.3} | {:.0} | {}",
        cell.verb,
        size(cell.size),
        cell.concurrency,
        cell.ops_per_s,
        cell.mb_per_s,
        cell.p50_ms,
        cell.p99_ms,
        cell.cpu_s_per_gb,
        cell.cpu_ms_per_op,
        cell.rss_peak_bytes as f64 / f64::from(1 << 20),
        cell.errors
    )
}

fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

fn machine() -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.split(' ').next().and_then(|kb| kb.parse::<u64>().ok()))
        .unwrap_or(0);
    Machine {
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_bytes: memory * 1024,
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}

//! The measured server: started here or foreign; its CPU time and memory from /proc.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What `shoal demo --json` prints once ready.
#[derive(Debug, Deserialize)]
pub struct Ready {
    pub endpoints: Vec<String>,
    pub region: String,
    pub access_key: String,
    pub secret_key: String,
    pub pids: Vec<u32>,
}

/// Facts about the server outside single cells.
#[derive(Debug, Clone, Serialize)]
pub struct ServerFacts {
    /// Resident bytes before the first load.
    pub idle_rss_bytes: u64,
    /// Highest resident bytes seen by the kernel.
    pub peak_rss_bytes: u64,
    /// Size of the executable; 0 if unknown.
    pub binary_bytes: u64,
    /// From start to ready in milliseconds, founding and self-test included; 0 for a foreign one.
    pub start_ms: u64,
}

/// A server at work.
pub struct Served {
    pids: Vec<u32>,
    child: Option<Child>,
    start_ms: u64,
}

impl Served {
    /// Somebody else's processes.
    pub fn foreign(pids: Vec<u32>) -> Self {
        Self { pids, child: None, start_ms: 0 }
    }

    /// Starts a demo grid and waits until it is ready.
    pub fn start(
        shoal: &Path,
        dir: &Path,
        profile: &str,
        nodes: u32,
        drives: u32,
    ) -> Result<(Ready, Self), String> {
        let begin = Instant::now();
        let mut child = Command::new(shoal)
            .args(["demo", "--json", "--ephemeral", "--s3-port", "0", "--admin-port", "0"])
            .args(["--profile", profile, "--nodes", &nodes.to_string()])
            .args(["--drives", &drives.to_string(), "--dir"])
            .arg(dir.join("grid"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("starting {}: {error}", shoal.display()))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the demo has no standard output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let start_ms = begin.elapsed().as_millis() as u64;
        let ready: Ready = serde_json::from_str(&line)
            .map_err(|error| format!("the demo did not get ready: {error}: `{}`", line.trim()))?;
        let pids = ready.pids.clone();
        Ok((ready, Self { pids, child: Some(child), start_ms }))
    }

    /// User and system CPU seconds so far.
    pub fn cpu_seconds(&self) -> f64 {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let total: u64 = self.pids.iter().filter_map(|pid| cpu_ticks(*pid)).sum();
        total as f64 / ticks
    }

    /// Resident bytes now.
    pub fn rss_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// What stays the same over cells.
    pub fn facts(&self, idle_rss_bytes: u64) -> ServerFacts {
        let binary_bytes = self
            .pids
            .first()
            .and_then(|pid| std::fs::metadata(format!("/proc/{pid}/exe")).ok())
            .map_or(0, |meta| meta.len());
        ServerFacts {
            idle_rss_bytes,
            peak_rss_bytes: self.status_bytes("VmHWM:"),
            binary_bytes,
            start_ms: self.start_ms,
        }
    }

    /// Ends a server that was started here.
    pub fn stop(mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _status = child.wait();
        }
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        };
        self.pids.iter().filter_map(of).sum::<u64>() * 1024
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

/// Fields 14 and 15 of /proc/PID/stat (proc(5)), counted behind the command name, which may hold blanks.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

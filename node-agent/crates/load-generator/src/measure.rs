//! One cell of the table: one verb, one size, one concurrency.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use crate::client::Target;
use crate::process::Served;

/// Keys that PUT cells of one size go round, and that GET cells read back.
pub const KEYS_MAX: u64 = 64;
/// How often memory is sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// PUT or GET.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub enum Verb {
    Put,
    Get,
}

/// What to measure.
pub struct Plan {
    pub verb: Verb,
    pub size: u64,
    pub concurrency: usize,
    pub seconds: f64,
    /// Keys of this size that were written before: what a GET may ask for.
    pub keys: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    pub verb: Verb,
    pub size: u64,
    pub concurrency: usize,
    pub operations: u64,
    pub errors: u64,
    pub seconds: f64,
    pub ops_per_s: f64,
    pub mb_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub cpu_s_per_gb: f64,
    pub cpu_ms_per_op: f64,
    pub rss_peak_bytes: u64,
}

/// Keeps `concurrency` requests in flight until the time is over; each worker does at least one.
pub async fn run(target: &Target, bucket: &str, plan: &Plan, served: &Served) -> Result<Cell, String> {
    let keys = match plan.verb {
        Verb::Put => KEYS_MAX,
        Verb::Get => plan.keys.clamp(1, KEYS_MAX),
    };
    let body = Bytes::from(noise(plan.size));
    let next = Arc::new(AtomicU64::new(0));
    let mut connections = Vec::new();
    for _ in 0..plan.concurrency {
        connections.push(target.connect().await?);
    }
    let cpu_before = served.cpu_seconds();
    let begin = Instant::now();
    let deadline = begin + Duration::from_secs_f64(plan.seconds);
    let mut workers = Vec::new();
    for mut connection in connections {
        let (next, body) = (next.clone(), body.clone());
        let (verb, size, bucket) = (plan.verb, plan.size, bucket.to_owned());
        workers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let mut errors = 0u64;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) % keys;
                let path = format!("/{bucket}/{size}/{number}");
                let sent = Instant::now();
                let good = match verb {
                    Verb::Put => {
                        let (status, _) = connection.call(Method::PUT, &path, body.clone()).await?;
                        status.is_success()
                    }
                    Verb::Get => {
                        let (status, length) = connection.call(Method::GET, &path, Bytes::new()).await?;
                        status.is_success() && length == size
                    }
                };
                times.push(sent.elapsed());
                errors += u64::from(!good);
                if Instant::now() >= deadline {
                    return Ok::<_, String>((times, errors));
                }
            }
        }));
    }
    let mut rss_peak_bytes = 0;
    while workers.iter().any(|worker| !worker.is_finished()) {
        rss_peak_bytes = rss_peak_bytes.max(served.rss_bytes());
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
    let mut times = Vec::new();
    let mut errors = 0;
    for worker in workers {
        let (own, failed) = worker.await.map_err(|error| error.to_string())??;
        times.extend(own);
        errors += failed;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = served.cpu_seconds() - cpu_before;
    times.sort_unstable();
    let operations = times.len() as u64;
    let gigabytes = (operations * plan.size) as f64 / 1e9;
    Ok(Cell {
        verb: plan.verb,
        size: plan.size,
        concurrency: plan.concurrency,
        operations,
        errors,
        seconds,
        ops_per_s: operations as f64 / seconds,
        mb_per_s: gigabytes * 1e3 / seconds,
        p50_ms: quantile(&times, 50),
        p99_ms: quantile(&times, 99),
        cpu_s_per_gb: cpu / gigabytes,
        cpu_ms_per_op: cpu * 1e3 / operations as f64,
        rss_peak_bytes,
    })
}

/// The value below which `percent` of the sorted times lie, in milliseconds.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len() - 1);
    sorted[index].as_secs_f64() * 1e3
}

/// Bytes that do not compress (xorshift64*).
fn noise(size: u64) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ size;
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while (bytes.len() as u64) < size {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    bytes.truncate(size as usize);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_pick_the_right_rank() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 50), 51.0);
        assert_eq!(quantile(&times, 99), 100.0);
        assert_eq!(quantile(&times[..1], 99), 1.0);
    }
}

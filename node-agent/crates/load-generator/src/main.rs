//! `shoal-load`: the load behind `just bench`. PUTs and GETs of fixed sizes at fixed concurrency against any S3 server,
//! with the server's CPU and memory read from /proc and the disk's own synced rate measured in the same run.
//!
//! Speaks plain HTTP with unsigned payloads over keep-alive connections, one request at a time on each. Imports nothing
//! of the agent, so that what is measured is a stranger to it.
#![allow(
    clippy::disallowed_methods,
    reason = "it measures real time on a real machine; nothing here is simulated"
)]

mod client;
mod disk;
mod measure;
mod process;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::client::Target;
use crate::measure::{Cell, Plan, Verb};
use crate::process::Served;

/// Measures an S3 server: throughput, latency, CPU and memory.
#[derive(Parser)]
struct Options {
    /// Measure this server instead of starting `--shoal` (http://HOST:PORT); needs the keys.
    #[arg(long)]
    endpoint: Option<String>,
    /// Access key of `--endpoint`.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    access_key: String,
    /// Secret key of `--endpoint`.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    secret_key: String,
    /// Region that the signature names.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Processes of `--endpoint` whose CPU and memory are read.
    #[arg(long)]
    pid: Vec<u32>,
    /// The binary to start as `demo --json --ephemeral`.
    #[arg(long, default_value = "target/release/shoal")]
    shoal: PathBuf,
    /// Protection profile of the demo.
    #[arg(long, default_value = "copies:1")]
    profile: String,
    /// Nodes of the demo, a process each.
    #[arg(long, default_value_t = 1)]
    nodes: u32,
    /// Send requests to this many of its nodes in turn; 0 = to all.
    #[arg(long, default_value_t = 1)]
    through: usize,
    /// Drive folders of each node of the demo.
    #[arg(long, default_value_t = 1)]
    drives: u32,
    /// Where the demo keeps its data and the disk itself is measured.
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Object sizes in bytes; K, M suffixes are binary.
    #[arg(long, value_delimiter = ',', default_value = "4K,1M,64M")]
    sizes: Vec<String>,
    /// Requests in flight.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32")]
    concurrency: Vec<usize>,
    /// What to measure; a GET reads what a PUT of the same run wrote.
    #[arg(long, value_delimiter = ',', default_value = "put,get")]
    verbs: Vec<Verb>,
    /// Seconds a cell runs at least.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Name of the server in the report.
    #[arg(long, default_value = "shoal")]
    label: String,
    /// Writes the results as JSON, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Parses `4K`, `1M`, `65536`.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits
        .parse::<u64>()
        .map(|n| n << shift)
        .map_err(|_| format!("`{text}` is not a size: write 4K, 1M, 64M"))
}

fn main() -> Result<(), String> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the runtime: {error}"))?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Result<(), String> {
    let sizes = options.sizes.iter().map(|text| parse_size(text)).collect::<Result<Vec<u64>, _>>()?;
    std::fs::create_dir_all(&options.dir).map_err(|error| format!("{}: {error}", options.dir.display()))?;
    let disk = disk::measure(&options.dir).map_err(|error| format!("measuring the disk: {error}"))?;

    let (target, served) = match &options.endpoint {
        Some(endpoint) => {
            let address = parse_endpoint(endpoint)?;
            let target =
                Target::new(vec![address], &options.access_key, &options.secret_key, &options.region);
            (target, Served::foreign(options.pid.clone()))
        }
        None => {
            let (ready, served) =
                Served::start(&options.shoal, &options.dir, &options.profile, options.nodes, options.drives)?;
            let through = if options.through == 0 { ready.endpoints.len() } else { options.through };
            let addresses: Vec<SocketAddr> = ready
                .endpoints
                .iter()
                .take(through)
                .map(|one| parse_endpoint(one))
                .collect::<Result<_, _>>()?;
            (Target::new(addresses, &ready.access_key, &ready.secret_key, &ready.region), served)
        }
    };
    let bucket = "bench-load";
    target.create_bucket(bucket).await?;
    let idle_rss = served.rss_bytes();
    let mut cells: Vec<Cell> = Vec::new();
    for &size in &sizes {
        let mut keys = 0;
        for &concurrency in &options.concurrency {
            for &verb in &options.verbs {
                let plan = Plan { verb, size, concurrency, seconds: options.seconds, keys };
                let cell = measure::run(&target, bucket, &plan, &served).await?;
                eprintln!("{}", report::line(&cell));
                if verb == Verb::Put {
                    keys = keys.max(cell.operations);
                }
                cells.push(cell);
            }
        }
    }
    let report = report::Report::new(&options.label, &options.profile, disk, served.facts(idle_rss), cells);
    println!("{}", report.table());
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    served.stop();
    Ok(())
}

fn parse_endpoint(endpoint: &str) -> Result<SocketAddr, String> {
    let rest = endpoint
        .strip_prefix("http://")
        .ok_or_else(|| format!("`{endpoint}`: only http:// endpoints are measured"))?;
    use std::net::ToSocketAddrs;
    rest.trim_end_matches('/')
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .ok_or_else(|| format!("`{endpoint}`: write http://HOST:PORT"))
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_take_binary_suffixes() {
        assert_eq!(parse_size("4K"), Ok(4_096));
        assert_eq!(parse_size("64M"), Ok(64 << 20));
        assert_eq!(parse_size("17"), Ok(17));
        assert!(parse_size("M").is_err());
        assert!(parse_size("1.5M").is_err());
    }
}

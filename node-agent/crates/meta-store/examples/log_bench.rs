//! Appends a second of the shared log, with the syncs that they took:
//! `cargo run --release -p meta-store --example log_bench -- FOLDER...` (a mirror each; a temporary one without).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grid_types::{DriveId, ShardId};
use meta_store::home::HomeDrive;
use meta_store::log::{LogConfig, LogEntry, SharedLog};
use sys::{Clock, RealClock, RealDisk, RealRandom};

/// Bytes of one entry.
const ENTRY_BYTES: usize = 300;
/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let mut folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        folders.push(temporary.path().to_owned());
    }
    println!("{} mirror(s), entries of {ENTRY_BYTES} bytes", folders.len());
    println!("groups  writers  appends/s  syncs/append  p50 ms  p99 ms");
    for (groups, writers) in [(1, 1), (1, 32), (1, 128), (16, 32), (16, 128)] {
        let mut home = Vec::new();
        for (folder, number) in folders.iter().zip(1..) {
            let folder = folder.join("log-bench");
            std::fs::create_dir_all(&folder)?;
            home.push(HomeDrive {
                id: DriveId::from_bytes([number; 16]),
                disk: Arc::new(RealDisk::open(&folder)?),
            });
        }
        let log = SharedLog::create(&home, LogConfig::default(), &RealRandom)?;
        let before = log.status().batches;
        let tasks: Vec<_> = (0..writers)
            .map(|writer| tokio::spawn(write(log.clone(), ShardId(writer % groups), writer / groups)))
            .collect();
        let mut waits: Vec<Duration> = Vec::new();
        for task in tasks {
            waits.extend(task.await??);
        }
        waits.sort();
        let (count, syncs) = (waits.len() as u64, log.status().batches - before);
        let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!(
            "{groups:6}  {writers:7}  {:9}  {:12.3}  {:6.2}  {:6.2}",
            count / LOAD.as_secs(),
            syncs as f64 / count as f64,
            at(50),
            at(99)
        );
        log.close().await;
        for folder in &folders {
            std::fs::remove_dir_all(folder.join("log-bench"))?;
        }
    }
    Ok(())
}

/// Appends one entry after the other. Writers of one group share it by turns, as proposals of a Raft group do: the next
/// index is taken when the entry is queued.
async fn write(
    log: SharedLog,
    group: ShardId,
    _turn: u64,
) -> Result<Vec<Duration>, meta_store::log::LogError> {
    let group = log.group(group);
    let payload = bytes::Bytes::from(vec![7; ENTRY_BYTES]);
    let end = RealClock.since_boot() + LOAD;
    let mut waits = Vec::new();
    while RealClock.since_boot() < end {
        let begun = RealClock.since_boot();
        loop {
            let index = group.state().last.map_or(0, |last| last + 1);
            let (sender, flushed) = tokio::sync::oneshot::channel();
            let answer = Box::new(move |result| drop(sender.send(result)));
            let entry = LogEntry { index, payload: payload.clone() };
            // Another writer of the group took this index: try the next one.
            if group.append_then(vec![entry], answer).await.is_ok() {
                flushed.await.expect("the log answers")?;
                break;
            }
        }
        waits.push(RealClock.since_boot() - begun);
        if group.state().last.is_some_and(|last| last % 10_000 == 9_999) {
            let last = group.state().last.unwrap_or_default();
            group.purge_through(last - 5_000, bytes::Bytes::new()).await?;
        }
    }
    Ok(waits)
}

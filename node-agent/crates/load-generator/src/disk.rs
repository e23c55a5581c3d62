//! What the disk itself can do, measured in the same run: the limit that a durable PUT is held against.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

/// Bytes written for the streaming figure.
const STREAM_BYTES: usize = 512 << 20;
/// One write of the streaming figure.
const STREAM_WRITE_BYTES: usize = 1 << 20;
/// Small synced writes.
const SMALL_WRITES: usize = 200;

/// The disk's own figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DiskFigures {
    /// MB/s of one stream with one sync at its end.
    pub synced_mb_per_s: f64,
    /// p50 of a 4 KiB append with fdatasync, in microseconds.
    pub sync_p50_us: u64,
}

/// Writes and syncs in `dir`, and cleans up.
pub fn measure(dir: &Path) -> io::Result<DiskFigures> {
    let path = dir.join("disk-figures");
    let block: Vec<u8> = (0..STREAM_WRITE_BYTES).map(|i| (i * 31 % 251) as u8).collect();
    // The small syncs come first: behind a large write-back they would measure that.
    let mut file = create(&path)?;
    let mut times = Vec::with_capacity(SMALL_WRITES);
    for _ in 0..SMALL_WRITES {
        let begin = Instant::now();
        file.write_all(&block[..4096])?;
        file.sync_data()?;
        times.push(begin.elapsed().as_micros() as u64);
    }
    times.sort_unstable();
    let mut file = create(&path)?;
    let begin = Instant::now();
    for _ in 0..STREAM_BYTES / STREAM_WRITE_BYTES {
        file.write_all(&block)?;
    }
    file.sync_data()?;
    let synced_mb_per_s = STREAM_BYTES as f64 / 1e6 / begin.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(DiskFigures { synced_mb_per_s, sync_p50_us: times[SMALL_WRITES / 2] })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).open(path)
}

//! Writes and reads segments on real directories and prints what that costs, as JSON lines:
//! `cargo run -p segment-store --example segments --profile ci -- DIR [PROFILE [BYTES CONCURRENCY ROUNDS]]`. DIR gets a drive folder for each drive, which
//! are taken for separate failure domains although they share a disk; they are removed at the end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveLabel, label};
use grid_types::{
    BucketId, DriveId, DriveSnapshot, DriveState, FailureDomain, GridId, GridSnapshot, MemoryBudget, NodeId,
    ObjectKey, Profile, ProfileChoice, Score, Segment, SegmentOwner, Timestamp, VersionId,
};
use keyring::{BucketKey, RootKey};
use rustix::time::{ClockId, clock_gettime};
use segment_store::format::SegmentIdentity;
use segment_store::{GridView, SegmentConfig, SegmentSpec, SegmentStore};
use sys::{RealClock, RealDisk, RealRandom};

const DRIVES: u8 = 4;
/// Bytes of a segment, writers at once, segments each.
const SHAPES: [(usize, usize, usize); 6] = [
    (20 << 10, 1, 200),
    (20 << 10, 32, 40),
    (1 << 20, 1, 60),
    (1 << 20, 8, 20),
    (64 << 20, 1, 4),
    (64 << 20, 8, 2),
];

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Of it, what the kernel did on our behalf, in ticks of a hundredth of a second.
fn kernel_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().nth(12).and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn open(root: &Path) -> (ChunkStore, GridView) {
    let mut drives = Vec::new();
    let mut snapshots = Vec::new();
    let node = NodeId::from_bytes([1; 16]);
    for number in 0..DRIVES {
        let path = root.join(format!("bench-drive-{number}"));
        std::fs::create_dir_all(&path).expect("a folder for the drive");
        let disk = RealDisk::open(&path).expect("the folder opens");
        let id = DriveId::from_bytes([number + 1; 16]);
        let grid = GridId::from_bytes([2; 16]);
        let wanted = DriveLabel { grid, node, drive: id, generation: 1, created: Timestamp::default() };
        label::create(&disk, &wanted, false).expect("a fresh folder");
        let drive = Drive::open(Arc::new(disk), Arc::new(RealClock), DriveConfig::default());
        drives.push(drive.expect("the drive opens"));
        snapshots.push(DriveSnapshot {
            id,
            node,
            file_system: FailureDomain(number.to_string()),
            state: DriveState::Active,
            read_score: Score::BEST,
            write_score: Score::BEST,
            total_bytes: 1 << 40,
            free_bytes: 1 << 39,
        });
    }
    let grid = GridView::default();
    grid.publish(GridSnapshot { epoch: 1, drives: snapshots, all_have_aes: codec::cpu_has_aes() });
    (ChunkStore::new(drives), grid)
}

#[derive(Clone)]
struct Bench {
    store: SegmentStore,
    key: BucketKey,
    profile: Profile,
    size: usize,
}

impl Bench {
    async fn put(&self, piece: &Bytes) -> Segment {
        let identity = SegmentIdentity {
            bucket: BucketId::from_bytes([1; 16]),
            key: ObjectKey::new("bench").expect("a key"),
            owner: SegmentOwner { version: VersionId::from_bytes([1; 16]), part: 1, number: 0 },
        };
        let spec = SegmentSpec {
            bucket_key: self.key.clone(),
            identity,
            profile: ProfileChoice::Fixed(self.profile),
            plain_len_max: self.size as u64,
        };
        let mut writer = self.store.begin(spec).await.expect("begin");
        let mut left = self.size;
        while left > 0 {
            let take = left.min(piece.len());
            writer.write(piece.slice(..take)).await.expect("write");
            left -= take;
        }
        writer.finish(None).await.expect("finish")
    }

    async fn get(&self, segment: Segment) {
        let length = segment.length;
        let mut reader = self.store.read(segment, self.key.clone(), 0..length);
        let mut got = 0;
        while let Some(piece) = reader.next().await {
            got += piece.expect("read").len() as u64;
        }
        assert_eq!(got, length);
    }

    /// `rounds` writes, then reads, by each of `concurrency` tasks.
    async fn run(self, concurrency: usize, rounds: usize) {
        // What a connection's buffer hands over at a time.
        let piece = Bytes::from(vec![0x5A; 128 << 10]);
        let (begun, cpu_begun) = (now(), (cpu(), kernel_ticks()));
        let mut tasks = Vec::new();
        for _ in 0..concurrency {
            let (bench, piece) = (self.clone(), piece.clone());
            tasks.push(tokio::spawn(async move {
                let mut segments = Vec::new();
                let mut times = Vec::new();
                for _ in 0..rounds {
                    let begun = now();
                    segments.push(bench.put(&piece).await);
                    times.push(begun.elapsed());
                }
                (segments, times)
            }));
        }
        let (mut segments, mut times) = (Vec::new(), Vec::new());
        for task in tasks {
            let (some, took) = task.await.expect("a writer");
            segments.push(some);
            times.extend(took);
        }
        self.report("put", concurrency, &mut times, begun.elapsed(), cpu_begun);
        let (begun, cpu_begun) = (now(), (cpu(), kernel_ticks()));
        let mut tasks = Vec::new();
        for some in segments {
            let bench = self.clone();
            tasks.push(tokio::spawn(async move {
                let mut times = Vec::new();
                for segment in some {
                    let begun = now();
                    bench.get(segment).await;
                    times.push(begun.elapsed());
                }
                times
            }));
        }
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.expect("a reader"));
        }
        self.report("get", concurrency, &mut times, begun.elapsed(), cpu_begun);
    }

    fn report(
        &self,
        what: &str,
        concurrency: usize,
        times: &mut [Duration],
        took: Duration,
        (cpu_begun, ticks_begun): (Duration, u64),
    ) {
        let cpu = cpu() - cpu_begun;
        let kernel = (kernel_ticks() - ticks_begun) as f64 / 100.0;
        times.sort_unstable();
        let gb = (times.len() * self.size) as f64 / 1e9;
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
        println!(
            r#"{{"what":"{what}","profile":"{}","bytes":{},"concurrency":{concurrency},"mb_per_s":{:.0},"cpu_s_per_gb":{:.2},"kernel_s_per_gb":{:.2},"cpu_us_per_op":{:.0},"p50_us":{},"p99_us":{}}}"#,
            self.profile,
            self.size,
            gb * 1e3 / took.as_secs_f64(),
            cpu.as_secs_f64() / gb,
            kernel / gb,
            cpu.as_secs_f64() * 1e6 / times.len() as f64,
            at(50),
            at(99),
        );
    }
}

#[tokio::main]
async fn main() {
    let root = std::env::args().nth(1).expect("a folder on the disk to measure");
    let root = Path::new(&root);
    let only = std::env::args().nth(2);
    let profiles: Vec<&str> = match &only {
        Some(profile) => vec![profile],
        None => vec!["copies:1", "ec:2+2", "copies:3"],
    };
    for profile in profiles {
        let (chunks, grid) = open(root);
        let (key, _) =
            RootKey::generate(&RealRandom).new_bucket_key(BucketId::from_bytes([1; 16]), 1, &RealRandom);
        let budget = MemoryBudget::new("segments", 64 << 20, 256);
        let store = SegmentStore::new(chunks, grid, Arc::new(RealRandom), budget, SegmentConfig::default());
        let profile: Profile = profile.parse().expect("a profile");
        let given: Vec<usize> = std::env::args().skip(3).filter_map(|number| number.parse().ok()).collect();
        let shapes = match given[..] {
            [size, concurrency, rounds] => vec![(size, concurrency, rounds)],
            _ => SHAPES.to_vec(),
        };
        for (size, concurrency, rounds) in shapes {
            Bench { store: store.clone(), key: key.clone(), profile, size }.run(concurrency, rounds).await;
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
        println!(r#"{{"what":"peak memory so far","kib":"{}"}}"#, peak.trim().trim_end_matches(" kB"));
        drop(store);
        for number in 0..DRIVES {
            let _ = std::fs::remove_dir_all(root.join(format!("bench-drive-{number}")));
        }
    }
}

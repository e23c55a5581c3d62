//! The log does what it says while nothing fails; `torture_tests` has the rest.

use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use grid_types::{DriveId, ShardId};
use sys::{Disk, FaultDisk, RealDisk, SeededRandom};

use super::{LogConfig, LogEntry, LogError, SharedLog};
use crate::home::HomeDrive;

pub(super) const GROUP: ShardId = ShardId(7);

pub(super) fn drive(number: u8, disk: Arc<dyn Disk>) -> HomeDrive {
    HomeDrive { id: DriveId::from_bytes([number; 16]), disk }
}

/// Files so small that tests roll them.
pub(super) fn small() -> LogConfig {
    LogConfig {
        file_bytes: 8_192,
        batch_bytes_max: 2_048,
        queue_bytes_max: 1 << 20,
        cache_bytes_max: 1_024,
        files_spread_max: 3,
    }
}

pub(super) fn entry(index: u64, len: usize) -> LogEntry {
    LogEntry { index, payload: vec![u8::try_from(index % 251).unwrap(); len].into() }
}

pub(super) fn entries(indexes: std::ops::Range<u64>, len: usize) -> Vec<LogEntry> {
    indexes.map(|index| entry(index, len)).collect()
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn create(drives: &[HomeDrive]) -> SharedLog {
    SharedLog::create(drives, small(), &SeededRandom::new(1)).unwrap()
}

#[tokio::test]
async fn a_group_finds_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let drives =
        [drive(1, Arc::new(RealDisk::open(folder.path()).unwrap())), drive(2, Arc::new(FaultDisk::new(1)))];
    let log = create(&drives);
    let group = log.group(GROUP);
    assert_eq!(group.state(), Default::default());
    group.save_vote(text("vote 1")).await.unwrap();
    group.append(entries(0..200, 100)).await.unwrap();
    group.truncate_from(150).await.unwrap();
    group.append(entries(150..160, 9)).await.unwrap();
    group.purge_through(19, text("id 19")).await.unwrap();
    group.save_vote(text("vote 2")).await.unwrap();
    let before = (
        group.state(),
        group.read(0..500, u64::MAX).await.unwrap(),
        group.read(20..500, u64::MAX).await.unwrap(),
    );
    assert!(before.1.is_empty(), "a range whose start is purged gives nothing");
    assert_eq!(before.0.purged, Some((19, text("id 19"))));
    assert_eq!(before.0.last, Some(159));
    assert_eq!(before.0.vote, Some(text("vote 2")));
    let wanted: Vec<_> = entries(20..150, 100).into_iter().chain(entries(150..160, 9)).collect();
    assert_eq!(before.2, wanted);
    drop((group, log));

    let log = SharedLog::open(&drives, small()).unwrap();
    let group = log.group(GROUP);
    assert_eq!((group.state(), group.read(20..500, u64::MAX).await.unwrap()), (before.0, before.2));
    assert_eq!(log.status().mended, 0);
    assert_eq!(log.status().mirrors.len(), 2);
}

#[tokio::test]
async fn reads_stop_at_their_limit_and_reach_queued_entries() {
    let log = create(&[drive(1, Arc::new(FaultDisk::new(1)))]);
    let group = log.group(GROUP);
    let (sender, flushed) = mpsc::sync_channel(100);
    let answer = Box::new(move |result| sender.send(result).unwrap());
    group.append_then(entries(5..50, 100), answer).await.unwrap();
    assert_eq!(group.read(5..50, u64::MAX).await.unwrap(), entries(5..50, 100), "before it is durable");
    flushed.recv().unwrap().unwrap();
    group.wait_durable(49).await.unwrap();
    assert_eq!(group.read(5..50, 250).await.unwrap(), entries(5..7, 100));
    assert_eq!(group.read(6..50, 1).await.unwrap(), entries(6..7, 100), "one at least");
    assert_eq!(group.read(48..60, u64::MAX).await.unwrap(), entries(48..50, 100));
    assert_eq!(group.read(20..22, u64::MAX).await.unwrap(), entries(20..22, 100));
    assert!(group.read(50..60, u64::MAX).await.unwrap().is_empty());
    assert!(group.read(0..60, u64::MAX).await.unwrap().is_empty());
    assert!(matches!(group.wait_durable(50).await, Err(LogError::Invalid(_))));
}

#[tokio::test]
async fn gaps_and_giants_are_refused() {
    let log = create(&[drive(1, Arc::new(FaultDisk::new(1)))]);
    let group = log.group(GROUP);
    group.append(entries(1..3, 10)).await.unwrap();
    for bad in [entries(4..5, 10), entries(2..3, 10), vec![entry(3, 10), entry(5, 10)], entries(3..4, 5_000)]
    {
        assert!(matches!(group.append(bad).await, Err(LogError::Invalid(_))));
    }
    assert!(matches!(group.save_vote(vec![0; 2_000].into()).await, Err(LogError::Invalid(_))));
    group.append(entries(3..4, 4_000)).await.unwrap();
    assert_eq!(group.state().last, Some(3));
}

#[tokio::test]
async fn a_snapshot_leaps_over_the_end() {
    let disk = Arc::new(FaultDisk::new(1));
    let log = create(&[drive(1, disk.clone())]);
    let group = log.group(GROUP);
    group.append(entries(1..10, 10)).await.unwrap();
    group.purge_through(100, text("snapshot")).await.unwrap();
    assert_eq!(group.state().last, Some(100));
    assert!(group.append(entries(10..11, 1)).await.is_err());
    group.append(entries(101..103, 10)).await.unwrap();
    drop((group, log));
    let group = SharedLog::open(&[drive(1, disk)], small()).unwrap().group(GROUP);
    assert_eq!(group.state().last, Some(102));
    assert_eq!(group.read(101..200, u64::MAX).await.unwrap(), entries(101..103, 10));
}

#[tokio::test]
async fn purged_files_go_and_idle_groups_stay() {
    let disk = Arc::new(FaultDisk::new(1));
    let log = create(&[drive(1, disk.clone())]);
    let (busy, idle) = (log.group(GROUP), log.group(ShardId(8)));
    idle.save_vote(text("idle")).await.unwrap();
    idle.append(entries(1..4, 50)).await.unwrap();
    for round in 0..50 {
        let first = round * 50;
        busy.append(entries(first..first + 50, 100)).await.unwrap();
        busy.purge_through(first + 49, text("busy")).await.unwrap();
    }
    // Files go right after the purge was answered, before the next call is.
    busy.save_vote(text("busy")).await.unwrap();
    let files = disk.list("meta/log").unwrap().len();
    assert!(files <= 6, "{files} files after 40 were filled");
    assert!(log.status().files <= 3, "{:?}", log.status());
    drop((busy, idle, log));
    let log = SharedLog::open(&[drive(1, disk)], small()).unwrap();
    assert_eq!(log.group(ShardId(8)).read(1..9, u64::MAX).await.unwrap(), entries(1..4, 50));
    assert_eq!(log.group(ShardId(8)).state().vote, Some(text("idle")));
    assert_eq!(log.group(GROUP).state().purged, Some((2_499, text("busy"))));
}

#[tokio::test]
async fn a_removed_group_leaves_nothing() {
    let disk = Arc::new(FaultDisk::new(1));
    let log = create(&[drive(1, disk.clone())]);
    let group = log.group(GROUP);
    group.save_vote(text("vote")).await.unwrap();
    group.append(entries(1..4, 50)).await.unwrap();
    group.remove_group().await.unwrap();
    assert!(log.groups().is_empty());
    group.append(entries(9..10, 5)).await.expect("it may be founded anew");
    drop((group, log));
    let log = SharedLog::open(&[drive(1, disk)], small()).unwrap();
    assert_eq!(log.group(GROUP).read(9..20, u64::MAX).await.unwrap(), entries(9..10, 5));
    assert_eq!(log.group(GROUP).state().vote, None);
}

#[tokio::test]
async fn many_writers_share_a_sync() {
    let disk = Arc::new(FaultDisk::new(1));
    let log = create(&[drive(1, disk.clone())]);
    // The writer is held up until all have asked.
    let (release, gate) = mpsc::sync_channel(1);
    let (enter, entered) = mpsc::sync_channel(1);
    let hold = Box::new(move |_| {
        enter.send(()).unwrap();
        gate.recv().unwrap();
    });
    log.group(ShardId(1_000)).append_then(entries(1..2, 10), hold).await.unwrap();
    entered.recv().unwrap();
    let before = disk.syncs();
    let (sender, flushed) = mpsc::sync_channel(100);
    for group in 0..100 {
        let sender = sender.clone();
        let answer = Box::new(move |result| sender.send(result).unwrap());
        log.group(ShardId(group)).append_then(entries(1..2, 10), answer).await.unwrap();
    }
    release.send(()).unwrap();
    for _ in 0..100 {
        flushed.recv().unwrap().unwrap();
    }
    // 100 records of 50 bytes are three batches of 2 KiB.
    let syncs = disk.syncs() - before;
    assert_eq!(syncs, 3, "{syncs} syncs for 100 appends");
    assert_eq!(log.groups().len(), 101);
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let log = create(&[drive(1, Arc::new(FaultDisk::new(1)))]);
    let group = log.group(GROUP);
    group.append(entries(1..2, 10)).await.unwrap();
    log.close().await;
    assert!(matches!(group.append(entries(2..3, 10)).await, Err(LogError::Stopped { .. })));
    assert!(matches!(group.wait_durable(2).await, Err(LogError::Stopped { .. })));
    group.wait_durable(1).await.unwrap();
}

#[tokio::test]
async fn groups_that_idle_pin_no_file_each() {
    let disk = Arc::new(FaultDisk::new(1));
    let log = create(&[drive(1, disk.clone())]);
    let busy = log.group(GROUP);
    for round in 0..30 {
        log.group(ShardId(100 + round)).append(entries(1..3, 50)).await.unwrap();
        let first = round * 50;
        busy.append(entries(first..first + 50, 100)).await.unwrap();
        busy.purge_through(first + 49, text("busy")).await.unwrap();
        busy.save_vote(text("busy")).await.unwrap();
        assert!(log.status().files <= 6, "{:?}", log.status());
    }
    let check = async |log: &SharedLog| {
        for round in 0..30 {
            let group = log.group(ShardId(100 + round));
            assert_eq!(group.read(1..9, u64::MAX).await.unwrap(), entries(1..3, 50), "group {round}");
        }
    };
    check(&log).await;
    drop((busy, log));
    let log = SharedLog::open(&[drive(1, disk)], small()).unwrap();
    check(&log).await;
}

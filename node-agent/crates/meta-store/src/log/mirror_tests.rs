//! Mirrors fail, rot, leave and join.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sys::{Disk, FaultDisk, MutantDisk, SeededRandom, SyncSite};

use super::format::LOG_DIR;
use super::log_tests::{GROUP, drive, entries, entry, small};
use super::mirror::Mirror;
use super::{GroupLog, LogError, SharedLog};
use crate::home::{HomeDrive, MIRROR_SET_PATH, MirrorSet};

fn disks(count: u8) -> Vec<FaultDisk> {
    (0..count).map(|number| FaultDisk::new(u64::from(number))).collect()
}

/// Drives 1, 2, … on these disks.
fn home(disks: &[FaultDisk]) -> Vec<HomeDrive> {
    disks.iter().zip(1..).map(|(disk, number)| drive(number, Arc::new(disk.clone()))).collect()
}

fn create(disks: &[FaultDisk]) -> (SharedLog, GroupLog) {
    let log = SharedLog::create(&home(disks), small(), &SeededRandom::new(1)).unwrap();
    let group = log.group(GROUP);
    (log, group)
}

fn open(drives: &[HomeDrive]) -> Result<(SharedLog, GroupLog), LogError> {
    let log = SharedLog::open(drives, small())?;
    let group = log.group(GROUP);
    Ok((log, group))
}

async fn holds(group: &GroupLog, end: u64) -> Result<(), String> {
    match group.read(0..u64::MAX, u64::MAX).await {
        Ok(found) if found == entries(0..end, 300) => Ok(()),
        Ok(found) => Err(format!("{} entries instead of {end}", found.len())),
        Err(error) => Err(error.to_string()),
    }
}

async fn append(group: &GroupLog, range: std::ops::Range<u64>) {
    group.append(entries(range, 300)).await.unwrap();
}

#[tokio::test]
async fn mirrors_fail_one_after_the_other_and_the_last_carries_on() {
    let disks = disks(3);
    let (log, group) = create(&disks);
    append(&group, 0..30).await;
    disks[0].fail_sync(1);
    append(&group, 30..40).await;
    assert_eq!(log.status().mirrors.len(), 2);
    disks[1].pull();
    append(&group, 40..60).await;
    assert_eq!(log.status().mirrors, [home(&disks)[2].id]);
    drop((log, group));
    assert!(matches!(open(&home(&disks[..2])), Err(LogError::MirrorsMissing(_))), "they know too little");
    let (log, group) = open(&home(&disks)).unwrap();
    holds(&group, 60).await.unwrap();
    assert_eq!(log.status().mirrors, [home(&disks)[2].id]);
}

#[tokio::test]
async fn two_of_three_at_once_stop_the_log() {
    let disks = disks(3);
    let (log, group) = create(&disks);
    append(&group, 0..10).await;
    disks[0].pull();
    disks[1].pull();
    assert!(matches!(group.append(entries(10..11, 300)).await, Err(LogError::Stopped { .. })));
    assert!(matches!(group.save_vote(Bytes::new()).await, Err(LogError::Stopped { .. })));
    assert!(log.status().stopped.is_some());
    drop((log, group));
    let error = open(&home(&disks)).err().unwrap();
    assert!(error.to_string().contains("Bring a missing drive back"), "{error}");
    disks[0].plug();
    disks[1].plug();
    let (_log, group) = open(&home(&disks)).unwrap();
    let state = group.state().last;
    assert!(state == Some(9) || state == Some(10), "{state:?}");
}

#[tokio::test]
async fn of_two_both_are_needed_unless_the_operator_says_so() {
    let disks = disks(2);
    let (log, group) = create(&disks);
    append(&group, 0..10).await;
    drop((log, group));
    let lone = home(&disks)[1..].to_vec();
    assert!(matches!(open(&lone), Err(LogError::MirrorsMissing(_))));
    let log = SharedLog::open_forced(&lone, small()).unwrap();
    append(&log.group(GROUP), 10..20).await;
    drop(log);
    // The one that was given up comes back, and counts for nothing.
    let (log, group) = open(&home(&disks)).unwrap();
    holds(&group, 20).await.unwrap();
    assert_eq!(log.status().mirrors.len(), 1);
    assert!(matches!(open(&home(&disks)[..1]), Err(LogError::MirrorsMissing(_))));
}

#[tokio::test]
async fn rot_on_one_mirror_is_read_around_and_mended() {
    let disks = disks(2);
    let (log, group) = create(&disks);
    append(&group, 0..60).await;
    for (disk, offset) in [(&disks[0], 3_000), (&disks[1], 6_000)] {
        disk.corrupt("meta/log/0000000000000001.log", offset, 0x20).unwrap();
        disk.corrupt("meta/log/0000000000000002.log", offset, 0x20).unwrap();
    }
    holds(&group, 60).await.unwrap();
    assert!(log.status().mirror_errors > 0);
    drop((log, group));
    let (log, group) = open(&home(&disks)).unwrap();
    assert_eq!(log.status().mended, 4);
    holds(&group, 60).await.unwrap();
    assert_eq!(log.status().mirror_errors, 0);
}

#[tokio::test]
async fn rot_without_another_copy_is_reported_not_cut() {
    for offset in [5, 100, 700, 3_000] {
        let disks = disks(1);
        let (log, group) = create(&disks);
        for index in 0..20 {
            append(&group, index..index + 1).await;
        }
        drop((log, group));
        disks[0].corrupt("meta/log/0000000000000001.log", offset, 0x01).unwrap();
        let error = open(&home(&disks)).err().unwrap();
        assert!(matches!(error, LogError::Damaged(_)), "byte {offset}: {error}");
    }
}

#[tokio::test]
async fn a_lost_file_of_one_mirror_comes_back_from_the_other() {
    let disks = disks(2);
    let (log, group) = create(&disks);
    append(&group, 0..60).await;
    drop((log, group));
    disks[0].remove("meta/log/0000000000000002.log").unwrap();
    let (log, _) = open(&home(&disks)).unwrap();
    assert_eq!(log.status().mended, 1);
    let names = |disk: &FaultDisk| disk.list("meta/log").unwrap();
    assert_eq!(names(&disks[0]), names(&disks[1]));
}

#[tokio::test]
async fn drives_of_two_nodes_are_not_mixed() {
    let (one, other) = (disks(1), disks(1));
    drop(create(&one));
    drop(SharedLog::create(&home(&other), small(), &SeededRandom::new(2)).unwrap());
    let mixed = [drive(1, Arc::new(one[0].clone())), drive(2, Arc::new(other[0].clone()))];
    assert!(matches!(open(&mixed), Err(LogError::Damaged(_))));
    assert!(SharedLog::create(&home(&one), small(), &SeededRandom::new(3)).is_err(), "it has a log already");
}

#[tokio::test]
async fn a_home_moves_while_it_is_written() {
    let disks = disks(4);
    let (log, group) = create(&disks[..1]);
    append(&group, 0..60).await;
    let all = home(&disks);
    let writer = {
        let group = group.clone();
        tokio::spawn(async move {
            for index in 60..200 {
                append(&group, index..index + 1).await;
            }
        })
    };
    log.set_home(all[1..].to_vec()).await.unwrap();
    assert_eq!(log.status().mirrors.len(), 3);
    writer.await.unwrap();
    drop((log, group));
    let (log, group) = open(&all).unwrap();
    holds(&group, 200).await.unwrap();
    assert!(!log.status().mirrors.contains(&all[0].id));
    drop((log, group));
    assert!(open(&all[..1]).is_err(), "the drive that left knows that it has");
}

#[tokio::test]
async fn a_drive_that_cannot_be_filled_is_left_out() {
    let disks = disks(2);
    let (log, group) = create(&disks[..1]);
    append(&group, 0..60).await;
    disks[1].set_capacity(20_000);
    log.set_home(home(&disks)).await.unwrap();
    assert_eq!(log.status().mirrors.len(), 1);
    disks[1].set_capacity(1 << 20);
    log.set_home(home(&disks)).await.unwrap();
    assert_eq!(log.status().mirrors.len(), 2);
    assert!(log.set_home(Vec::new()).await.is_err());
    append(&group, 60..61).await;
}

#[tokio::test]
async fn a_full_mirror_refuses_appends_and_takes_purges() {
    let disks = disks(2);
    let (log, group) = create(&disks);
    append(&group, 0..20).await;
    disks[1].set_capacity(8_192 * 4);
    let mut end = 20;
    let error = loop {
        match group.append(vec![entry(end, 300)]).await {
            Ok(()) => end += 1,
            Err(error) => break error,
        }
        assert!(end < 500, "the disk never fills");
    };
    assert!(matches!(error, LogError::StorageFull { .. }), "{error}");
    assert!(group.append(entries(end..end + 1, 300)).await.is_err(), "still full");
    assert_eq!(group.state().last, Some(end - 1), "nothing of the failed append shows");
    group.save_vote(Bytes::from_static(b"vote")).await.expect("a vote has its reserve");
    holds(&group, end).await.unwrap();
    group.purge_through(end - 5, Bytes::from_static(b"id")).await.expect("so does a purge");
    append(&group, end..end + 20).await;
    assert_eq!(log.status().mirrors.len(), 2, "no mirror was dropped for it");
    drop((log, group));
    let (_log, group) = open(&home(&disks)).unwrap();
    assert_eq!(group.state().last, Some(end + 19));
    assert_eq!(group.state().vote, Some(Bytes::from_static(b"vote")));
}

#[test]
fn a_damaged_mirror_set_is_never_believed() {
    let set = MirrorSet { log: [3; 16], epoch: 9, drives: vec![home(&disks(1))[0].id] };
    let bytes = set.encode();
    assert_eq!(MirrorSet::decode(&bytes), Some(set));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        assert_eq!(MirrorSet::decode(&flipped), None, "byte {at}");
        assert_eq!(MirrorSet::decode(&bytes[..at]), None, "cut at {at}");
    }
}

#[tokio::test]
async fn one_damaged_mirror_set_of_three_does_not_matter() {
    let disks = disks(3);
    let (log, group) = create(&disks);
    append(&group, 0..10).await;
    drop((log, group));
    disks[2].corrupt(MIRROR_SET_PATH, 20, 1).unwrap();
    let (log, group) = open(&home(&disks)).unwrap();
    holds(&group, 10).await.unwrap();
    assert_eq!(log.status().mirrors.len(), 2);
    log.set_home(home(&disks)).await.unwrap();
    assert_eq!(log.status().mirrors.len(), 3);
}

/// What was mended or filled is relied on at once: the mirror that it came from goes, then the power.
pub(super) async fn mend_and_fill(seed: u64, mutant: &MutantDisk) -> Result<(), String> {
    let wrap = |number, disk: &FaultDisk| drive(number, Arc::new(mutant.over(Arc::new(disk.clone()))));
    let text = |error: LogError| error.to_string();
    let (a, b) = (FaultDisk::new(seed), FaultDisk::new(seed + 1));
    let drives = [wrap(1, &a), wrap(2, &b)];
    let log = SharedLog::create(&drives, small(), &SeededRandom::new(seed)).map_err(text)?;
    append(&log.group(GROUP), 0..60).await;
    drop(log);
    a.corrupt("meta/log/0000000000000001.log", 4_000, 1).map_err(|error| error.to_string())?;
    a.remove("meta/log/0000000000000002.log").map_err(|error| error.to_string())?;
    let (log, group) = open(&drives).map_err(text)?;
    b.pull();
    group.append(entries(60..61, 300)).await.map_err(text)?;
    drop((log, group));

    let a = a.power_cut();
    let c = FaultDisk::new(seed + 2);
    let drives = [wrap(1, &a), wrap(3, &c)];
    let (log, group) = open(&drives).map_err(text)?;
    holds(&group, 61).await?;
    // The log goes on while it is copied: the file that was written then grows and is closed.
    let shared = group.shared.clone();
    let home = drives.to_vec();
    let copy = move || shared.copy_home(&home).map(|copied| (shared, home, copied));
    let (shared, home, copied) = tokio::task::spawn_blocking(copy).await.unwrap().map_err(text)?;
    group.append(entries(61..100, 300)).await.map_err(text)?;
    tokio::task::spawn_blocking(move || shared.join_home(home, copied)).await.unwrap().map_err(text)?;
    a.pull();
    group.append(entries(100..101, 300)).await.map_err(text)?;
    drop((log, group));

    let c = c.power_cut();
    let (_log, group) = open(&[wrap(3, &c)]).map_err(text)?;
    holds(&group, 101).await
}

#[tokio::test]
async fn what_was_mended_or_filled_can_be_relied_on_at_once() {
    for seed in 0..50 {
        let mutant = MutantDisk::new(Arc::new(FaultDisk::new(0)), None);
        mend_and_fill(seed, &mutant).await.unwrap();
        assert!(mutant.sites().contains(&SyncSite::File("log: mended file")));
        assert!(mutant.sites().contains(&SyncSite::File("log: filled file")));
        assert!(mutant.sites().contains(&SyncSite::File("log: filled end of file")));
    }
}

/// A thread that builds spares may come so late that its spare has been built without it, and is about to be used.
#[test]
fn a_late_builder_does_not_take_the_spare_that_becomes_a_file() {
    let disk = Arc::new(FaultDisk::new(1));
    disk.create_dir_all(LOG_DIR).unwrap();
    let mirror = Mirror::new(drive(1, disk));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                mirror.prepare_spare(64).unwrap();
            }
        });
        let begun = (1..=15_000).try_for_each(|file| {
            mirror.prepare_spare(64)?;
            mirror.begin_file(file)
        });
        done.store(true, Ordering::Relaxed);
        begun.unwrap();
    });
}

/// The process ends right after its sync failed; the machine goes on, so the next process sees bytes that no disk has.
#[tokio::test]
async fn what_a_start_finds_after_a_failed_sync_outlives_the_next_power_cut() {
    let mut found = 0;
    for seed in 0..40 {
        let disks = [FaultDisk::new(2 * seed), FaultDisk::new(2 * seed + 1)];
        let (log, group) = create(&disks);
        append(&group, 0..10).await;
        disks.iter().for_each(|disk| disk.fail_sync(1));
        assert!(group.append(entries(10..11, 300)).await.is_err());
        drop((log, group));
        let (log, group) = open(&home(&disks)).unwrap();
        let end = group.state().last.map_or(0, |last| last + 1);
        found += u64::from(end == 11);
        holds(&group, end).await.unwrap();
        drop((log, group));
        let disks = disks.map(|disk| disk.power_cut());
        let (_log, group) = open(&home(&disks)).unwrap();
        holds(&group, end).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(found > 0, "no start found what had not been synced");
}

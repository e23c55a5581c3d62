//! Segments spread over several nodes: written by one, read by another, with nodes, links and frames that fail.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::ChunkError;
use grid_types::{ChunkKey, ErrorCode, Profile, ProfileChoice, Segment};
use sys::{Random, SeededRandom};

use super::nodes_rig::*;
use super::rig::{fixed, pattern};
use crate::{ChunkServiceConfig, SegmentConfig};

fn nodes_of(rig: &Nodes, segment: &Segment) -> BTreeSet<usize> {
    segment.drives.iter().flatten().map(|drive| rig.node_of(*drive)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_by_one_node_and_read_by_every_other() {
    let rig = Nodes::new(4, 2);
    for (choice, size) in [
        (fixed("copies:3"), 100_000),
        (fixed("copies:3"), 3_000_000),
        (fixed("ec:2+2"), 90_000),
        (fixed("ec:2+2"), 3_000_001),
        (ProfileChoice::Auto, 20_000),
        (ProfileChoice::Auto, 1_000_000),
    ] {
        let plain = pattern(size);
        let segment = rig.put(0, choice, &plain).await.unwrap();
        assert!(!segment.incomplete(), "{choice}");
        let nodes = nodes_of(&rig, &segment);
        assert_eq!(nodes.len(), segment.profile.total_chunks(), "{choice}: each chunk on a node of its own");
        assert!(nodes.contains(&0), "one chunk is on the node that wrote");
        for reader in 0..4 {
            assert!(rig.reads(reader, &segment, &plain).await, "{choice} on node {reader}");
            let middle = size as u64 / 3..size as u64 / 2;
            let part = rig.get(reader, &segment, middle.clone()).await.unwrap();
            assert!(part == plain[middle.start as usize..middle.end as usize], "{choice}");
            assert!(rig.nodes[reader].store.take_damaged().is_empty());
        }
    }
    for node in &rig.nodes {
        assert_eq!(node.budget.available(), node.budget.total());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_is_read_around_and_is_nobodys_rot() {
    for (choice, size) in [(fixed("copies:3"), 400_000), (fixed("ec:2+2"), 900_000)] {
        for (lost, silent) in [(0, false), (1, true), (2, false), (3, true)] {
            let rig = Nodes::new(4, 1);
            let plain = pattern(size);
            let segment = rig.put(0, choice, &plain).await.unwrap();
            if silent {
                rig.silence(lost)
            } else {
                rig.kill(lost)
            }
            for reader in (0..4).filter(|reader| *reader != lost) {
                assert!(rig.reads(reader, &segment, &plain).await, "{choice} on {reader} without {lost}");
                assert!(rig.nodes[reader].store.take_damaged().is_empty(), "silence is no damage");
            }
        }
    }
    // Too few left is "away", not "lost": the nodes may come back.
    let rig = Nodes::new(4, 1);
    let segment = rig.put(0, fixed("ec:2+2"), &pattern(200_000)).await.unwrap();
    (1..4).for_each(|number| rig.kill(number));
    let error = rig.get(0, &segment, 0..segment.length).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
}

/// Nobody says that the node is down: its time to begin runs out, and another one is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_waited_for_once_and_then_read_last() {
    let mut config = brisk();
    config.remote.begin_max = Duration::from_millis(400);
    config.remote.read_max = Duration::from_millis(100);
    let rig = Nodes::with(3, 1, 1, config, ChunkServiceConfig::default());
    let plain = pattern(100_000);
    let before = rig.put(2, fixed("copies:2"), &plain).await.unwrap();
    rig.silence(2);
    let segment = rig.put(0, ProfileChoice::Auto, &plain).await.unwrap();
    assert_eq!(nodes_of(&rig, &segment), [0, 1].into());
    let drive = rig.nodes[0].store.drives().drive(rig.nodes[2].drives[0]).unwrap();
    let why = drive.out_of_service().unwrap();
    assert!(why.contains("did not answer"), "{why}");
    assert!(rig.reads(0, &before, &plain).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_fall_back_to_what_the_nodes_left_can_carry() {
    let large = pattern(600_000);
    for known in [false, true] {
        let rig = Nodes::new(4, 1);
        rig.kill(3);
        if known {
            rig.suspect(3);
        }
        let segment = rig.put(0, ProfileChoice::Auto, &large).await.unwrap();
        assert_eq!(segment.profile, Profile::Ec { k: 2, m: 2 }, "three of four make its ack set");
        assert_eq!(nodes_of(&rig, &segment), [0, 1, 2].into());
        assert!(rig.reads(1, &segment, &large).await);
        rig.kill(2);
        if known {
            rig.suspect(2);
        }
        let segment = rig.put(0, ProfileChoice::Auto, &large).await.unwrap();
        assert_eq!(segment.profile, Profile::Copies(2), "two of four");
        assert_eq!(nodes_of(&rig, &segment), [0, 1].into());
        rig.kill(1);
        if known {
            rig.suspect(1);
        }
        let error = rig.put(0, ProfileChoice::Auto, &large).await.unwrap_err();
        let expected = if known { ErrorCode::InsufficientDomains } else { ErrorCode::Unavailable };
        assert_eq!(error.code(), expected, "{error}");
        rig.until_stored(0, 2).await;
    }
}

/// Whatever is acknowledged can be read without any one node; what is not acknowledged is an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_in_the_middle_of_a_write_is_never_a_lie() {
    let random = SeededRandom::new(11);
    let (mut acknowledged, mut refused) = (0, 0);
    for seed in 0..24 {
        let rig = Nodes::with(4, 1, seed, brisk(), ChunkServiceConfig::default());
        let choices = [fixed("copies:2"), fixed("copies:3"), fixed("ec:2+2"), ProfileChoice::Auto];
        let choice = choices[(seed % 4) as usize];
        let plain = pattern([60_000, 400_000, 2_000_000][(seed % 3) as usize]);
        for victim in [1, 2].into_iter().take(1 + (seed % 2) as usize) {
            let fault = match random.below(3) {
                0 => Fault::LoseEnd,
                _ => Fault::BreakRequest(random.below(plain.len() as u64) as usize),
            };
            rig.fault(0, victim, Some(fault));
        }
        match rig.put(0, choice, &plain).await {
            Ok(segment) => {
                acknowledged += 1;
                for lost in 0..4 {
                    rig.kill_alone(lost);
                    let reader = if lost == 3 { 1 } else { 3 };
                    assert!(
                        rig.reads(reader, &segment, &plain).await,
                        "{choice} without {lost}, seed {seed}"
                    );
                }
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
            }
        }
        rig.until_budget_is_back(0).await;
    }
    assert!(acknowledged >= 10, "{acknowledged} acknowledged, {refused} refused");
}

/// The sync may have happened, but nobody said so: such a chunk is not in the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_counts_as_a_failure() {
    let rig = Nodes::new(4, 1);
    rig.fault(0, 2, Some(Fault::LoseEnd));
    let plain = pattern(700_000);
    let segment = rig.put(0, fixed("ec:2+2"), &plain).await.unwrap();
    assert_eq!(nodes_of(&rig, &segment), [0, 1, 3].into());
    rig.until_stored(2, 1).await;
    assert!(rig.reads(2, &segment, &plain).await);

    let rig = Nodes::new(2, 1);
    rig.fault(0, 1, Some(Fault::LoseEnd));
    let error = rig.put(0, fixed("copies:2"), &plain).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    // What was synced here is taken back, and what may have been synced there.
    rig.until_stored(0, 0).await;
    rig.until_stored(1, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_chunk_of_another_node_is_served_around_and_reported() {
    for (choice, size) in [(fixed("copies:2"), 3_000_000), (fixed("ec:2+2"), 3_000_000)] {
        let rig = Nodes::new(4, 1);
        let plain = pattern(size);
        let segment = rig.put(0, choice, &plain).await.unwrap();
        let (chunk, drive) = segment.chunks().find(|(_, drive)| rig.node_of(*drive) != 0).unwrap();
        let holder = rig.node_of(drive);
        let path = format!("chunks/{:02x}/{chunk}", chunk.segment.as_bytes()[0]);
        rig.nodes[holder].disks[0].inner.corrupt(&path, 4_096 + 32 + 77, 2).unwrap();
        let reader = (0..4).find(|number| !nodes_of(&rig, &segment).contains(number) || *number != holder);
        // Node 0 reads its own copy first: only who has none must meet the rot.
        let reader = if segment.profile == Profile::Copies(2) { 3 } else { reader.unwrap() };
        for _ in 0..2 {
            assert!(rig.reads(reader, &segment, &plain).await, "{choice}");
        }
        let damaged = rig.nodes[reader].store.take_damaged();
        assert!(damaged.iter().all(|found| *found == (chunk, drive)), "{damaged:?}");
        let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
        assert!(matches!(remote.verify(chunk).await, Err(ChunkError::Corrupt { .. })));
        assert!(matches!(remote.read_frames(chunk, 0, 1).await, Err(ChunkError::Corrupt { .. })));
        assert!(remote.read_frames(chunk, 1, 2).await.is_ok());
        // Rebuilt in place, from here.
        rig.nodes[0].store.rebuild_chunk(&segment, chunk.index, drive).await.unwrap();
        remote.verify(chunk).await.unwrap();
        assert!(rig.reads(reader, &segment, &plain).await);
    }
}

/// A node whose memory flips bits: its frames are refused by the receiver, in both directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_are_verified_again_by_the_receiver() {
    let plain = pattern(900_000);
    let rig = Nodes::new(4, 1);
    let segment = rig.put(0, fixed("ec:2+2"), &plain).await.unwrap();
    let (chunk, drive) = segment.chunks().find(|(_, drive)| rig.node_of(*drive) == 1).unwrap();
    rig.fault(0, 1, Some(Fault::SpoilAnswer));
    assert!(rig.reads(0, &segment, &plain).await);
    let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
    let error = remote.read_frames(chunk, 0, 1).await.unwrap_err();
    assert!(matches!(error, ChunkError::Corrupt { .. }), "{error}");

    rig.fault(0, 1, Some(Fault::SpoilRequest));
    let segment = rig.put(0, fixed("ec:2+2"), &plain).await.unwrap();
    assert_eq!(nodes_of(&rig, &segment), [0, 2, 3].into(), "spoilt frames are not acknowledged");
    rig.until_stored(1, 1).await;
    assert!(rig.reads(2, &segment, &plain).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_node_is_cut_off_and_leaves_nothing() {
    let config = SegmentConfig {
        lag_patience: Duration::from_millis(50),
        finish_grace_min: Duration::from_millis(50),
        finish_grace_max: Duration::from_millis(100),
        ..brisk()
    };
    for stalled_link in [false, true] {
        let rig = Nodes::with(4, 1, 3, config.clone(), ChunkServiceConfig::default());
        if stalled_link {
            rig.fault(0, 2, Some(Fault::StallRequest(200_000)));
        } else {
            rig.nodes[2].disks[0].shut_writes();
        }
        let plain = pattern(8_000_000);
        let segment = rig.put(0, fixed("ec:2+2"), &plain).await.unwrap();
        assert_eq!(nodes_of(&rig, &segment), [0, 1, 3].into(), "stalled link: {stalled_link}");
        assert!(rig.nodes[0].store.cut_offs() >= 1);
        rig.nodes[2].disks[0].open_gate();
        if !stalled_link {
            rig.until_stored(2, 0).await;
        }
        assert!(rig.reads(1, &segment, &plain).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_dropped_leaves_nothing_on_any_node() {
    let rig = Nodes::new(4, 1);
    for written in [0, 100_000, 3_000_000] {
        let mut writer = rig.nodes[0].store.begin(rig.spec(fixed("ec:2+2"), 8 << 20)).await.unwrap();
        writer.write(Bytes::from(pattern(written))).await.unwrap();
        drop(writer);
        for number in 0..4 {
            rig.until_stored(number, 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drives_of_other_nodes_answer_as_those_of_this_one() {
    let rig = Nodes::new(3, 1);
    let plain = pattern(500_000);
    let segment = rig.put(0, fixed("copies:3"), &plain).await.unwrap();
    let (chunk, drive) = segment.chunks().find(|(_, drive)| rig.node_of(*drive) == 1).unwrap();
    let local = rig.nodes[1].store.drives().drive(drive).unwrap();
    let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
    assert!(local.is_local() && !remote.is_local());
    let (here, there) = (local.info(chunk).await.unwrap(), remote.info(chunk).await.unwrap());
    assert_eq!(here.header, there.header);
    assert_eq!((here.footer, here.stored_len), (there.footer, there.stored_len));
    assert_eq!(local.read_frames(chunk, 0, 4).await.unwrap(), remote.read_frames(chunk, 0, 4).await.unwrap());
    assert_eq!(remote.list(None, 10).await.unwrap(), [chunk]);
    assert!(remote.list(Some(chunk), 10).await.unwrap().is_empty());
    assert!(remote.contains(chunk).await.unwrap());
    remote.verify(chunk).await.unwrap();
    assert!(remote.read_p95_us() > 0);
    // Removal, and what is missing.
    let many = (0..2_500u32).map(|number| ChunkKey { index: (number % 32) as u8, ..chunk }).collect();
    remote.remove(many).await.unwrap();
    assert!(!remote.contains(chunk).await.unwrap());
    for error in [remote.verify(chunk).await.unwrap_err(), remote.read_frames(chunk, 0, 1).await.unwrap_err()]
    {
        assert!(matches!(error, ChunkError::Missing { .. }), "{error}");
    }
    // Full, then out of service, then away.
    let rig = Nodes::new(3, 1);
    let drive = rig.nodes[1].drives[0];
    let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
    let header = there.header;
    rig.nodes[1].disks[0].inner.set_capacity(1);
    let full = remote.begin(header.clone(), 1 << 20).await.err().unwrap();
    assert!(matches!(full, ChunkError::Full { .. }), "{full}");
    rig.nodes[1].chunks.drive(drive).unwrap().take_out_of_service("for this test");
    let gone = remote.begin(header.clone(), 1 << 20).await.err().unwrap();
    assert!(matches!(gone, ChunkError::OutOfService { .. }), "{gone}");
    assert!(remote.out_of_service().is_none(), "its node did answer");
    rig.kill(1);
    let away = remote.begin(header, 1 << 20).await.err().unwrap();
    assert!(matches!(away, ChunkError::Unreachable { .. }), "{away}");
    assert!(remote.out_of_service().is_some(), "it is not asked again at once");
}

/// A chunk is rebuilt from other nodes onto another node; a target that dies on the way is an error that leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_rebuilt_across_nodes() {
    let rig = Nodes::new(5, 1);
    let plain = pattern(1_500_000);
    for profile in ["copies:3", "ec:2+2"] {
        let mut segment = rig.put(0, fixed(profile), &plain).await.unwrap();
        let used = nodes_of(&rig, &segment);
        let target = (0..5).find(|number| !used.contains(number)).unwrap();
        let (chunk, lost) = segment.chunks().last().unwrap();
        rig.kill(rig.node_of(lost));
        let drive = rig.nodes[target].drives[0];
        let before = rig.stored(target).await;
        // By a node that has nothing of it, if there is one.
        let by = (0..4).find(|number| *number != rig.node_of(lost) && *number != target).unwrap();
        for fault in [Fault::Refuse, Fault::BreakRequest(300_000), Fault::SpoilRequest, Fault::LoseEnd] {
            rig.fault(by, target, Some(fault));
            let error = rig.nodes[by].store.rebuild_chunk(&segment, chunk.index, drive).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unavailable, "{profile} {fault:?}: {error}");
            rig.until_stored(target, before + usize::from(fault == Fault::LoseEnd)).await;
        }
        rig.fault(by, target, None);
        rig.nodes[by].store.rebuild_chunk(&segment, chunk.index, drive).await.unwrap();
        rig.until_stored(target, before + 1).await;
        segment.drives[usize::from(chunk.index)] = Some(drive);
        // It is as good as the one that is gone.
        for number in nodes_of(&rig, &segment) {
            rig.kill_alone(number);
            assert!(rig.reads((number + 1) % 5, &segment, &plain).await, "{profile} without {number}");
        }
        rig.nodes.iter().for_each(|node| node.faults.lock().clear());
    }
}

/// For every ack set that nodes going away leave, and every node lost after it, the segment decodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ack_set_survives_every_node() {
    let mut sets = BTreeSet::new();
    for seed in 0..12u64 {
        let random = SeededRandom::new(seed);
        let count = 3 + (seed % 4) as u8;
        let rig = Nodes::with(count, 1, seed, brisk(), ChunkServiceConfig::default());
        let plain = pattern(if seed % 3 == 0 { 90_000 } else { 400_000 });
        let silent = 1 + random.below(u64::from(count) - 1) as usize;
        rig.fault(0, silent, Some(Fault::BreakRequest(random.below(150_000) as usize)));
        let segment = rig.put(0, ProfileChoice::Auto, &plain).await.unwrap();
        rig.fault(0, silent, None);
        let nodes = nodes_of(&rig, &segment);
        for lost in 0..usize::from(count) {
            rig.kill_alone(lost);
            let reader = (lost + 1) % usize::from(count);
            assert!(rig.reads(reader, &segment, &plain).await, "{segment:?} without {lost}, seed {seed}");
        }
        sets.insert((segment.profile.to_string(), nodes.len()));
    }
    assert!(sets.len() >= 4, "many kinds of ack sets: {sets:?}");
}

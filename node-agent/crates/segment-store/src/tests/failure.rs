//! Drives that fail, fill up or fall behind while they are written to.

use std::time::Duration;

use bytes::Bytes;
use futures_util::poll;
use grid_types::{DriveState, ErrorCode, Profile, ProfileChoice};

use super::rig::*;
use crate::SegmentConfig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drive_that_dies_midway_is_left_out() {
    for (profile, drives) in [("copies:3", 3), ("ec:2+2", 4), ("ec:4+2", 6)] {
        for pulled in [true, false] {
            let rig = Rig::new(drives);
            let plain = pattern(6 << 20);
            let mut writer = rig.store.begin(rig.spec(fixed(profile), plain.len() as u64)).await.unwrap();
            writer.write(Bytes::copy_from_slice(&plain[..2 << 20])).await.unwrap();
            if pulled {
                rig.disks[1].inner.pull();
            } else {
                rig.disks[1].inner.fail_sync(1);
            }
            writer.write(Bytes::copy_from_slice(&plain[2 << 20..])).await.unwrap();
            let segment = writer.finish(None).await.unwrap();
            assert_eq!(segment.drives.iter().flatten().count(), usize::from(drives) - 1, "{profile}");
            assert!(segment.drives.iter().flatten().all(|drive| *drive != rig.ids[1]), "{profile}");
            assert!(rig.get_all(&segment).await.unwrap() == plain);
            // What is acknowledged survives the loss of any one drive more.
            for drive in segment.drives.clone().into_iter().flatten() {
                let handle = rig.drive(drive);
                rig.chunks.remove(drive);
                assert!(rig.get_all(&segment).await.unwrap() == plain, "{profile} without {drive}");
                rig.chunks.add(handle);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_drives_left_is_an_error_that_leaves_nothing() {
    let rig = Rig::new(4);
    let plain = pattern(4 << 20);
    let mut writer = rig.store.begin(rig.spec(fixed("ec:2+2"), plain.len() as u64)).await.unwrap();
    writer.write(Bytes::copy_from_slice(&plain[..1 << 20])).await.unwrap();
    rig.disks[0].inner.fail_sync(1);
    rig.disks[1].inner.fail_sync(1);
    writer.write(Bytes::copy_from_slice(&plain[1 << 20..])).await.unwrap();
    let error = writer.finish(None).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoSuchDrive, "{error}");
    assert!(error.to_string().contains("2 of 3 chunks synced"), "{error}");
    rig.until_stored(0).await;
    rig.until_budget_is_back().await;
}

/// While all of its bytes are at hand, a segment is written elsewhere instead of failing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_one_stripe_tries_other_drives() {
    for (choice, size) in [
        (fixed("copies:2"), 100_000),
        (fixed("copies:1"), 20),
        (ProfileChoice::Auto, 100_000),
        (ProfileChoice::Auto, 200_000),
        (fixed("ec:2+1"), 140_000),
    ] {
        for broken in 1..=2 {
            let rig = Rig::new(6);
            // The drives are chosen by chance: break those that will be, as the last write shows.
            let plain = pattern(size);
            let probe = rig.put_as(choice, &plain).await.unwrap();
            for drive in probe.drives.iter().flatten().take(broken) {
                rig.disk(*drive).inner.fail_sync(1);
            }
            for _ in 0..6 {
                let segment = rig.put_as(choice, &plain).await.unwrap();
                assert!(rig.get_all(&segment).await.unwrap() == plain);
                let acked = segment.drives.iter().flatten().count();
                assert!(acked > segment.profile.data_chunks() || segment.profile == Profile::Copies(1));
            }
        }
    }
}

/// Blocks hold so many packets whatever the profile: with fewer data chunks the same bytes need more stripes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_of_one_stripe_may_become_one_of_several() {
    for (drives, broken, size, becomes) in
        [(3, 1, 150_000, "copies:2"), (3, 1, 260_000, "copies:2"), (6, 3, 500_000, "ec:2+2")]
    {
        let rig = Rig::new(drives);
        for disk in rig.disks.iter().take(broken) {
            disk.inner.fail_sync(1);
        }
        let plain = pattern(size);
        let segment = rig.put_as(ProfileChoice::Auto, &plain).await.unwrap();
        assert_eq!(segment.profile, becomes.parse().unwrap(), "{size} bytes");
        assert!(rig.get_all(&segment).await.unwrap() == plain, "{size} bytes");
        for drive in segment.drives.clone().into_iter().flatten() {
            let handle = rig.drive(drive);
            rig.chunks.remove(drive);
            assert!(rig.get_all(&segment).await.unwrap() == plain, "{size} bytes without {drive}");
            rig.chunks.add(handle);
        }
    }
}

#[tokio::test]
async fn drives_that_refuse_at_the_start_are_replaced() {
    let rig = Rig::new(5);
    rig.disks[1].inner.set_capacity(1);
    rig.drive(rig.ids[2]).take_out_of_service("for this test");
    let plain = pattern(400_000);
    for _ in 0..8 {
        let segment = rig.put("ec:2+1", &plain).await;
        assert!(!segment.incomplete());
        assert!(segment.drives.iter().flatten().all(|drive| *drive != rig.ids[1] && *drive != rig.ids[2]));
        assert!(rig.get_all(&segment).await.unwrap() == plain);
    }
    // Auto falls back to what three drives carry: ec:3+2 cannot reach its four.
    let segment = rig.put_as(ProfileChoice::Auto, &plain).await.unwrap();
    assert_eq!(segment.profile, Profile::Ec { k: 2, m: 2 });
    assert_eq!(segment.drives.iter().flatten().count(), 3);
    assert!(segment.drives[3].is_none(), "the chunk left for repair is parity");
    assert!(rig.get_all(&segment).await.unwrap() == plain);
}

#[tokio::test]
async fn no_room_and_no_drives_have_their_own_errors() {
    let rig = Rig::new(3);
    for disk in &rig.disks {
        disk.inner.set_capacity(1);
    }
    let error = rig.put_as(fixed("ec:2+1"), &pattern(1000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StorageFull, "{error}");
    let error = rig.put_as(ProfileChoice::Auto, &pattern(1000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StorageFull, "{error}");

    let rig = Rig::new(2);
    rig.drive(rig.ids[0]).take_out_of_service("for this test");
    let error = rig.put_as(ProfileChoice::Auto, &pattern(1000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoSuchDrive, "{error}");
    let mut grid = (*rig.grid.load()).clone();
    grid.drives[0].state = DriveState::Failing;
    rig.grid.publish(grid);
    let error = rig.put_as(ProfileChoice::Auto, &pattern(1000)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InsufficientDomains, "{error}");
    rig.until_stored(0).await;
    rig.until_budget_is_back().await;
}

/// The drive never writes; the segment is whole without it, and the second time it is reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_drive_is_cut_off_and_reported() {
    for (profile, size) in [("ec:2+2", 8 << 20), ("copies:4", 8 << 20), ("ec:2+2", 150_000)] {
        let config = SegmentConfig {
            lag_patience: Duration::from_millis(30),
            finish_grace_min: Duration::from_millis(30),
            finish_grace_max: Duration::from_millis(60),
            ..patient()
        };
        let rig = Rig::with(4, config, BUDGET);
        let plain = pattern(size);
        rig.disks[1].shut_writes();
        for round in 1..=2 {
            let segment = rig.put(profile, &plain).await;
            let missing: Vec<_> = segment.drives.iter().filter(|drive| drive.is_none()).collect();
            // Others that are merely slow on a busy machine may be left behind too, as far as the ack set allows.
            assert!(!missing.is_empty(), "{profile} {size}");
            assert!(segment.drives.iter().flatten().all(|drive| *drive != rig.ids[1]), "{profile} {size}");
            assert!(rig.get_all(&segment).await.unwrap() == plain, "{profile} {size}");
            let slow = rig.grid.take_slow_drives();
            assert_eq!(slow.contains(&rig.ids[1]), round == 2, "{profile} {size}, round {round}: {slow:?}");
        }
        assert!(rig.store.cut_offs() >= 2);
        rig.disks[1].open_gate();
        rig.until_budget_is_back().await;
    }
}

/// When the ack set itself is stuck, nothing is cut off: the write waits, and fails in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_ack_set_fails_in_bounded_time() {
    let config = SegmentConfig {
        lag_patience: Duration::from_millis(20),
        stall_max: Duration::from_millis(300),
        finish_grace_min: Duration::from_millis(20),
        finish_grace_max: Duration::from_millis(20),
        ..patient()
    };
    let rig = Rig::with(4, config, BUDGET);
    rig.disks[0].shut_writes();
    rig.disks[1].shut_writes();
    let error = rig.put_as(fixed("ec:2+2"), &pattern(8 << 20)).await.unwrap_err();
    assert!(matches!(error, crate::SegmentError::AckSet { .. }), "{error}");
    rig.disks[0].open_gate();
    rig.disks[1].open_gate();
    rig.until_stored(0).await;
    rig.until_budget_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_writer_leaves_nothing() {
    let rig = Rig::new(4);
    for size in [10, 200_000, 5 << 20] {
        let mut writer = rig.store.begin(rig.spec(fixed("ec:2+2"), size as u64 + 5)).await.unwrap();
        writer.write(Bytes::from(pattern(size))).await.unwrap();
        drop(writer);
    }
    rig.until_stored(0).await;
    rig.until_budget_is_back().await;
    let unfinished = rig.disks[0].files().into_iter().filter(|(path, _)| path.contains("tmp")).count();
    assert_eq!(unfinished, 0, "{:?}", rig.disks[0].files());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finish_that_is_dropped_leaves_nothing() {
    for size in [1000, 5 << 20] {
        let rig = Rig::new(3);
        let mut writer = rig.store.begin(rig.spec(fixed("ec:2+1"), size as u64)).await.unwrap();
        writer.write(Bytes::from(pattern(size))).await.unwrap();
        let stuck = &rig.disks[0];
        stuck.shut_writes();
        let mut finish = Box::pin(writer.finish(None));
        // Two drives sync while the third is stuck; then the client goes away.
        for _ in 0..2000 {
            assert!(poll!(&mut finish).is_pending());
            if rig.stored().await == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(rig.stored().await, 2);
        drop(finish);
        stuck.open_gate();
        rig.until_stored(0).await;
        rig.until_budget_is_back().await;
    }
}

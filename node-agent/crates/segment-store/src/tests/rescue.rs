//! Drives and nodes that are lost in the middle of a segment whose ack set cannot do without them: the segment is written
//! once more from what decodes, and the client gets its acknowledgement.

use std::time::Duration;

use bytes::Bytes;
use grid_types::{ErrorCode, Profile, ProfileChoice, Segment};

use super::nodes_rig::{Fault, Nodes, brisk};
use super::rig::*;
use crate::format::open_record;
use crate::{ChunkServiceConfig, SegmentConfig};

/// Written up to the middle; then `fault`; then to the end.
async fn put_with_fault(
    rig: &Rig,
    choice: ProfileChoice,
    plain: &[u8],
    fault: impl FnOnce(&Rig),
) -> Result<Segment, crate::SegmentError> {
    let mut writer = rig.store.begin(rig.spec(choice, plain.len() as u64)).await?;
    let (first, rest) = plain.split_at(plain.len() / 2);
    writer.write(Bytes::copy_from_slice(first)).await?;
    fault(rig);
    for piece in rest.chunks(300_001) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
    }
    writer.finish(Some(b"the record".to_vec())).await
}

/// Every byte is there, with each drive lost in turn, and nothing else is stored.
async fn check(rig: &Rig, segment: &Segment, plain: &[u8]) {
    rig.until_stored(segment.drives.iter().flatten().count()).await;
    rig.until_budget_is_back().await;
    assert!(rig.get_all(segment).await.unwrap() == plain);
    for (chunk, drive) in segment.chunks() {
        let info = rig.drive(drive).info(chunk).await.unwrap();
        assert_eq!(open_record(&rig.key, segment.seal_id, &info.footer).unwrap(), b"the record");
    }
    for drive in segment.drives.clone().into_iter().flatten() {
        let handle = rig.drive(drive);
        rig.chunks.remove(drive);
        assert!(rig.get_all(segment).await.unwrap() == plain, "{segment:?} without {drive}");
        rig.chunks.add(handle);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_set_lost_midway_costs_the_client_nothing() {
    let auto = ProfileChoice::Auto;
    for (number, (drives, choice, lost, becomes)) in (0..).zip([
        (3, auto, 1, "copies:2"),
        (3, fixed("copies:3"), 2, ""),
        (4, auto, 2, "copies:2"),
        (4, fixed("ec:2+1"), 1, "ec:2+1"),
        (5, fixed("ec:2+1"), 1, "ec:2+1"),
        (5, auto, 2, "ec:2+1"),
        (6, fixed("copies:2"), 1, "copies:2"),
        (7, auto, 2, "ec:3+2"),
    ]) {
        for kind in [number % 3, (number + 1) % 3] {
            let rig = Rig::new(drives);
            // Long enough for files of their own.
            let plain = pattern(5 << 20);
            let mut broken = Vec::new();
            let segment = put_with_fault(&rig, choice, &plain, |rig| {
                // Those that hold a chunk are being written to.
                let busy = |disk: &&GatedDisk| disk.files().iter().any(|(path, _)| path.starts_with("tmp/"));
                for disk in rig.disks.iter().filter(busy).take(lost) {
                    broken.push(rig.disks.iter().position(|other| std::ptr::eq(other, disk)).unwrap());
                    match kind {
                        0 => disk.inner.pull(),
                        1 => disk.inner.fail_sync(1),
                        _ => disk.inner.set_capacity(1),
                    }
                }
            })
            .await;
            let what = format!("{choice} on {drives} without {lost}, kind {kind}");
            assert_eq!(broken.len(), lost, "{what}");
            if becomes.is_empty() {
                let code = segment.unwrap_err().code();
                assert!(matches!(
                    code,
                    ErrorCode::DriveFailed | ErrorCode::NoSuchDrive | ErrorCode::StorageFull
                ));
                rig.until_budget_is_back().await;
                continue;
            }
            let segment = segment.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(segment.drives.iter().flatten().all(|id| broken.iter().all(|at| rig.ids[*at] != *id)));
            if lost == 1 || choice != auto {
                assert_eq!(segment.profile, becomes.parse::<Profile>().unwrap(), "{what}");
                assert_ne!(segment.id, segment.seal_id, "{what}: re-coded, not re-sealed");
            }
            // What a drive that was pulled has by then is its own business.
            for at in broken {
                rig.chunks.remove(rig.ids[at]);
            }
            check(&rig, &segment, &plain).await;
        }
    }
}

/// A drive that the ack set needs stands still, in the middle or at the last frames: after its time it is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_drive_of_the_ack_set_is_left_behind() {
    let config = SegmentConfig {
        stuck_max: Duration::from_millis(60),
        stall_max: Duration::from_secs(2),
        finish_grace_min: Duration::from_millis(50),
        finish_grace_max: Duration::from_millis(50),
        ..patient()
    };
    for (len, finish_alone) in [(12 << 20, false), (2 << 20, true)] {
        let rig = Rig::with(3, config.clone(), BUDGET);
        let plain = pattern(len);
        let mut writer = rig.store.begin(rig.spec(ProfileChoice::Auto, plain.len() as u64)).await.unwrap();
        let shut_at = if finish_alone { plain.len() } else { 1 << 20 };
        writer.write(Bytes::copy_from_slice(&plain[..shut_at])).await.unwrap();
        rig.disks[1].shut_writes();
        for piece in plain[shut_at..].chunks(300_001) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let segment = writer.finish(Some(b"the record".to_vec())).await.unwrap();
        assert_eq!(segment.profile, Profile::Copies(2), "{len}");
        assert!(!segment.drives.contains(&Some(rig.ids[1])));
        assert!(rig.store.cut_offs() >= 1);
        rig.disks[1].open_gate();
        check(&rig, &segment, &plain).await;
    }
}

/// While nothing can take its place, a stuck drive is waited for; and when it moves again, the segment is what it was to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drive_that_nothing_can_replace_is_waited_for() {
    let config = SegmentConfig { stuck_max: Duration::from_millis(30), ..patient() };
    for choice in [fixed("ec:2+1"), ProfileChoice::Auto] {
        let drives = if choice == ProfileChoice::Auto { 2 } else { 3 };
        let rig = Rig::with(drives, config.clone(), BUDGET);
        let plain = pattern(8 << 20);
        rig.disks[0].shut_writes();
        let opener = rig.disks[0].clone();
        let opening = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(150)).await;
            opener.open_gate();
        });
        let segment = rig.put_as(choice, &plain).await.unwrap();
        opening.await.unwrap();
        assert!(!segment.incomplete());
        assert_eq!(segment.id, segment.seal_id, "{choice}: nothing was written twice");
        assert!(rig.get_all(&segment).await.unwrap() == plain);
    }
}

/// The rescue loses drives as well: it goes on with those that are left, as long as two are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drives_lost_during_the_rescue_are_written_around() {
    let rig = Rig::new(6);
    let plain = pattern(2 << 20);
    // Auto on six: ec:4+2. Two break at once, and of the four that are left one takes nothing new.
    let mut full = None;
    let segment = put_with_fault(&rig, ProfileChoice::Auto, &plain, |rig| {
        rig.disks[0].inner.pull();
        rig.disks[1].inner.pull();
        let space = sys::Disk::space(&rig.disks[2]).unwrap();
        // Room for its own chunk and no other.
        rig.disks[2].inner.set_capacity(space.total - space.free + (600 << 10));
        full = Some(rig.ids[2]);
    })
    .await
    .unwrap();
    for at in [0, 1] {
        rig.chunks.remove(rig.ids[at]);
    }
    assert!(!segment.drives.contains(&full), "{segment:?}");
    check(&rig, &segment, &plain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rescue_that_is_dropped_leaves_nothing() {
    for wait in [0, 2, 5, 10, 20] {
        let rig = Rig::new(4);
        let plain = pattern(4 << 20);
        let mut writer = rig.store.begin(rig.spec(fixed("ec:2+1"), plain.len() as u64)).await.unwrap();
        writer.write(Bytes::copy_from_slice(&plain[..2 << 20])).await.unwrap();
        let busy = |disk: &&GatedDisk| disk.files().iter().any(|(path, _)| path.starts_with("tmp/"));
        let at = rig.disks.iter().position(|disk| busy(&disk)).unwrap();
        rig.disks[at].inner.fail_sync(1);
        writer.write(Bytes::copy_from_slice(&plain[2 << 20..])).await.unwrap();
        let finish = tokio::time::timeout(Duration::from_millis(wait), writer.finish(None));
        let kept = match finish.await {
            Ok(segment) => segment.unwrap().drives.len(),
            Err(_) => 0,
        };
        rig.until_stored(kept).await;
        rig.until_budget_is_back().await;
    }
}

/// A node that dies, falls silent or loses its last word in the middle of a large segment, and stays away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_lost_midway_costs_the_client_nothing() {
    let plain = pattern(3 << 20);
    for fault in [Fault::BreakRequest(1 << 20), Fault::StallRequest(1 << 20), Fault::LoseEnd] {
        for nodes in 3..=4 {
            let mut config = brisk();
            config.stuck_max = Duration::from_millis(100);
            config.remote.read_max = Duration::from_millis(500);
            let rig = Nodes::with(nodes, 1, 7, config, ChunkServiceConfig::default());
            let choice = if nodes == 3 { ProfileChoice::Auto } else { fixed("ec:2+1") };
            for victim in 1..usize::from(nodes) {
                rig.fault(0, victim, Some(fault));
                let segment = rig.put(0, choice, &plain).await.unwrap();
                let chosen = segment.drives.iter().flatten().any(|drive| rig.node_of(*drive) == victim);
                assert!(!chosen || segment.id == segment.seal_id, "{fault:?}");
                assert_eq!(segment.profile == Profile::Copies(2), nodes == 3, "{fault:?} {segment:?}");
                rig.kill_alone(victim);
                assert!(rig.reads(0, &segment, &plain).await, "{fault:?} with node {victim} still gone");
                rig.nodes.iter().for_each(|node| node.faults.lock().clear());
                for lost in 0..usize::from(nodes) {
                    rig.kill_alone(lost);
                    let reader = (lost + 1) % usize::from(nodes);
                    assert!(rig.reads(reader, &segment, &plain).await, "{fault:?} without {lost}");
                }
                rig.nodes.iter().for_each(|node| node.faults.lock().clear());
                if !matches!(fault, Fault::StallRequest(_)) {
                    // Within one process, what stands still on the way holds its bytes until the peer gives up.
                    rig.until_budget_is_back(0).await;
                }
            }
        }
    }
}

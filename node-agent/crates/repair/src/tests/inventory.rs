use std::time::Duration;

use grid_types::{ErrorCode, SegmentOwner, VersionId};
use sys::TimeTrust;

use super::rig::{Rig, run};
use crate::inventory::{Inventory, InventoryState, STATE_FILE};
use crate::{SegmentRows, Worker, state_file};

const LEASE: Duration = Duration::from_secs(25 * 3_600);

#[tokio::test]
async fn chunks_that_nothing_names_go_after_the_lease_and_no_others() {
    let rig = Rig::new(3).await;
    rig.put("kept", "copies:2", 50_000).await;
    rig.write_segment("crashed", "ec:2+1", 20_000).await;
    let slow = rig.write_segment("slow", "copies:2", 30_000).await;
    rig.put("deleted", "copies:2", 40_000).await;
    rig.delete("deleted").await;
    let mut worker = Inventory::new(rig.context.clone());
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 2 + 3 + 2 + 2, "nothing is old enough");
    rig.commit("slow", slow).await.unwrap();
    rig.clock.advance(LEASE);
    run(&mut worker).await;
    rig.check("kept", 50_000).await.unwrap();
    rig.check("slow", 30_000).await.unwrap();
    assert_eq!(worker.counters().done, 3, "those of the crashed write");
    assert_eq!(rig.surplus(&["kept", "slow"]).await.len(), 2, "garbage is not the inventory's");
}

#[tokio::test]
async fn no_lease_ends_by_a_time_that_nobody_proved() {
    let rig = Rig::new(2).await;
    rig.write_segment("crashed", "copies:2", 20_000).await;
    let mut worker = Inventory::new(rig.context.clone());
    for trust in [TimeTrust::Unproven, TimeTrust::Grid] {
        rig.clock.set_trust(trust);
        run(&mut worker).await;
        rig.clock.advance(LEASE);
    }
    assert_eq!(rig.stored().await.len(), 2);
    assert!(worker.counters().detail.contains("proven"), "{:?}", worker.counters());
    rig.clock.set_trust(TimeTrust::Proven);
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 2, "the lease begins when the time is proven");
    rig.clock.advance(LEASE);
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 0);
}

#[tokio::test]
async fn a_commit_that_comes_after_the_reap_fails() {
    let rig = Rig::new(2).await;
    let late = rig.write_segment("late", "copies:2", 30_000).await;
    let mut worker = Inventory::new(rig.context.clone());
    run(&mut worker).await;
    rig.clock.advance(LEASE);
    run(&mut worker).await;
    assert!(rig.stored().await.is_empty());
    let refused = rig.commit("late", late).await.unwrap_err();
    assert!(matches!(refused.code(), ErrorCode::SlowDown | ErrorCode::Unavailable), "{refused}");
}

/// A write and the reaper at once, in any order: either the object is there whole, or the commit failed.
#[tokio::test]
async fn commit_and_reap_in_any_order() {
    let rig = Rig::new(2).await;
    let (mut committed, mut refused) = (0, 0);
    for round in 0..30u64 {
        let name = format!("o{round}");
        let written = rig.write_segment(&name, "copies:2", 9_000).await;
        let mut worker = Inventory::new(rig.context.clone());
        worker.run_now();
        run(&mut worker).await;
        rig.clock.advance(LEASE);
        // Whole before the reaper, or somewhere in its midst.
        let yields = round % 12;
        let result = if yields == 0 {
            let result = rig.commit(&name, written).await;
            run(&mut worker).await;
            result
        } else {
            let commit = async {
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                tokio::time::sleep(Duration::from_micros(yields * 400)).await;
                rig.commit(&name, written).await
            };
            tokio::join!(commit, run(&mut worker)).0
        };
        match result {
            Ok(()) => {
                committed += 1;
                rig.check_whole(&name).await;
                rig.check(&name, 9_000).await.unwrap();
            }
            Err(_) => refused += 1,
        }
    }
    assert!(committed + refused == 30 && committed >= 3, "{committed} committed, {refused} refused");
}

#[tokio::test]
async fn candidates_survive_a_restart() {
    let rig = Rig::new(1).await;
    let (_, _, segment) = rig.write_segment("crashed", "copies:1", 20_000).await;
    run(&mut Inventory::new(rig.context.clone())).await;
    let state: InventoryState = state_file::load(&rig.drive(0), STATE_FILE).await.unwrap();
    assert_eq!(state.candidates.keys().map(|chunk| chunk.segment).collect::<Vec<_>>(), [segment.id]);
    rig.clock.advance(LEASE);
    run(&mut Inventory::new(rig.context.clone())).await;
    assert!(rig.stored().await.is_empty());
    let state: InventoryState = state_file::load(&rig.drive(0), STATE_FILE).await.unwrap();
    assert!(state.candidates.is_empty());
}

#[tokio::test]
async fn a_chunk_left_on_its_old_drive_goes_only_when_the_new_one_is_good() {
    let rig = Rig::new(3).await;
    let segment = rig.put("a", "copies:1", 70_000).await;
    let from = segment.drives[0].unwrap();
    let to = *rig.ids.iter().find(|id| **id != from).unwrap();
    rig.segments.rebuild_chunk(&segment, 0, to).await.unwrap();
    let (bucket, key, row) = rig.rows.find_segment(segment.id).await.unwrap().unwrap();
    rig.rows.relocate(bucket, key, row.owner, segment.id, 0, Some(from), Some(to)).await.unwrap();
    let chunk = segment.chunks().next().unwrap().0;
    rig.damage(chunk, to).await;
    let mut worker = Inventory::new(rig.context.clone());
    run(&mut worker).await;
    rig.clock.advance(LEASE);
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 2, "the old one is the only good one");
    rig.segments.rebuild_chunk(&segment, 0, to).await.unwrap();
    worker.run_now();
    run(&mut worker).await;
    rig.clock.advance(LEASE);
    run(&mut worker).await;
    assert_eq!(rig.stored().await, [(chunk, to)]);
    rig.check("a", 70_000).await.unwrap();
}

#[tokio::test]
async fn what_an_open_upload_names_is_not_reaped() {
    let rig = Rig::new(2).await;
    let (_, _, segment) = rig.write_segment("part", "copies:2", 30_000).await;
    let upload = rig.put_part("part", &segment).await;
    assert_ne!(upload, VersionId::from_bytes([0; 16]));
    let mut worker = Inventory::new(rig.context.clone());
    run(&mut worker).await;
    rig.clock.advance(LEASE);
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 2);
    let _: SegmentOwner = rig.rows.find_segment(segment.id).await.unwrap().unwrap().2.owner;
}

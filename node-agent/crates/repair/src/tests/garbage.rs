use std::time::Duration;

use grid_types::{DriveState, Timestamp};
use sys::{Clock, TimeTrust};

use super::rig::{Rig, open, run};
use crate::compact::Compact;
use crate::garbage::CollectGarbage;
use crate::{SegmentRows, Worker};

async fn rows_left(rig: &Rig) -> usize {
    let mut rows = 0;
    for shard in rig.rows.shards() {
        rows += rig.rows.meta.garbage(shard, Timestamp(u64::MAX >> 1), 1_000).await.unwrap().len();
    }
    rows
}

#[tokio::test]
async fn chunks_of_deleted_objects_go_after_their_age_and_their_rows_with_them() {
    let rig = Rig::new(3).await;
    rig.put("kept", "copies:2", 50_000).await;
    for number in 0..10 {
        let name = format!("o{number}");
        rig.put(&name, "ec:2+1", 20_000).await;
        rig.delete(&name).await;
    }
    rig.put("kept", "copies:2", 60_000).await;
    let stored = rig.stored().await.len();
    let mut worker = CollectGarbage::new(rig.context.clone());
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), stored, "reads may still run");
    assert_eq!(rows_left(&rig).await, 11);
    rig.clock.advance(Duration::from_secs(16 * 60));
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 2);
    assert_eq!(rows_left(&rig).await, 0);
    assert_eq!(worker.counters().done, 10 * 3 + 2);
    rig.check("kept", 60_000).await.unwrap();
}

#[tokio::test]
async fn no_age_is_told_by_a_time_that_nobody_vouches_for() {
    let rig = Rig::new(2).await;
    rig.put("o", "copies:2", 20_000).await;
    rig.delete("o").await;
    rig.clock.advance(Duration::from_secs(16 * 60));
    let mut worker = CollectGarbage::new(rig.context.clone());
    rig.clock.set_trust(TimeTrust::Unproven);
    run(&mut worker).await;
    assert_eq!(rig.stored().await.len(), 2);
    assert!(worker.counters().detail.contains("proven"), "{:?}", worker.counters());
    rig.clock.set_trust(TimeTrust::Grid);
    run(&mut worker).await;
    assert_eq!(
        (rig.stored().await.len(), worker.counters().detail.as_str()),
        (0, ""),
        "{:?}",
        worker.counters()
    );
}

#[tokio::test]
async fn a_row_waits_for_a_drive_that_is_away_and_not_for_one_that_left() {
    let rig = Rig::new(3).await;
    for number in 0..10 {
        rig.put(&format!("o{number}"), "copies:3", 20_000).await;
    }
    for number in 0..10 {
        rig.delete(&format!("o{number}")).await;
    }
    rig.clock.advance(Duration::from_secs(16 * 60));
    rig.fail_drive(1);
    let mut worker = CollectGarbage::new(rig.context.clone());
    run(&mut worker).await;
    assert_eq!(rows_left(&rig).await, 10);
    assert!(worker.counters().waiting > 0);
    assert!(rig.drive(0).list(None, 100).await.unwrap().is_empty(), "the others are emptied all the same");
    rig.chunks.add(open(&rig.disks[1]));
    rig.set_states(&[]);
    assert_eq!(rig.drive(1).list(None, 100).await.unwrap().len(), 10);
    run(&mut worker).await;
    assert_eq!(rows_left(&rig).await, 0);
    assert!(rig.stored().await.is_empty());

    rig.put("last", "copies:3", 20_000).await;
    rig.delete("last").await;
    rig.clock.advance(Duration::from_secs(16 * 60));
    rig.drive(2).take_out_of_service("left");
    rig.chunks.remove(rig.ids[2]);
    rig.set_states(&[(2, DriveState::Removed)]);
    run(&mut worker).await;
    assert_eq!(rows_left(&rig).await, 0, "it took its chunk with it");
}

#[tokio::test]
async fn rows_behind_many_that_wait_are_reached() {
    let rig = Rig::new(2).await;
    // Twelve rows wait for drive 1; with pages of three they fill several.
    rig.set_states(&[(0, DriveState::Suspect)]);
    for number in 0..12 {
        rig.put(&format!("w{number}"), "copies:1", 5_000).await;
        rig.delete(&format!("w{number}")).await;
    }
    rig.set_states(&[(1, DriveState::Suspect)]);
    rig.put("reached", "copies:1", 5_000).await;
    rig.delete("reached").await;
    rig.clock.advance(Duration::from_secs(16 * 60));
    rig.fail_drive(1);
    run(&mut CollectGarbage::new(rig.context.clone())).await;
    assert!(rig.drive(0).list(None, 10).await.unwrap().is_empty());
    assert_eq!(rows_left(&rig).await, 12);
}

#[tokio::test]
async fn nothing_is_collected_before_the_drives_are_known() {
    let rig = Rig::new(2).await;
    rig.put("a", "copies:2", 5_000).await;
    rig.delete("a").await;
    rig.clock.advance(Duration::from_secs(16 * 60));
    rig.grid.publish(grid_types::GridSnapshot::default());
    run(&mut CollectGarbage::new(rig.context.clone())).await;
    assert_eq!(rows_left(&rig).await, 1);
    assert!(rig.clock.now() > Timestamp(0));
}

#[tokio::test]
async fn compaction_gives_room_back() {
    let rig = Rig::new(1).await;
    let drive = open_small(&rig);
    for number in 0..60 {
        rig.put(&format!("o{number}"), "copies:1", 3_000).await;
    }
    let free = sys::Disk::space(&rig.disks[0]).unwrap().free;
    let keys = drive.list(None, 100).await.unwrap();
    drive.remove(keys[..50].to_vec()).await.unwrap();
    let mut worker = Compact::new(rig.context.clone());
    run(&mut worker).await;
    assert!(worker.counters().done > 0);
    assert!(sys::Disk::space(&rig.disks[0]).unwrap().free > free + 100_000);
    assert_eq!(drive.list(None, 100).await.unwrap(), keys[50..]);
}

/// The rig's drive again, with small packs.
fn open_small(rig: &Rig) -> chunk_store::Drive {
    rig.drive(0).close();
    let config = chunk_store::DriveConfig {
        pack_bytes_max: 16 << 10,
        reserve_bytes_min: 0,
        reserve_per_mille: 0,
        ..chunk_store::DriveConfig::default()
    };
    let disk = std::sync::Arc::new(rig.disks[0].clone());
    let drive = chunk_store::Drive::open(disk, std::sync::Arc::new(sys::RealClock), config).unwrap();
    rig.chunks.add(drive.clone());
    drive
}

//! Workers of several nodes over one metadata: who does what, across the network.

use std::sync::atomic::Ordering;
use std::time::Duration;

use grid_types::{DriveState, Timestamp};

use super::rig::{Rig, node_of, run};
use crate::drain::Drain;
use crate::garbage::CollectGarbage;
use crate::inventory::Inventory;
use crate::rebuild::Rebuild;
use crate::{SegmentRows, Worker};

const QUARTER: Duration = Duration::from_secs(15 * 60);

async fn garbage_rows(rig: &Rig) -> usize {
    let mut rows = 0;
    for shard in rig.rows.shards() {
        rows += rig.rows.meta.garbage(shard, Timestamp(u64::MAX >> 1), 1_000).await.unwrap().len();
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_goes_from_all_nodes_by_the_one_that_leads() {
    let rig = Rig::nodes(4).await;
    for number in 0..6 {
        let name = format!("o{number}");
        rig.put(&name, "ec:2+2", 20_000).await;
        rig.delete(&name).await;
    }
    rig.clock.advance(QUARTER + QUARTER);
    for context in &rig.contexts[1..] {
        let mut follower = CollectGarbage::new(context.clone());
        run(&mut follower).await;
        assert_eq!(follower.counters().done, 0);
    }
    assert_eq!(rig.stored().await.len(), 24);
    // A row stays until the last holder has confirmed.
    rig.net.isolate(&[node_of(2, true)]);
    let mut leader = CollectGarbage::new(rig.context.clone());
    run(&mut leader).await;
    assert_eq!(garbage_rows(&rig).await, 6);
    assert_eq!(rig.stored().await.len(), 6);
    rig.net.heal();
    // The lead moves on, and with it the work; the new leader has no grudge against the node that was away.
    rig.leader.store(1, Ordering::SeqCst);
    run(&mut leader).await;
    assert_eq!(garbage_rows(&rig).await, 6, "the old one leaves it alone");
    run(&mut CollectGarbage::new(rig.contexts[1].clone())).await;
    assert_eq!(garbage_rows(&rig).await, 0);
    assert!(rig.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_a_drive_that_left_with_its_node_is_not_waited_for() {
    let rig = Rig::nodes(3).await;
    rig.put("a", "copies:3", 20_000).await;
    rig.delete("a").await;
    rig.clock.advance(QUARTER + QUARTER);
    rig.net.leave(node_of(2, true));
    rig.set_states(&[(2, DriveState::Suspect)]);
    let mut worker = CollectGarbage::new(rig.context.clone());
    run(&mut worker).await;
    assert_eq!(garbage_rows(&rig).await, 1);
    rig.set_states(&[(2, DriveState::Removed)]);
    run(&mut worker).await;
    assert_eq!(garbage_rows(&rig).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_of_a_node_that_stays_away_are_rebuilt_on_others() {
    let rig = Rig::nodes(6).await;
    let objects = [("a", "copies:3", 300_000), ("b", "ec:2+2", 500_000), ("c", "ec:4+1", 90_000)];
    for (name, profile, len) in objects {
        rig.put(name, profile, len).await;
    }
    rig.net.leave(node_of(1, true));
    rig.set_states(&[(1, DriveState::Suspect)]);
    let mut held = 0;
    for (name, ..) in objects {
        held += u64::from(rig.segment(name).await.drives.contains(&Some(rig.ids[1])));
    }
    assert!(held > 0);
    let mut worker = Rebuild::new(rig.context.clone());
    run(&mut worker).await;
    rig.clock.advance(QUARTER - Duration::from_secs(1));
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 0, "it may come back");
    rig.clock.advance(Duration::from_secs(2));
    let mut follower = Rebuild::new(rig.contexts[2].clone());
    run(&mut follower).await;
    rig.clock.advance(QUARTER);
    run(&mut follower).await;
    assert_eq!(follower.counters().done, 0, "only the leader moves chunks");
    run(&mut worker).await;
    assert_eq!(worker.counters().done, held, "{:?}", worker.counters());
    for (name, _, len) in objects {
        rig.check_whole(name).await;
        rig.check(name, len).await.unwrap();
        assert!(!rig.segment(name).await.drives.contains(&Some(rig.ids[1])));
    }
    // A node that is back in time keeps its chunks.
    let done = worker.counters().done;
    rig.set_states(&[(2, DriveState::Suspect)]);
    run(&mut worker).await;
    rig.clock.advance(Duration::from_secs(600));
    rig.set_states(&[]);
    run(&mut worker).await;
    rig.set_states(&[(2, DriveState::Suspect)]);
    run(&mut worker).await;
    rig.clock.advance(Duration::from_secs(600));
    run(&mut worker).await;
    assert_eq!(worker.counters().done, done);
}

/// Of what is lost, the segments that can lose nothing more come first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_most_endangered_segments_come_first() {
    let rig = Rig::nodes(5).await;
    for number in 0..16 {
        rig.put(&format!("safe{number}"), "copies:4", 5_000).await;
        rig.put(&format!("thin{number}"), "copies:2", 5_000).await;
    }
    rig.net.leave(node_of(1, true));
    rig.set_states(&[(1, DriveState::Failing)]);
    let mut names = Vec::new();
    for number in 0..16 {
        for kind in ["safe", "thin"] {
            let name = format!("{kind}{number}");
            if rig.segment(&name).await.drives.contains(&Some(rig.ids[1])) {
                names.push(name);
            }
        }
    }
    let mut worker = Rebuild::new(rig.context.clone());
    worker.run_now();
    let mut order = Vec::new();
    while !names.is_empty() {
        worker.step().await.unwrap();
        let mut left = Vec::new();
        for name in names {
            let moved = !rig.segment(&name).await.drives.contains(&Some(rig.ids[1]));
            if moved { order.push(name) } else { left.push(name) }
        }
        names = left;
    }
    let first_safe = order.iter().position(|name| name.starts_with("safe")).unwrap();
    assert!(order.iter().any(|name| name.starts_with("thin")), "{order:?}");
    assert!(order[first_safe..].iter().all(|name| name.starts_with("safe")), "{order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_drains_when_its_drives_do() {
    let rig = Rig::nodes(5).await;
    let objects = [("a", "copies:3", 300_000), ("b", "ec:2+2", 500_000), ("c", "copies:2", 90)];
    for (name, profile, len) in objects {
        rig.put(name, profile, len).await;
    }
    rig.set_states(&[(0, DriveState::Draining)]);
    // Another node leads, and moves what is on the first.
    rig.leader.store(3, Ordering::SeqCst);
    let mut own = Drain::new(rig.contexts[0].clone());
    run(&mut own).await;
    rig.clock.advance(Duration::from_secs(601));
    run(&mut own).await;
    assert!(rig.contexts[0].take_emptied().is_empty(), "rows still name it");
    let mut leader = Drain::new(rig.contexts[3].clone());
    run(&mut leader).await;
    assert!(leader.counters().done >= 1);
    for (name, _, len) in objects {
        rig.check_whole(name).await;
        rig.check(name, len).await.unwrap();
        assert!(!rig.segment(name).await.drives.contains(&Some(rig.ids[0])));
    }
    assert!(rig.drive(0).list(None, 10).await.unwrap().is_empty(), "removed over the network");
    run(&mut own).await;
    rig.clock.advance(Duration::from_secs(601));
    run(&mut own).await;
    assert_eq!(rig.contexts[0].take_emptied(), [rig.ids[0]]);
    // Should its node be gone, the one that leads the root shard says so; nobody else does.
    for number in [1, 3] {
        let mut other = Drain::new(rig.contexts[number].clone());
        run(&mut other).await;
        rig.clock.advance(Duration::from_secs(601));
        run(&mut other).await;
        let told = rig.contexts[number].take_emptied();
        assert_eq!(told, if number == 3 { vec![rig.ids[0]] } else { Vec::new() });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_chunk_of_another_node_is_rebuilt_in_place_by_who_met_it() {
    let rig = Rig::nodes(4).await;
    rig.leader.store(3, Ordering::SeqCst);
    let segment = rig.put("a", "ec:2+2", 400_000).await;
    let (chunk, drive) = segment.chunks().find(|(_, drive)| *drive != rig.ids[0]).unwrap();
    rig.damage(chunk, drive).await;
    rig.context.note_damaged(chunk, drive);
    let mut worker = Rebuild::new(rig.context.clone());
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 1, "{:?}", worker.counters());
    rig.check_whole("a").await;
    assert_eq!(rig.segment("a").await.drives, segment.drives);
    // Where the drive takes no writes, the row gives the chunk up and the leader finds another place.
    rig.damage(chunk, drive).await;
    let number = rig.ids.iter().position(|id| *id == drive).unwrap();
    let space = sys::Disk::space(&rig.disks[number]).unwrap();
    rig.drive(number).summary();
    rig.disks[number].set_capacity(space.total - space.free);
    rig.drive(number).summary();
    rig.context.note_damaged(chunk, drive);
    run(&mut worker).await;
    assert_eq!(rig.segment("a").await.drives[usize::from(chunk.index)], None);
    rig.check("a", 400_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_moved_away_is_removed_by_its_node_once_the_other_is_good() {
    let rig = Rig::nodes(4).await;
    let segment = rig.put("a", "copies:2", 200_000).await;
    let holder = segment.drives[1].unwrap();
    let number = rig.ids.iter().position(|id| *id == holder).unwrap();
    rig.net.isolate(&[node_of(number, true)]);
    rig.set_states(&[(number, DriveState::Failing)]);
    let mut rebuild = Rebuild::new(rig.context.clone());
    rebuild.run_now();
    run(&mut rebuild).await;
    assert_ne!(rig.segment("a").await.drives[1], Some(holder));
    rig.net.heal();
    rig.set_states(&[]);
    assert_eq!(rig.stored().await.len(), 3);
    let mut inventory = Inventory::new(rig.contexts[number].clone());
    inventory.run_now();
    run(&mut inventory).await;
    rig.clock.advance(Duration::from_secs(25 * 3_600));
    inventory.run_now();
    run(&mut inventory).await;
    assert_eq!(rig.stored().await.len(), 2);
    rig.check_whole("a").await;
}

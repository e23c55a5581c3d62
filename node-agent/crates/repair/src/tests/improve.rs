//! Chunks of a fixed profile that crowd one node although others have come.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grid_types::{DriveState, NodeId, Segment};

use super::rig::{Rig, node_of, run};
use crate::inventory::Inventory;
use crate::uplift::Uplift;
use crate::{RepairError, Step, Worker};

/// The first so many of four nodes: two with two drives each, then two with one.
fn nodes(rig: &Rig, count: usize) {
    const DRIVES: [usize; 4] = [2, 4, 5, 6];
    let missing: Vec<_> =
        (DRIVES[count - 1]..rig.ids.len()).map(|number| (number, DriveState::Removed)).collect();
    rig.set_states(&missing);
    let mut grid = (*rig.grid.load()).clone();
    for (number, drive) in grid.drives.iter_mut().enumerate() {
        let node = DRIVES.iter().position(|end| number < *end).unwrap();
        drive.node = node_of(node, true);
    }
    rig.grid.publish(grid);
}

fn nodes_of(rig: &Rig, segment: &Segment) -> BTreeSet<NodeId> {
    let grid = rig.grid.load();
    segment.drives.iter().flatten().map(|drive| grid.drive(*drive).unwrap().node).collect()
}

async fn settled(rig: &Rig, worker: &mut Uplift) {
    run(worker).await;
    rig.clock.advance(Duration::from_secs(61));
    run(worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_crowd_two_nodes_are_spread_over_four() {
    let rig = Rig::new(6).await;
    nodes(&rig, 2);
    let objects =
        [("fixed a", "ec:2+2", 400_000), ("fixed b", "ec:2+2", 1_500_000), ("fixed c", "copies:3", 900)];
    let mut before = Vec::new();
    for (name, profile, len) in objects {
        before.push(rig.put(name, profile, len).await);
    }
    let mut uplift = Uplift::new(rig.context.clone());
    settled(&rig, &mut uplift).await;
    assert_eq!(uplift.counters().done, 0, "two nodes can do no better");
    nodes(&rig, 4);
    run(&mut uplift).await;
    assert_eq!(uplift.counters().done, 0, "the grid has not settled");
    settled(&rig, &mut uplift).await;
    assert_eq!((uplift.counters().done, uplift.counters().failed), (2 + 2 + 1, 0), "{:?}", uplift.counters());
    for ((name, _, len), old) in objects.into_iter().zip(before) {
        let now = rig.segment(name).await;
        assert_eq!((now.id, now.profile), (old.id, old.profile), "moved, not written anew");
        assert_eq!(nodes_of(&rig, &now).len(), now.drives.len(), "{name}: one chunk a node");
        rig.check_whole(name).await;
        rig.check(name, len).await.unwrap();
    }
    // At once, and not for ever.
    assert_eq!(rig.surplus(&["fixed a", "fixed b", "fixed c"]).await, []);
    uplift.run_now();
    run(&mut uplift).await;
    assert_eq!(uplift.counters().done, 5);
}

#[tokio::test]
async fn a_lost_answer_or_a_deleted_object_loses_nothing() {
    for deleted in [false, true] {
        let rig = Rig::new(6).await;
        nodes(&rig, 2);
        rig.put("fixed a", "ec:2+2", 400_000).await;
        rig.put("fixed b", "ec:2+2", 400_000).await;
        nodes(&rig, 4);
        if deleted {
            *rig.rows.delete_before.lock() = Some("fixed a".to_owned());
        } else {
            rig.rows.lose_answer.store(true, Ordering::SeqCst);
        }
        let mut uplift = Uplift::new(rig.context.clone());
        uplift.run_now();
        let mut errors = 0;
        loop {
            match uplift.step().await {
                Ok(Step::Idle(_)) => break,
                Ok(Step::Busy) => {}
                Err(RepairError::Meta(_)) => errors += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(errors < 3);
        }
        assert_eq!(errors, u32::from(!deleted));
        let left: &[&str] = if deleted { &["fixed b"] } else { &["fixed a", "fixed b"] };
        for name in left {
            assert_eq!(nodes_of(&rig, &rig.segment(name).await).len(), 4);
            rig.check_whole(name).await;
            rig.check(name, 400_000).await.unwrap();
        }
        if deleted {
            assert_eq!(rig.stored().await.len(), 8, "four named by a row, four by garbage");
            continue;
        }
        // What the lost answer kept from being removed is found by the inventory.
        assert_eq!(rig.surplus(left).await.len(), 1);
        for _ in 0..2 {
            let mut inventory = Inventory::new(rig.context.clone());
            inventory.run_now();
            run(&mut inventory).await;
            rig.clock.advance(Duration::from_secs(25 * 3_600));
        }
        assert_eq!(rig.surplus(left).await, []);
    }
}

//! Segments that the grid can protect better by now.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use grid_types::{DriveState, Profile};
use sys::Random;

use super::rig::{Rig, choice_of_class, run, test_config};
use crate::drain::Drain;
use crate::garbage::CollectGarbage;
use crate::inventory::Inventory;
use crate::rebuild::Rebuild;
use crate::uplift::Uplift;
use crate::{RepairError, Step, Worker};

const SETTLE: Duration = Duration::from_secs(61);
const HOUR: Duration = Duration::from_secs(3_600);

/// All drives but the first so many are not there yet.
fn only(rig: &Rig, drives: usize) {
    let gone: Vec<_> = (drives..rig.ids.len()).map(|number| (number, DriveState::Removed)).collect();
    rig.set_states(&gone);
}

/// Runs it once over what the grid is now.
async fn uplift(rig: &Rig, worker: &mut Uplift) {
    run(worker).await;
    rig.clock.advance(SETTLE);
    run(worker).await;
}

async fn collect_garbage(rig: &Rig) {
    rig.clock.advance(Duration::from_secs(16 * 60));
    run(&mut CollectGarbage::new(rig.context.clone())).await;
}

fn profile(text: &str) -> Profile {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_wrote_survives_any_node_once_there_are_several() {
    for (nodes, large) in [(2u8, "copies:2"), (3, "ec:2+1"), (4, "ec:2+2")] {
        let rig = Rig::nodes(nodes).await;
        only(&rig, 1);
        let objects = [("tiny", 900), ("small", 70_000), ("large", 300_000), ("larger", 1_500_000)];
        for (name, len) in objects {
            assert_eq!(rig.put(name, "auto", len).await.profile, profile("copies:1"));
        }
        rig.put("fixed", "copies:1", 50_000).await;
        let mut worker = Uplift::new(rig.context.clone());
        uplift(&rig, &mut worker).await;
        assert_eq!(worker.counters().done, 0, "one node can do no more");
        rig.set_states(&[]);
        run(&mut worker).await;
        assert_eq!(worker.counters().done, 0, "the grid has not settled");
        uplift(&rig, &mut worker).await;
        assert_eq!((worker.counters().done, worker.counters().failed), (4, 0), "{:?}", worker.counters());
        let small = if nodes == 2 { "copies:2" } else { "copies:3" };
        for (name, len) in objects {
            let wanted = if len > 128 << 10 { large } else { small };
            assert_eq!(rig.segment(name).await.profile, profile(wanted), "{name} of {nodes} nodes");
            rig.check_whole(name).await;
            rig.check(name, len).await.unwrap();
        }
        assert_eq!(rig.segment("fixed").await.profile, profile("copies:1"), "somebody wanted it so");
        // The old chunks go as garbage does, and nothing else is left.
        collect_garbage(&rig).await;
        assert_eq!(rig.surplus(&["tiny", "small", "large", "larger", "fixed"]).await, []);
        for (name, len) in objects {
            for number in 0..usize::from(nodes) {
                rig.check_without(name, len, number).await;
            }
        }
        // A day later it looks again, and finds nothing.
        rig.clock.advance(25 * HOUR);
        run(&mut worker).await;
        assert_eq!(worker.counters().done, 4);
    }
}

/// Drives of one node are failure domains until there is a second node.
#[tokio::test]
async fn copies_that_lie_on_one_node_are_spread_over_two() {
    let rig = Rig::new(3).await;
    only(&rig, 2);
    for name in ["a", "b"] {
        assert_eq!(rig.put(name, "auto", 200_000).await.profile, profile("copies:2"));
    }
    let mut worker = Uplift::new(rig.context.clone());
    uplift(&rig, &mut worker).await;
    assert_eq!(worker.counters().done, 0);
    rig.set_states(&[]);
    let mut grid = (*rig.grid.load()).clone();
    grid.drives[2].node = super::rig::node_of(2, true);
    rig.grid.publish(grid);
    uplift(&rig, &mut worker).await;
    assert_eq!((worker.counters().done, worker.counters().failed), (2, 0));
    for name in ["a", "b"] {
        let now = rig.segment(name).await;
        assert_eq!(now.profile, profile("copies:2"));
        assert!(now.drives.contains(&Some(rig.ids[2])), "one copy is on the second node");
        rig.check_whole(name).await;
        rig.check(name, 200_000).await.unwrap();
    }
    // As good as two nodes can do: it does not go on for ever.
    worker.run_now();
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_while_a_node_was_away_is_made_good_when_it_is_back() {
    let rig = Rig::nodes(3).await;
    rig.set_states(&[(2, DriveState::Suspect)]);
    let segment = rig.put("a", "auto", 400_000).await;
    assert_eq!(segment.profile, profile("copies:2"), "the fallback");
    rig.put("thin", "copies:1", 400_000).await;
    let mut worker = Uplift::new(rig.context.clone());
    uplift(&rig, &mut worker).await;
    assert_eq!(rig.segment("a").await, segment);
    assert_eq!(rig.segment("thin").await.profile, profile("copies:2"), "as good as can be had now");
    rig.set_states(&[]);
    uplift(&rig, &mut worker).await;
    for name in ["a", "thin"] {
        assert_eq!(rig.segment(name).await.profile, profile("ec:2+1"));
        rig.check_whole(name).await;
        rig.check(name, 400_000).await.unwrap();
    }
    assert_eq!((worker.counters().done, worker.counters().failed), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_that_leads_the_shard_does_it() {
    let rig = Rig::nodes(3).await;
    rig.put("a", "copies:1", 30_000).await;
    let mut first = Uplift::new(rig.contexts[0].clone());
    let mut second = Uplift::new(rig.contexts[1].clone());
    uplift(&rig, &mut second).await;
    assert_eq!(second.counters().done, 0);
    rig.leader.store(1, Ordering::SeqCst);
    run(&mut first).await;
    assert_eq!(first.counters().done, 0);
    // The new leader knows nothing of the old one's passes and looks for itself.
    uplift(&rig, &mut second).await;
    assert_eq!(second.counters().done, 1);
    rig.check_whole("a").await;
}

#[tokio::test]
async fn those_that_can_lose_nothing_come_first() {
    let rig = Rig::new(3).await;
    for number in 0..12 {
        rig.put(&format!("second{number}"), "copies:2", 3_000).await;
        rig.put(&format!("first{number}"), "copies:1", 3_000).await;
    }
    let mut worker = Uplift::new(rig.context.clone());
    worker.run_now();
    let (mut order, mut passes) = (Vec::new(), Vec::new());
    while !matches!(worker.step().await.unwrap(), Step::Idle(_)) {
        passes.extend(worker.counters().pass);
        for number in 0..12 {
            for kind in ["first", "second"] {
                let name = format!("{kind}{number}");
                let done = rig.segment(&name).await.profile == profile("copies:3");
                if done && !order.contains(&name) {
                    order.push(name);
                }
            }
        }
    }
    assert_eq!(order.len(), 24);
    assert!(order[..12].iter().all(|name| name.starts_with("first")), "{order:?}");
    assert!(passes.windows(2).all(|pair| pair[0] <= pair[1]), "progress goes forward: {passes:?}");
    assert_eq!(worker.counters().pass, None);
    assert_eq!(worker.counters().done, 24);
}

#[tokio::test]
async fn an_object_deleted_or_overwritten_meanwhile_stays_so() {
    let rig = Rig::new(3).await;
    rig.put("gone", "copies:1", 200_000).await;
    *rig.rows.delete_before.lock() = Some("gone".to_owned());
    let mut worker = Uplift::new(rig.context.clone());
    uplift(&rig, &mut worker).await;
    assert_eq!((worker.counters().done, worker.counters().failed), (0, 0));
    assert_eq!(rig.stored().await.len(), 1, "what garbage names, and nothing of the new one");
    let old = rig.put("a", "copies:1", 200_000).await;
    let newer = rig.write_segment("a", "copies:1", 200_000).await;
    *rig.rows.overwrite_before.lock() = Some(("a".to_owned(), newer.clone()));
    worker.run_now();
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 0);
    let now = rig.segment("a").await;
    assert_eq!(now, newer.2, "the overwrite holds");
    assert_ne!(now.id, old.id);
    rig.check("a", 200_000).await.unwrap();
    collect_garbage(&rig).await;
    assert_eq!(rig.surplus(&["a"]).await, []);
    worker.run_now();
    run(&mut worker).await;
    assert_eq!(rig.segment("a").await.profile, profile("ec:2+1"));
    rig.check("a", 200_000).await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_and_a_lost_command_lose_no_chunk() {
    for answer in [true, false] {
        let rig = Rig::new(3).await;
        rig.put("a", "copies:1", 200_000).await;
        let lost = if answer { &rig.rows.lose_answer } else { &rig.rows.lose_command };
        lost.store(true, Ordering::SeqCst);
        let mut worker = Uplift::new(rig.context.clone());
        worker.run_now();
        let mut errors = 0;
        loop {
            match worker.step().await {
                Ok(Step::Idle(_)) => break,
                Ok(Step::Busy) => {}
                Err(RepairError::Meta(_)) => errors += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(errors < 3);
        }
        assert_eq!((errors, worker.counters().done), (1, 1));
        assert_eq!(rig.segment("a").await.profile, profile("ec:2+1"));
        rig.check_whole("a").await;
        rig.check("a", 200_000).await.unwrap();
        collect_garbage(&rig).await;
        assert_eq!(rig.surplus(&["a"]).await, [], "of the attempt in doubt nothing is left");
    }
}

#[tokio::test]
async fn a_crash_before_the_exchange_leaves_only_what_is_reaped() {
    let rig = Rig::new(3).await;
    let old = rig.put("a", "copies:1", 200_000).await;
    rig.rows.stop_before.store(true, Ordering::SeqCst);
    let mut worker = Uplift::new(rig.context.clone());
    worker.run_now();
    {
        let mut pass = Box::pin(run(&mut worker));
        while rig.stored().await.len() < 4 {
            assert!((&mut pass).now_or_never().is_none(), "it must not come to an end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Re-read too, by now or soon: either way no row names them.
        let _ = (&mut pass).now_or_never();
    }
    drop(worker);
    rig.rows.stop_before.store(false, Ordering::SeqCst);
    assert_eq!(rig.segment("a").await, old);
    assert_eq!(rig.surplus(&["a"]).await.len(), 3);
    for _ in 0..2 {
        let mut inventory = Inventory::new(rig.context.clone());
        inventory.run_now();
        run(&mut inventory).await;
        rig.clock.advance(25 * HOUR);
    }
    assert_eq!(rig.surplus(&["a"]).await, []);
    rig.check("a", 200_000).await.unwrap();
    // A worker of the same process that was cut off there settles it at once.
    rig.rows.stop_before.store(true, Ordering::SeqCst);
    let mut worker = Uplift::new(rig.context.clone());
    worker.run_now();
    for _ in 0..2_000 {
        if tokio::time::timeout(Duration::from_millis(50), worker.step()).await.is_err()
            && rig.surplus(&["a"]).await.len() == 3
        {
            break;
        }
    }
    assert_eq!(rig.surplus(&["a"]).await.len(), 3);
    rig.rows.stop_before.store(false, Ordering::SeqCst);
    worker.step().await.unwrap();
    worker.run_now();
    run(&mut worker).await;
    assert_eq!(rig.segment("a").await.profile, profile("ec:2+1"));
    collect_garbage(&rig).await;
    assert_eq!(rig.surplus(&["a"]).await, []);
}

#[tokio::test]
async fn what_cannot_be_done_is_left_and_tried_again_later() {
    let rig = Rig::new(3).await;
    for number in 0..5 {
        rig.put(&format!("o{number}"), "copies:1", 40_000).await;
    }
    let lost = rig.segment("o2").await;
    let (chunk, drive) = lost.chunks().next().unwrap();
    rig.damage(chunk, drive).await;
    // Hardly any room: nothing is begun.
    let mut full = (*rig.grid.load()).clone();
    full.drives.iter_mut().for_each(|drive| drive.free_bytes = drive.total_bytes / 21);
    rig.grid.publish(full);
    let mut worker = Uplift::new(rig.context.clone());
    uplift(&rig, &mut worker).await;
    assert_eq!((worker.counters().done, worker.counters().failed), (0, 1), "one word, not one a segment");
    assert!(worker.counters().last_error.unwrap().contains("room"));
    assert_eq!(rig.stored().await.len(), 5);
    run(&mut worker).await;
    assert_eq!(worker.counters().failed, 1, "not again at once");
    rig.set_states(&[]);
    rig.clock.advance(HOUR);
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 4, "one that cannot be read stops no other");
    assert_eq!(rig.segment("o2").await, lost, "its row still says where to look");
    assert_eq!(worker.counters().failed, 2);
    // Metadata that is away stops the pass; nothing is forgotten.
    rig.put("late", "copies:1", 40_000).await;
    rig.rows.away.store(true, Ordering::SeqCst);
    worker.run_now();
    let mut failing = 0;
    for _ in 0..4 {
        failing += u32::from(worker.step().await.is_err());
    }
    assert!(failing > 0);
    rig.rows.away.store(false, Ordering::SeqCst);
    run(&mut worker).await;
    assert_eq!(rig.segment("late").await.profile, profile("copies:3"));
}

#[tokio::test]
async fn without_knowing_the_classes_nothing_is_touched_and_buckets_may_be_spared() {
    let rig = Rig::new(3).await;
    let segment = rig.put("a", "copies:1", 4_000).await;
    let spared = |name: &str| {
        rig.context_with(test_config()).with_choices(choice_of_class, vec![name.parse().unwrap()])
    };
    for (context, touched) in
        [(rig.context_with(test_config()), 0), (spared("photos"), 0), (spared("others"), 1)]
    {
        let mut worker = Uplift::new(Arc::new(context));
        worker.run_now();
        uplift(&rig, &mut worker).await;
        assert_eq!(worker.counters().done, touched);
        assert_eq!(rig.segment("a").await.id == segment.id, touched == 0);
    }
}

#[tokio::test]
async fn parts_of_an_open_upload_are_uplifted_too() {
    let rig = Rig::new(3).await;
    let (_, _, segment) = rig.write_segment("up", "copies:1", 5_000).await;
    rig.put_part("up", &segment).await;
    let mut worker = Uplift::new(rig.context.clone());
    uplift(&rig, &mut worker).await;
    assert_eq!(worker.counters().done, 1);
    assert_eq!(rig.rows.meta.find_segment(segment.id).await.unwrap(), None);
}

/// Uplift beside rebuilds, drains, deletes and overwrites, each cut off anywhere: every object reads as it was written last,
/// and nothing is left that no row names.
#[tokio::test]
async fn cut_off_anywhere_it_loses_nothing_and_leaves_nothing() {
    for seed in 0..12 {
        let rig = Rig::with(5, test_config(), 300 + seed).await;
        let mut names = Vec::new();
        for number in 0..8u64 {
            let len = [900, 5_000, 150_000][rig.random.below(3) as usize];
            let written = ["copies:1", "copies:2", "ec:2+1"][rig.random.below(3) as usize];
            names.push((format!("o{number}"), len));
            rig.put(&format!("o{number}"), written, len).await;
        }
        if rig.random.below(2) == 0 {
            rig.set_states(&[(0, DriveState::Draining)]);
        }
        let mut workers: Vec<Box<dyn Worker>> = vec![
            Box::new(Uplift::new(rig.context.clone())),
            Box::new(Uplift::new(rig.context.clone())),
            Box::new(Rebuild::new(rig.context.clone())),
            Box::new(Drain::new(rig.context.clone())),
            Box::new(CollectGarbage::new(rig.context.clone())),
            Box::new(Inventory::new(rig.context.clone())),
        ];
        for turn in 0..80 {
            let worker = &mut workers[rig.random.below(6) as usize];
            worker.run_now();
            let mut step = worker.step();
            for _ in 0..1 + rig.random.below(25) {
                if (&mut step).now_or_never().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            drop(step);
            if turn % 20 == 7 {
                let at = rig.random.below(names.len() as u64) as usize;
                let (name, len) = names[at].clone();
                if rig.random.below(2) == 0 {
                    rig.put(&name, "copies:1", len).await;
                } else {
                    rig.delete(&name).await;
                    names.swap_remove(at);
                }
            }
        }
        drop(workers);
        let mut worker = Uplift::new(rig.context.clone());
        worker.run_now();
        run(&mut worker).await;
        run(&mut Rebuild::new(rig.context.clone())).await;
        run(&mut Drain::new(rig.context.clone())).await;
        collect_garbage(&rig).await;
        for _ in 0..3 {
            let mut inventory = Inventory::new(rig.context.clone());
            inventory.run_now();
            run(&mut inventory).await;
            rig.clock.advance(26 * HOUR);
        }
        for (name, len) in &names {
            rig.check_whole(name).await;
            rig.check(name, *len).await.unwrap();
            for number in 0..5 {
                rig.check_without(name, *len, number).await;
            }
        }
        let known: Vec<&str> = names.iter().map(|(name, _)| &**name).collect();
        assert_eq!(rig.surplus(&known).await, [], "seed {seed}: chunks are left that nothing names");
    }
}

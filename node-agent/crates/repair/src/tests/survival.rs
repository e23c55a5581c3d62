//! Random damage, and workers whose steps are cut off anywhere: no byte is lost that could be kept, nothing is left over.

use std::time::Duration;

use futures_util::FutureExt;
use grid_types::DriveState;
use sys::Random;

use super::rig::{Rig, open, run, test_config};
use crate::drain::Drain;
use crate::garbage::CollectGarbage;
use crate::inventory::Inventory;
use crate::rebuild::Rebuild;
use crate::scrub::Scrub;
use crate::{Repair, Step, Worker};

const SEEDS: u64 = 12;

/// Polls a step a few times and drops it; true when the worker came to rest.
async fn cut_step(worker: &mut dyn Worker, polls: u64) -> bool {
    let mut step = worker.step();
    for _ in 0..polls {
        if let Some(result) = (&mut step).now_or_never() {
            return matches!(result, Ok(Step::Idle(_)));
        }
        tokio::time::sleep(Duration::from_micros(300)).await;
    }
    false
}

#[tokio::test]
async fn workers_cut_off_anywhere_lose_nothing_and_leave_nothing() {
    for seed in 0..SEEDS {
        let rig = Rig::with(5, test_config(), 100 + seed).await;
        let mut names = Vec::new();
        for number in 0..8u64 {
            let name = format!("o{number}");
            let profile = ["copies:2", "copies:3", "ec:2+1", "ec:2+2"][rig.random.below(4) as usize];
            let len = [900, 5_000, 150_000][rig.random.below(3) as usize];
            rig.put(&name, profile, len).await;
            names.push((name, len));
        }
        for _ in 0..2 {
            let (name, _) = names.swap_remove(rig.random.below(names.len() as u64) as usize);
            rig.delete(&name).await;
        }
        rig.write_segment("crashed", "copies:2", 4_000).await;
        // One drive fails or leaves, and one chunk elsewhere is gone from a segment that can bear it.
        let victim = rig.random.below(5) as usize;
        if rig.random.below(2) == 0 {
            rig.fail_drive(victim);
        } else {
            rig.set_states(&[(victim, DriveState::Draining)]);
        }
        let mut workers: Vec<Box<dyn Worker>> = vec![
            Box::new(Rebuild::new(rig.context.clone())),
            Box::new(Drain::new(rig.context.clone())),
            Box::new(CollectGarbage::new(rig.context.clone())),
            Box::new(Scrub::new(rig.context.clone())),
            Box::new(Inventory::new(rig.context.clone())),
        ];
        workers.iter_mut().for_each(|worker| worker.run_now());
        for _ in 0..60 {
            let chosen = rig.random.below(workers.len() as u64) as usize;
            cut_step(&mut *workers[chosen], 1 + rig.random.below(20)).await;
        }
        // The process starts anew and works on undisturbed.
        rig.clock.advance(Duration::from_secs(26 * 3_600));
        run(&mut Rebuild::new(rig.context.clone())).await;
        rig.clock.advance(Duration::from_secs(120));
        let mut rebuild = Rebuild::new(rig.context.clone());
        rebuild.run_now();
        run(&mut rebuild).await;
        run(&mut Drain::new(rig.context.clone())).await;
        run(&mut CollectGarbage::new(rig.context.clone())).await;
        for _ in 0..2 {
            let mut inventory = Inventory::new(rig.context.clone());
            inventory.run_now();
            run(&mut inventory).await;
            rig.clock.advance(Duration::from_secs(26 * 3_600));
        }
        let mut inventory = Inventory::new(rig.context.clone());
        inventory.run_now();
        run(&mut inventory).await;
        for (name, len) in &names {
            rig.check_whole(name).await;
            rig.check(name, *len).await.unwrap();
            assert!(!rig.segment(name).await.drives.contains(&Some(rig.ids[victim])), "seed {seed}: {name}");
        }
        // The drive that failed comes back with what it held, which nothing names any more.
        rig.drive(victim).close();
        rig.chunks.add(open(&rig.disks[victim]));
        rig.set_states(&[]);
        run(&mut CollectGarbage::new(rig.context.clone())).await;
        for _ in 0..2 {
            let mut inventory = Inventory::new(rig.context.clone());
            inventory.run_now();
            run(&mut inventory).await;
            rig.clock.advance(Duration::from_secs(26 * 3_600));
        }
        let known: Vec<&str> = names.iter().map(|(name, _)| &**name).collect();
        assert_eq!(rig.surplus(&known).await, [], "seed {seed}: chunks are left that nothing names");
    }
}

#[tokio::test]
async fn all_workers_run_together_and_stop() {
    let rig = Rig::new(4).await;
    for number in 0..5 {
        rig.put(&format!("o{number}"), "copies:2", 20_000).await;
    }
    rig.fail_drive(0);
    let context = rig.context_with(crate::RepairConfig { failing_grace: Duration::ZERO, ..test_config() });
    let repair = Repair::start(context);
    let names: Vec<_> = repair.jobs().list().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["collect-garbage", "compact", "drain", "inventory", "rebuild", "scrub", "uplift"]);
    for _ in 0..2_000 {
        let mut moved = true;
        for number in 0..5 {
            moved &= !rig.segment(&format!("o{number}")).await.drives.contains(&Some(rig.ids[0]));
        }
        if moved {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for number in 0..5 {
        rig.check_whole(&format!("o{number}")).await;
    }
    repair.shutdown().await;
    assert_eq!(repair.unrecoverable(), 0);
    assert!(repair.take_emptied().is_empty());
}

use std::sync::atomic::Ordering;
use std::time::Duration;

use grid_types::DriveState;

use super::rig::{Rig, run, test_config};
use crate::drain::Drain;
use crate::rebuild::Rebuild;
use crate::{RepairConfig, RepairError, Step, Worker};

#[tokio::test]
async fn chunks_of_a_failing_drive_move_to_others() {
    let rig = Rig::new(5).await;
    let objects =
        [("a", "copies:3", 300_000), ("b", "ec:2+2", 500_000), ("c", "ec:2+1", 1_000), ("d", "copies:2", 10)];
    for (name, profile, len) in objects {
        rig.put(name, profile, len).await;
    }
    rig.fail_drive(1);
    let mut worker = Rebuild::new(rig.context.clone());
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 0, "the grace has not passed");
    rig.clock.advance(Duration::from_secs(61));
    run(&mut worker).await;
    for (name, _, len) in objects {
        rig.check_whole(name).await;
        rig.check(name, len).await.unwrap();
        assert!(!rig.segment(name).await.drives.contains(&Some(rig.ids[1])));
    }
    assert!(worker.counters().done > 0);
    let done = worker.counters().done;
    run(&mut worker).await;
    assert_eq!(worker.counters().done, done, "a second pass finds nothing");
    assert_eq!(worker.counters().failed, 0);
}

#[tokio::test]
async fn two_lost_chunks_of_one_segment_go_to_two_drives() {
    let rig = Rig::new(6).await;
    for number in 0..8 {
        rig.put(&format!("o{number}"), "ec:2+2", 200_000).await;
    }
    rig.drive(0).take_out_of_service("pulled");
    rig.drive(1).take_out_of_service("pulled");
    rig.set_states(&[(0, DriveState::Failing), (1, DriveState::Failing)]);
    let mut worker = Rebuild::new(rig.context.clone());
    worker.run_now();
    run(&mut worker).await;
    for number in 0..8 {
        let name = format!("o{number}");
        rig.check_whole(&name).await;
        rig.check(&name, 200_000).await.unwrap();
    }
}

#[tokio::test]
async fn a_chunk_that_a_read_found_bad_is_rebuilt_in_place() {
    let rig = Rig::new(3).await;
    let segment = rig.put("a", "ec:2+1", 400_000).await;
    let chunks: Vec<_> = segment.chunks().collect();
    rig.damage(chunks[0].0, chunks[0].1).await;
    rig.check("a", 400_000).await.unwrap();
    let mut worker = Rebuild::new(rig.context.clone());
    run(&mut worker).await;
    rig.check_whole("a").await;
    assert_eq!(rig.segment("a").await.drives, segment.drives, "nothing moved");
    // The same for one that is gone.
    let number = rig.ids.iter().position(|id| *id == chunks[1].1).unwrap();
    rig.drive(number).remove(vec![chunks[1].0]).await.unwrap();
    rig.check("a", 400_000).await.unwrap();
    run(&mut worker).await;
    rig.check_whole("a").await;
    assert_eq!(worker.counters().done, 2);
}

#[tokio::test]
async fn a_drive_that_takes_no_writes_gets_its_damaged_chunk_rebuilt_elsewhere() {
    let rig = Rig::new(4).await;
    let segment = rig.put("a", "copies:2", 300_000).await;
    let (chunk, drive) = segment.chunks().next().unwrap();
    rig.damage(chunk, drive).await;
    let number = rig.ids.iter().position(|id| *id == drive).unwrap();
    let space = sys::Disk::space(&rig.disks[number]).unwrap();
    rig.drive(number).summary();
    rig.disks[number].set_capacity(space.total - space.free);
    rig.drive(number).summary();
    rig.context.note_damaged(chunk, drive);
    let mut worker = Rebuild::new(rig.context.clone());
    run(&mut worker).await;
    rig.check_whole("a").await;
    assert!(!rig.segment("a").await.drives.contains(&Some(drive)));
}

#[tokio::test]
async fn a_segment_written_without_all_its_chunks_is_completed() {
    let rig = Rig::new(4).await;
    rig.set_states(&[(3, DriveState::Suspect)]);
    let segment = rig.put("a", "ec:2+2", 300_000).await;
    assert!(segment.incomplete());
    let mut worker = Rebuild::new(rig.context.clone());
    run(&mut worker).await;
    assert!(rig.segment("a").await.incomplete(), "there is no fourth drive");
    assert!(worker.counters().last_error.unwrap().contains("no other drive"));
    let tried = worker.counters().failed;
    for _ in 0..3 {
        run(&mut worker).await;
    }
    assert_eq!(worker.counters().failed, tried, "what cannot be done is not tried again at once");
    rig.clock.advance(Duration::from_secs(301));
    run(&mut worker).await;
    assert_eq!(worker.counters().failed, tried + 1, "but later");
    rig.set_states(&[]);
    run(&mut worker).await;
    rig.check_whole("a").await;
}

#[tokio::test]
async fn a_segment_with_too_few_chunks_is_counted_and_the_others_are_rebuilt() {
    let rig = Rig::new(4).await;
    let lost = rig.put("lost", "copies:1", 100_000).await;
    let number = rig.ids.iter().position(|id| Some(*id) == lost.drives[0]).unwrap();
    for name in 0..6 {
        rig.put(&format!("o{name}"), "copies:2", 100_000).await;
    }
    rig.fail_drive(number);
    let mut worker = Rebuild::new(rig.context.clone());
    worker.run_now();
    run(&mut worker).await;
    for name in 0..6 {
        rig.check_whole(&format!("o{name}")).await;
    }
    assert_eq!(rig.context.unrecoverable(), 1);
    assert_eq!(rig.segment("lost").await.drives, lost.drives, "its row still says where to look");
}

#[tokio::test]
async fn a_node_that_has_just_started_takes_nothing_for_lost() {
    let rig = Rig::new(3).await;
    rig.set_states(&[(2, DriveState::Suspect)]);
    rig.put("a", "copies:3", 100_000).await;
    // It has heard of nobody yet.
    let away: Vec<_> = (0..2).map(|number| rig.drive(number)).collect();
    away.iter().for_each(|drive| rig.chunks.remove(drive.id()));
    let context = std::sync::Arc::new(
        rig.context_with(RepairConfig { rebuild_settle: Duration::from_secs(5), ..test_config() }),
    );
    let mut worker = Rebuild::new(context.clone());
    run(&mut worker).await;
    assert_eq!((context.unrecoverable(), worker.counters().failed), (0, 0));
    // Who stays away is missed in the end.
    rig.set_states(&[]);
    rig.clock.advance(Duration::from_secs(5));
    run(&mut worker).await;
    assert_eq!(context.unrecoverable(), 1);
    for drive in away {
        rig.chunks.add(drive);
    }
    worker.run_now();
    run(&mut worker).await;
    assert_eq!(context.unrecoverable(), 0);
    rig.check_whole("a").await;
}

#[tokio::test]
async fn a_chunk_rebuilt_for_a_deleted_object_is_removed_again() {
    let rig = Rig::new(4).await;
    rig.put("a", "copies:2", 100_000).await;
    let holders: Vec<_> = rig.segment("a").await.drives;
    let number = rig.ids.iter().position(|id| Some(*id) == holders[0]).unwrap();
    rig.fail_drive(number);
    *rig.rows.delete_before.lock() = Some("a".to_owned());
    let mut worker = Rebuild::new(rig.context.clone());
    worker.run_now();
    run(&mut worker).await;
    assert_eq!(worker.counters().done, 0);
    let stored = rig.stored().await;
    assert_eq!(stored.len(), 1, "only what the garbage row names is left: {stored:?}");
    assert_eq!(Some(stored[0].1), holders[1]);
}

#[tokio::test]
async fn a_lost_answer_of_the_metadata_loses_no_chunk() {
    let rig = Rig::new(4).await;
    rig.put("a", "copies:2", 100_000).await;
    let number = rig.ids.iter().position(|id| rig.ids.contains(id)).unwrap();
    let holder = rig.segment("a").await.drives[0].unwrap();
    let number = rig.ids.iter().position(|id| *id == holder).unwrap_or(number);
    rig.fail_drive(number);
    rig.rows.lose_answer.store(true, Ordering::SeqCst);
    let mut worker = Rebuild::new(rig.context.clone());
    worker.run_now();
    let mut errors = 0;
    loop {
        match worker.step().await {
            Ok(Step::Idle(_)) => break,
            Ok(Step::Busy) => {}
            Err(RepairError::Meta(_)) => errors += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(errors < 5);
    }
    assert_eq!(errors, 1);
    rig.check_whole("a").await;
    rig.check("a", 100_000).await.unwrap();
}

#[tokio::test]
async fn a_draining_drive_is_emptied_and_told_of_once_it_stays_empty() {
    let rig = Rig::new(4).await;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        rig.put(name, "copies:2", 60_000).await;
    }
    rig.set_states(&[(2, DriveState::Draining)]);
    let mut worker = Drain::new(rig.context.clone());
    run(&mut worker).await;
    for name in names {
        rig.check_whole(name).await;
        assert!(!rig.segment(name).await.drives.contains(&Some(rig.ids[2])));
    }
    assert!(rig.drive(2).list(None, 100).await.unwrap().is_empty(), "moved chunks leave");
    assert!(rig.context.take_emptied().is_empty(), "it has not settled");
    run(&mut worker).await;
    rig.clock.advance(Duration::from_secs(601));
    // A write that began before the order commits now.
    rig.set_states(&[]);
    let late = loop {
        let written = rig.write_segment("late", "copies:3", 50_000).await;
        if written.2.drives.contains(&Some(rig.ids[2])) {
            break written;
        }
    };
    rig.set_states(&[(2, DriveState::Draining)]);
    rig.commit("late", late).await.unwrap();
    run(&mut worker).await;
    assert!(rig.context.take_emptied().is_empty(), "a row named it again");
    rig.check_whole("late").await;
    run(&mut worker).await;
    rig.clock.advance(Duration::from_secs(601));
    run(&mut worker).await;
    assert_eq!(rig.context.take_emptied(), [rig.ids[2]]);
}

#[tokio::test]
async fn a_draining_drive_that_cannot_be_read_is_rebuilt_from_the_others() {
    let rig = Rig::new(4).await;
    for number in 0..5 {
        rig.put(&format!("o{number}"), "ec:2+1", 150_000).await;
    }
    rig.drive(0).take_out_of_service("pulled");
    rig.set_states(&[(0, DriveState::Draining)]);
    let mut worker = Drain::new(rig.context.clone());
    run(&mut worker).await;
    for number in 0..5 {
        let name = format!("o{number}");
        rig.check_whole(&name).await;
        rig.check(&name, 150_000).await.unwrap();
    }
}

#[tokio::test]
async fn metadata_that_is_away_stops_a_pass_and_nothing_is_forgotten() {
    let rig = Rig::new(4).await;
    for number in 0..6 {
        rig.put(&format!("o{number}"), "copies:2", 30_000).await;
    }
    let segment = rig.segment("o0").await;
    let (chunk, drive) = segment.chunks().next().unwrap();
    rig.damage(chunk, drive).await;
    rig.context.note_damaged(chunk, drive);
    rig.rows.away.store(true, Ordering::SeqCst);
    let mut worker = Rebuild::new(rig.context.clone());
    for _ in 0..3 {
        assert!(matches!(worker.step().await, Err(RepairError::Meta(_))));
    }
    rig.rows.away.store(false, Ordering::SeqCst);
    run(&mut worker).await;
    rig.check_whole("o0").await;
}

use std::time::Duration;

use super::rig::{Rig, open, run};
use crate::rebuild::Rebuild;
use crate::scrub::{STATE_FILE, Scrub, ScrubState};
use crate::{Step, Worker, state_file};

const MONTH: Duration = Duration::from_secs(31 * 24 * 3_600);

#[tokio::test]
async fn rot_is_found_and_mended_in_files_and_missing_chunks_in_rows() {
    let rig = Rig::new(3).await;
    for number in 0..4 {
        rig.put(&format!("o{number}"), "copies:2", 70_000).await;
    }
    let mut scrub = Scrub::new(rig.context.clone());
    run(&mut scrub).await;
    assert_eq!(scrub.counters().done, 8);
    assert_eq!(scrub.counters().failed, 0);
    let damaged = rig.segment("o1").await.chunks().next().unwrap();
    let missing = rig.segment("o2").await.chunks().next().unwrap();
    rig.damage(damaged.0, damaged.1).await;
    rig.chunks.drive(missing.1).unwrap().remove(vec![missing.0]).await.unwrap();
    run(&mut scrub).await;
    assert_eq!(scrub.counters().done, 8, "a pass that is not due is not made");
    rig.clock.advance(MONTH);
    run(&mut scrub).await;
    assert_eq!(scrub.counters().failed, 2);
    run(&mut Rebuild::new(rig.context.clone())).await;
    for number in 0..4 {
        rig.check_whole(&format!("o{number}")).await;
    }
    scrub.run_now();
    run(&mut scrub).await;
    assert_eq!(scrub.counters().failed, 2, "all is well again");
    assert_eq!(scrub.counters().done, 8 + 7 + 8);
}

#[tokio::test]
async fn a_pass_goes_on_where_a_restart_cut_it() {
    let rig = Rig::new(1).await;
    for number in 0..20 {
        rig.put(&format!("o{number}"), "copies:1", 500).await;
    }
    let keys = rig.drive(0).list(None, 100).await.unwrap();
    let begun = sys::Clock::now(&rig.clock);
    let state = ScrubState { begun, ended: None, cursor: Some(keys[11]), read: 12, bad: 0 };
    state_file::save(&rig.drive(0), STATE_FILE, &state).await.unwrap();
    let mut scrub = Scrub::new(rig.context.clone());
    run(&mut scrub).await;
    assert_eq!(scrub.counters().done, 8, "chunks after the cursor alone");
    let state: ScrubState = state_file::load(&rig.drive(0), STATE_FILE).await.unwrap();
    assert_eq!((state.read, state.cursor), (20, None));
    assert!(state.ended.is_some());
}

#[tokio::test]
async fn a_damaged_state_begins_anew_and_a_clock_that_stepped_back_stops_nothing() {
    let rig = Rig::new(1).await;
    rig.put("a", "copies:1", 500).await;
    let disk = rig.drive(0).disk();
    for bytes in [&b""[..], b"x", b"\x01garbage that matches no checksum", &[0xff; 300]] {
        disk.write_atomic(STATE_FILE, bytes, "test").unwrap();
        let mut scrub = Scrub::new(rig.context.clone());
        run(&mut scrub).await;
        assert_eq!(scrub.counters().done, 1, "{bytes:?}");
    }
    let future = sys::Clock::now(&rig.clock).plus(MONTH * 24);
    let state = ScrubState { begun: future, ended: Some(future), ..ScrubState::default() };
    state_file::save(&rig.drive(0), STATE_FILE, &state).await.unwrap();
    let mut scrub = Scrub::new(rig.context.clone());
    run(&mut scrub).await;
    assert_eq!(scrub.counters().done, 1);
}

#[tokio::test]
async fn a_drive_that_fails_under_the_scrub_ends_its_pass_alone() {
    let rig = Rig::new(2).await;
    for number in 0..10 {
        rig.put(&format!("o{number}"), "copies:2", 500).await;
    }
    let mut scrub = Scrub::new(rig.context.clone());
    for _ in 0..4 {
        assert_eq!(scrub.step().await.unwrap(), Step::Busy);
    }
    rig.fail_drive(0);
    while !matches!(scrub.step().await, Ok(Step::Idle(_))) {}
    assert!(scrub.counters().done >= 10, "the other drive was read");
    // The drive comes back and is read to the end.
    rig.chunks.add(open(&rig.disks[0]));
    rig.set_states(&[]);
    run(&mut scrub).await;
    let state: ScrubState = state_file::load(&rig.drive(0), STATE_FILE).await.unwrap();
    assert!(state.ended.is_some());
}

//! Drives that leave, of which too few stay for all chunks of a segment.

use std::time::Duration;

use grid_types::{DriveState, Profile};

use super::rig::{Rig, node_of, run};
use crate::Worker;
use crate::drain::Drain;
use crate::rebuild::Rebuild;
use crate::uplift::Uplift;

const OBJECTS: [(&str, &str, usize); 5] = [
    ("large", "auto", 400_000),
    ("larger", "auto", 1_500_000),
    ("small", "auto", 30_000),
    ("fixed", "ec:2+2", 300_000),
    ("fixed thin", "copies:1", 50_000),
];

/// Runs it once over what the grid is now.
async fn settled(rig: &Rig, worker: &mut Uplift) {
    run(worker).await;
    rig.clock.advance(Duration::from_secs(61));
    run(worker).await;
}

fn profile(text: &str) -> Profile {
    text.parse().unwrap()
}

async fn check_all(rig: &Rig, without: &[usize]) {
    for (name, written, len) in OBJECTS {
        rig.check(name, len).await.unwrap();
        for number in without.iter().filter(|_| written != "copies:1") {
            rig.check_without(name, len, *number).await;
        }
    }
}

/// One of four nodes leaves, in good order or dead: what `auto` had over four is re-coded to what three carry, what was to be
/// `ec:2+2` whatever comes lets one chunk go; then nothing names the node, and when a fourth one comes, all is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_become_three_and_four_again() {
    for dead in [false, true] {
        let rig = Rig::nodes(4).await;
        for (name, written, len) in OBJECTS {
            rig.put(name, written, len).await;
        }
        let mut gone = 3;
        if dead && rig.segment("fixed thin").await.drives == [Some(rig.ids[gone])] {
            gone = 2;
        }
        let leaves = (gone, DriveState::Draining);
        rig.set_states(&[leaves]);
        if dead {
            rig.net.leave(node_of(gone, true));
            if let Some(drive) = rig.contexts[gone].chunks.drive(rig.ids[gone]) {
                drive.take_out_of_service("a test pulled it");
            }
        }
        let mut drain = Drain::new(rig.context.clone());
        run(&mut drain).await;
        assert!(drain.counters().failed > 0, "three drives are too few for four chunks");
        let mut uplift = Uplift::new(rig.context.clone());
        settled(&rig, &mut uplift).await;
        assert_eq!((uplift.counters().done, uplift.counters().failed), (3, 0), "{:?}", uplift.counters());
        for name in ["large", "larger"] {
            assert_eq!(rig.segment(name).await.profile, profile("ec:2+1"));
            rig.check_whole(name).await;
        }
        let fixed = rig.segment("fixed").await;
        assert_eq!((fixed.profile, fixed.chunks().count()), (profile("ec:2+2"), 3));
        // The drain is through by itself.
        for _ in 0..3 {
            rig.clock.advance(Duration::from_secs(601));
            run(&mut drain).await;
        }
        assert_eq!(rig.context.take_emptied(), [rig.ids[gone]]);
        for (name, ..) in OBJECTS {
            assert!(!rig.segment(name).await.drives.contains(&Some(rig.ids[gone])), "{name} names it");
        }
        let rest: Vec<usize> = (0..4).filter(|number| *number != gone).collect();
        check_all(&rig, &rest).await;
        if dead {
            continue;
        }
        // Nothing more to do, until a fourth node is there.
        uplift.run_now();
        run(&mut uplift).await;
        assert_eq!(uplift.counters().done, 3);
        rig.set_states(&[]);
        run(&mut Rebuild::new(rig.context.clone())).await;
        settled(&rig, &mut uplift).await;
        assert_eq!((uplift.counters().done, uplift.counters().failed), (5, 0), "{:?}", uplift.counters());
        for (name, ..) in OBJECTS {
            rig.check_whole(name).await;
        }
        assert_eq!(rig.segment("larger").await.profile, profile("ec:2+2"));
        check_all(&rig, &[0, 1, 2, 3]).await;
    }
}

/// As long as another node is merely away, nothing is re-coded to less, and what is needed is not let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_away_is_waited_for() {
    let rig = Rig::nodes(4).await;
    for (name, written, len) in OBJECTS {
        rig.put(name, written, len).await;
    }
    let (large, fixed) = (rig.segment("large").await, rig.segment("fixed").await);
    rig.set_states(&[(3, DriveState::Draining), (2, DriveState::Suspect)]);
    rig.net.isolate(&[node_of(2, true)]);
    let mut uplift = Uplift::new(rig.context.clone());
    settled(&rig, &mut uplift).await;
    assert_eq!(uplift.counters().done, 0, "{:?}", uplift.counters());
    assert_eq!((rig.segment("large").await, rig.segment("fixed").await), (large, fixed));
    rig.net.heal();
    rig.set_states(&[(3, DriveState::Draining)]);
    settled(&rig, &mut uplift).await;
    assert_eq!(uplift.counters().done, 3, "{:?}", uplift.counters());
    check_all(&rig, &[0, 1, 2]).await;
}

/// A chunk goes only when all that stay were found good.
#[tokio::test]
async fn nothing_is_let_go_while_another_chunk_is_bad() {
    let rig = Rig::nodes(4).await;
    let segment = rig.put("fixed", "ec:2+2", 300_000).await;
    rig.set_states(&[(3, DriveState::Draining)]);
    let (chunk, drive) = segment.chunks().find(|(_, drive)| *drive != rig.ids[3]).unwrap();
    rig.damage(chunk, drive).await;
    let mut uplift = Uplift::new(rig.context.clone());
    settled(&rig, &mut uplift).await;
    assert_eq!(uplift.counters().done, 0);
    assert_eq!(rig.segment("fixed").await, segment);
    rig.context.note_damaged(chunk, drive);
    run(&mut Rebuild::new(rig.context.clone())).await;
    uplift.run_now();
    run(&mut uplift).await;
    assert_eq!(uplift.counters().done, 1);
    for number in 0..3 {
        rig.check_without("fixed", 300_000, number).await;
    }
}

/// The second of two nodes leaves: one copy is what one node can keep, and nothing is written for it.
#[tokio::test]
async fn two_nodes_become_one() {
    let rig = Rig::nodes(2).await;
    let two = rig.put("a", "auto", 200_000).await;
    let meant = rig.put("fixed", "copies:2", 200_000).await;
    rig.set_states(&[(1, DriveState::Draining)]);
    let mut uplift = Uplift::new(rig.context.clone());
    settled(&rig, &mut uplift).await;
    let one = rig.segment("a").await;
    assert_eq!((one.id, one.chunks().count()), (two.id, 1));
    assert_eq!(rig.segment("fixed").await, meant, "nobody said that one copy would do");
    rig.check("a", 200_000).await.unwrap();
    assert_eq!(rig.stored().await.len(), 3);
    rig.set_states(&[]);
    run(&mut Rebuild::new(rig.context.clone())).await;
    rig.check_whole("a").await;
}

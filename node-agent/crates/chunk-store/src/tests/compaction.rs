use super::*;
use sys::PowerSupply;

/// Full packs of which little lives: every fifth chunk stays, the others are removed.
async fn fill(drive: &Drive, seeds: std::ops::Range<u64>) -> (Vec<Sample>, Vec<Sample>) {
    let samples: Vec<_> = seeds.map(|seed| Sample::copies(seed, 500 + seed * 7)).collect();
    for sample in &samples {
        sample.write(drive).await.unwrap();
    }
    let (keep, gone): (Vec<_>, Vec<_>) = samples.into_iter().partition(|sample| sample.seed % 5 == 0);
    drive.remove(gone.iter().map(Sample::key).collect()).await.unwrap();
    (keep, gone)
}

async fn check_all(drive: &Drive, keep: &[Sample], gone: &[Sample], when: &str) {
    for sample in keep {
        assert!(sample.check(drive).await.unwrap(), "{sample:?} is lost {when}");
    }
    for sample in gone {
        assert!(!sample.check(drive).await.unwrap(), "{sample:?} came back {when}");
    }
}

fn packs(disk: &FaultDisk) -> usize {
    disk.list("packs").unwrap().len()
}

#[tokio::test]
async fn compaction_frees_packs_and_keeps_what_lives() {
    let disk = labelled(1);
    let drive = open(&disk);
    let (keep, gone) = fill(&drive, 0..120).await;
    let (before, used) = (packs(&disk), disk.space().unwrap().free);
    let mut compacted = 0;
    while drive.compact_once().await.unwrap() {
        compacted += 1;
        check_all(&drive, &keep, &gone, "while compacting").await;
    }
    assert!(compacted >= 4, "{compacted} of {before} packs");
    assert!(packs(&disk) < before);
    assert!(disk.space().unwrap().free > used);
    drive.close();
    let drive = open(&disk);
    check_all(&drive, &keep, &gone, "after reopening").await;
    drive.remove(keep.iter().map(Sample::key).collect()).await.unwrap();
    while drive.compact_once().await.unwrap() {}
    assert!(packs(&disk) <= 3, "{} packs hold nothing", packs(&disk));
    drive.close();
    let all: Vec<_> = keep.into_iter().chain(gone).collect();
    let drive = open(&disk);
    check_all(&drive, &[], &all, "after everything was removed").await;
    assert_eq!(drive.stats().corruptions, 0);
}

#[tokio::test]
async fn nothing_is_compacted_while_more_than_half_lives() {
    let disk = labelled(2);
    let drive = open(&disk);
    for seed in 0..60 {
        Sample::copies(seed, 1_000).write(&drive).await.unwrap();
    }
    drive.remove((0..10).map(|seed| Sample::copies(seed * 6, 1_000).key()).collect()).await.unwrap();
    assert!(!drive.compact_once().await.unwrap());
}

/// A chunk removed and written again, whose tombstone is carried past it, must not vanish; one removed must not return.
#[tokio::test]
async fn tombstones_outlive_the_records_they_remove_and_no_longer() {
    let disk = labelled(3);
    let mut drive = open(&disk);
    let (keep, gone) = fill(&drive, 0..40).await;
    let (again, gone) = gone.split_at(10);
    for sample in again {
        sample.write(&drive).await.unwrap();
    }
    let (more, more_gone) = fill(&drive, 100..160).await;
    for round in 0..3 {
        while drive.compact_once().await.unwrap() {}
        drive.close();
        drive = open(&disk);
        check_all(&drive, &keep, gone, &format!("in round {round}")).await;
        check_all(&drive, again, &more_gone, &format!("in round {round}")).await;
        check_all(&drive, &more, &[], &format!("in round {round}")).await;
        drive.remove(vec![again[round].key()]).await.unwrap();
        again[round].write(&drive).await.unwrap();
    }
}

#[tokio::test]
async fn readers_read_on_while_packs_move_under_them() {
    let disk = labelled(4);
    let drive = open(&disk);
    let (keep, gone) = fill(&drive, 0..150).await;
    let reading = {
        let (drive, keep) = (drive.clone(), keep.clone());
        tokio::spawn(async move {
            let mut reads = 0;
            for _ in 0..40 {
                for sample in &keep {
                    assert!(sample.check(&drive).await.unwrap(), "{sample:?}");
                    reads += 1;
                }
                tokio::task::yield_now().await;
            }
            reads
        })
    };
    let mut compacted = 0;
    while drive.compact_once().await.unwrap() {
        compacted += 1;
        // Writers and removers go on as well.
        let sample = Sample::copies(1_000 + compacted, 2_000);
        sample.write(&drive).await.unwrap();
        drive.remove(vec![sample.key()]).await.unwrap();
    }
    assert!(compacted > 3);
    assert_eq!(reading.await.unwrap(), 40 * keep.len());
    check_all(&drive, &keep, &gone, "at the end").await;
}

/// The power goes at every single step of writing, removing and compacting.
#[test]
fn a_power_cut_at_every_step_of_a_compaction_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut steps = 0;
    for step in 1..400u64 {
        let power = PowerSupply::new();
        let disk = FaultDisk::with_power(step, &power);
        drive_label::create(&disk, &test_label(), false).unwrap();
        let drive = open(&disk);
        let done = runtime.block_on(async {
            let (keep, gone) = fill(&drive, 0..60).await;
            power.cut_after(step);
            let mut more = Vec::new();
            let mut cut = false;
            while !cut {
                match drive.compact_once().await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => cut = true,
                }
                let sample = Sample::copies(5_000 + more.len() as u64, 100);
                if sample.write(&drive).await.is_ok() {
                    more.push(sample);
                }
            }
            (keep, gone, more, cut)
        });
        let (mut keep, gone, more, cut) = done;
        drive.close();
        keep.extend(more);
        let disk = disk.power_cut();
        let drive = open(&disk);
        runtime.block_on(async {
            check_all(&drive, &keep, &gone, &format!("after a cut at step {step}")).await;
            while drive.compact_once().await.unwrap() {}
            check_all(&drive, &keep, &gone, &format!("compacted after a cut at step {step}")).await;
        });
        drive.close();
        let drive = open(&disk.power_cut());
        runtime.block_on(check_all(&drive, &keep, &gone, &format!("cut twice, first at step {step}")));
        if !cut {
            steps = step;
            break;
        }
    }
    assert!(steps > 10, "the whole compaction took {steps} steps");
}

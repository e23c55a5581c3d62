//! Re-coding: the same ciphertext in another profile.

use chunk_store::ChunkError;
use futures_util::FutureExt;
use grid_types::{DriveState, ErrorCode, Segment};
use sys::{Random, SeededRandom};

use super::rig::*;
use crate::format::{open_identity, open_record};
use crate::{SegmentError, SegmentSpec};

const PROFILES: [&str; 7] = ["copies:1", "copies:2", "copies:3", "ec:2+1", "ec:2+2", "ec:3+2", "ec:4+2"];

async fn recode(rig: &Rig, segment: &Segment, profile: &str) -> Result<Segment, SegmentError> {
    rig.store.recode(segment, profile.parse().unwrap()).await
}

/// All that a reader or a rebuild could ask of it.
async fn check(rig: &Rig, old: &Segment, new: &Segment, profile: &str, plain: &[u8]) {
    let expect =
        Segment { id: new.id, profile: profile.parse().unwrap(), drives: new.drives.clone(), ..old.clone() };
    assert_eq!(*new, expect);
    assert_ne!(new.id, old.id, "a fresh id");
    assert!(!new.incomplete());
    let mut drives = new.drives.clone();
    drives.sort();
    drives.dedup();
    assert_eq!(drives.len(), new.profile.total_chunks());
    for (chunk, drive) in new.chunks() {
        rig.drive(drive).verify(chunk).await.unwrap();
        let info = rig.drive(drive).info(chunk).await.unwrap();
        assert_eq!((info.header.profile, info.header.seal_id), (new.profile, old.seal_id));
        let identity = open_identity(&rig.key, old.seal_id, &info.header.sealed).unwrap();
        assert_eq!(identity, rig.identity());
        assert_eq!(open_record(&rig.key, old.seal_id, &info.footer).unwrap(), b"the record");
    }
    assert!(rig.get_all(new).await.unwrap() == plain, "{profile}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_profile_becomes_every_other_and_reads_the_same() {
    for (from, size) in
        [(0, 1), (1, 400_000), (2, 70_000), (3, 1_000_003), (4, 65_536), (5, 786_432), (6, 3_000_001)]
    {
        let rig = Rig::new(7);
        let plain = pattern(size);
        let old = rig.put(PROFILES[from], &plain).await;
        for profile in PROFILES {
            let new = recode(&rig, &old, profile).await.unwrap();
            check(&rig, &old, &new, profile, &plain).await;
            // What is re-coded may be so again.
            let again = recode(&rig, &new, PROFILES[from]).await.unwrap();
            check(&rig, &old, &again, PROFILES[from], &plain).await;
            // And it bears the losses that its profile promises.
            for index in 0..new.profile.loss_tolerance() {
                rig.lose(&new, index as u8).await;
            }
            assert!(rig.get_all(&new).await.unwrap() == plain);
        }
        assert!(rig.get_all(&old).await.unwrap() == plain, "the old one is as it was");
        rig.until_budget_is_back().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_rotten_chunks_of_the_old_one_are_worked_around() {
    let rig = Rig::new(6);
    let plain = pattern(1_500_000);
    for (from, lose) in
        [("copies:3", &[0u8, 1][..]), ("ec:2+2", &[0, 1]), ("ec:2+2", &[1, 3]), ("ec:4+2", &[0, 2])]
    {
        let old = rig.put(from, &plain).await;
        for index in lose {
            rig.lose(&old, *index).await;
        }
        let new = recode(&rig, &old, "ec:3+2").await.unwrap();
        check(&rig, &old, &new, "ec:3+2", &plain).await;
    }
    // Rotten in another stripe each: every stripe by itself has enough. Long enough for files of their own.
    let plain = pattern(3_000_000);
    let old = rig.put("ec:2+1", &plain).await;
    let frame = 32 + 131_104;
    for (index, stripe) in [(0u8, 0u64), (1, 2), (2, 4)] {
        let (chunk, drive) = old.chunks().find(|(chunk, _)| chunk.index == index).unwrap();
        let path = format!("chunks/{:02x}/{chunk}", chunk.segment.as_bytes()[0]);
        rig.disk(drive).inner.corrupt(&path, 4_096 + stripe * frame + 77, 2).unwrap();
        assert!(rig.drive(drive).verify(chunk).await.is_err());
    }
    let new = recode(&rig, &old, "copies:2").await.unwrap();
    check(&rig, &old, &new, "copies:2", &plain).await;
}

#[tokio::test]
async fn what_cannot_be_recoded_leaves_nothing_behind() {
    let rig = Rig::new(3);
    let plain = pattern(900_000);
    let old = rig.put("ec:2+1", &plain).await;
    let stored = rig.stored().await;
    // No room for the profile.
    let error = recode(&rig, &old, "ec:6+3").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InsufficientDomains);
    // A row that is not of these chunks.
    let lied = Segment { key_generation: old.key_generation + 1, ..old.clone() };
    assert!(matches!(recode(&rig, &lied, "copies:2").await, Err(SegmentError::Row { .. })));
    assert!(matches!(recode(&rig, &old, "copies:1").await, Ok(new) if new.profile.total_chunks() == 1));
    let error = rig.store.recode(&old, grid_types::Profile::Copies(0)).await.unwrap_err();
    assert!(matches!(error, SegmentError::Row { .. }));
    // Too few good chunks.
    rig.lose(&old, 0).await;
    rig.lose(&old, 2).await;
    let error = recode(&rig, &old, "copies:2").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::SegmentLost);
    rig.until_stored(stored + 1 - 2).await;
    rig.until_budget_is_back().await;
}

/// A drive that is away is written around by the rules of a write; with too few it fails.
#[tokio::test]
async fn the_ack_set_is_that_of_a_write() {
    let rig = Rig::new(4);
    let plain = pattern(400_000);
    let old = rig.put("copies:1", &plain).await;
    let holder = old.drives[0].unwrap();
    let mut grid = (*rig.grid.load()).clone();
    let away = grid.drives.iter_mut().find(|drive| drive.id != holder).unwrap();
    away.state = DriveState::Suspect;
    rig.grid.publish(grid.clone());
    let new = recode(&rig, &old, "ec:2+2").await.unwrap();
    assert_eq!(new.drives.iter().flatten().count(), 3, "the fourth is left to repair");
    assert!(rig.get_all(&new).await.unwrap() == plain);
    for drive in grid.drives.iter_mut().filter(|drive| drive.id != holder).take(3) {
        drive.state = DriveState::Suspect;
    }
    rig.grid.publish(grid);
    assert!(recode(&rig, &old, "ec:2+2").await.is_err());
}

#[tokio::test]
async fn dropped_anywhere_it_leaves_whole_chunks_or_none() {
    for seed in 0..12 {
        let rig = Rig::seeded(400 + seed, 5, patient(), BUDGET);
        let plain = pattern(1_200_000);
        let old = rig.put("copies:2", &plain).await;
        let random = SeededRandom::new(seed);
        {
            let mut run = Box::pin(recode(&rig, &old, "ec:2+2"));
            for _ in 0..random.below(60) {
                if (&mut run).now_or_never().is_some() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_micros(300)).await;
            }
        }
        rig.until_budget_is_back().await;
        for drive in rig.chunks.drives() {
            for chunk in drive.list(None, 100).await.unwrap() {
                // What was synced is removed in the background, perhaps since it was listed.
                let verified = drive.verify(chunk).await;
                assert!(matches!(verified, Ok(()) | Err(ChunkError::Missing { .. })), "{verified:?}");
            }
        }
        let new = recode(&rig, &old, "ec:2+2").await.unwrap();
        check(&rig, &old, &new, "ec:2+2", &plain).await;
    }
}

/// However large the segment, a few stripes are all that it takes; and it makes do with less where there is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_a_few_stripes() {
    const LEN: usize = 24 << 20;
    const MOST: u64 = 6 << 20;
    let rig = Rig::new(6);
    let plain = pattern(LEN);
    for (from, to) in [("copies:1", "ec:2+2"), ("ec:4+2", "copies:3")] {
        let old = rig.put(from, &plain).await;
        rig.until_budget_is_back().await;
        let (store, budget) = (rig.store.clone(), rig.budget.clone());
        let (segment, profile) = (old.clone(), to.parse().unwrap());
        let task = tokio::spawn(async move { store.recode(&segment, profile).await });
        let mut most = 0;
        while !task.is_finished() {
            most = most.max(budget.total() - budget.available());
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
        }
        let new = task.await.unwrap().unwrap();
        assert!(most > 0 && most <= MOST, "{from} to {to}: {most} bytes");
        assert!(rig.get_all(&new).await.unwrap() == plain);
    }
    let poor = Rig::with(4, patient(), 1 << 20);
    let spec = SegmentSpec { ..poor.spec(fixed("copies:1"), 3_000_000) };
    let mut writer = poor.store.begin(spec).await.unwrap();
    writer.write(bytes::Bytes::copy_from_slice(&plain[..3_000_000])).await.unwrap();
    let old = writer.finish(None).await.unwrap();
    let new = recode(&poor, &old, "ec:2+2").await.unwrap();
    assert!(poor.get_all(&new).await.unwrap() == plain[..3_000_000]);
}

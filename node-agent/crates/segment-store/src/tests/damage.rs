//! Lost, rotten and forged chunks: reads stay right while the profile allows, and never give a wrong byte.

use futures_util::poll;
use grid_types::{DriveState, ErrorCode, Segment};

use super::rig::*;
use crate::{SegmentConfig, SegmentError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loss_pattern() {
    for profile in ["copies:3", "ec:2+1", "ec:2+2", "ec:4+2"] {
        let total = profile.parse::<grid_types::Profile>().unwrap().total_chunks();
        for lost in 0u32..1 << total {
            let rig = Rig::new(6);
            let plain = pattern(700_000);
            let segment = rig.put(profile, &plain).await;
            for index in (0..total as u8).filter(|index| lost & (1 << index) != 0) {
                rig.lose(&segment, index).await;
            }
            let got = rig.get_all(&segment).await;
            let left = total - lost.count_ones() as usize;
            if lost.count_ones() as usize <= segment.profile.loss_tolerance() {
                assert!(got.unwrap() == plain, "{profile} without {lost:b}");
            } else {
                let needed = segment.profile.data_chunks();
                match got.unwrap_err() {
                    SegmentError::Lost { good, needed: n, away: 0, .. } => {
                        assert_eq!((good, n), (left, needed))
                    }
                    other => panic!("{profile} without {lost:b}: {other}"),
                }
            }
            let damaged = rig.store.take_damaged();
            assert!(
                damaged.iter().all(|(chunk, _)| lost & (1 << chunk.index) != 0),
                "only lost ones are damaged"
            );
            if lost & 1 != 0 && total > 3 {
                assert!(damaged.iter().any(|(chunk, _)| chunk.index == 0), "a lost data chunk is noticed");
            }
        }
    }
}

/// Flips bits all over the drives' files, one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_anywhere_is_never_a_wrong_byte() {
    for (profile, size) in [("copies:2", 90_000), ("ec:2+1", 90_000), ("ec:2+1", 3_000_000)] {
        let rig = Rig::new(3);
        let plain = pattern(size);
        let segment = rig.put(profile, &plain).await;
        let mut found = 0;
        for (_, drive) in segment.chunks() {
            let disk = rig.disk(drive);
            for (path, len) in disk.files() {
                // Enough places to meet header, hashes, blocks, footer and what belongs to the drive itself.
                let step = (len / 30).max(1);
                for offset in (0..len).step_by(step as usize).chain(len.saturating_sub(3)..len) {
                    disk.inner.corrupt(&path, offset, 0x10).unwrap();
                    assert!(rig.get_all(&segment).await.unwrap() == plain, "{profile} {path} at {offset}");
                    found += rig.store.take_damaged().len();
                    disk.inner.corrupt(&path, offset, 0x10).unwrap();
                }
            }
        }
        assert!(found > 10, "{profile} {size}: only {found} flips were noticed");
    }
}

/// Without anything to spare, a flipped bit is an error or nothing, never a wrong byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_only_copy() {
    let rig = Rig::new(1);
    let plain = pattern(200_000);
    let segment = rig.put("copies:1", &plain).await;
    let mut errors = 0;
    for (path, len) in rig.disks[0].files() {
        for offset in (0..len).step_by((len / 100).max(1) as usize) {
            rig.disks[0].inner.corrupt(&path, offset, 0x01).unwrap();
            match rig.get_all(&segment).await {
                Ok(got) => assert!(got == plain, "{path} at {offset}"),
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::SegmentLost);
                    errors += 1;
                }
            }
            rig.disks[0].inner.corrupt(&path, offset, 0x01).unwrap();
        }
    }
    assert!(errors > 50, "{errors} flips were noticed");
}

/// Flips a bit of the block of `index` in stripe `stripe`, wherever its file has it.
async fn rot(rig: &Rig, segment: &Segment, index: u8, stripe: u64) {
    let (chunk, drive) = segment.chunks().find(|(chunk, _)| chunk.index == index).unwrap();
    let block = rig.drive(drive).read_frames(chunk, stripe, 1).await.unwrap().swap_remove(0);
    let needle = &block[..32];
    let disk = rig.disk(drive);
    for (path, _) in disk.files() {
        let bytes = sys::Disk::read(&*disk.inner, &path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            disk.inner.corrupt(&path, at as u64, 0x80).unwrap();
            return;
        }
    }
    panic!("the block is in no file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_rot_in_different_stripes_still_give_all() {
    let rig = Rig::new(3);
    let plain = pattern(4 << 20);
    let segment = rig.put("ec:2+1", &plain).await;
    rot(&rig, &segment, 0, 3).await;
    rot(&rig, &segment, 1, 4).await;
    rot(&rig, &segment, 2, 6).await;
    rot(&rig, &segment, 0, 7).await;
    assert!(rig.get_all(&segment).await.unwrap() == plain);
    let mut damaged: Vec<u8> = rig.store.take_damaged().iter().map(|(chunk, _)| chunk.index).collect();
    damaged.sort_unstable();
    damaged.dedup();
    assert!(damaged.starts_with(&[0, 1]), "{damaged:?}");
    // Two bad blocks in one stripe are one too many, for that stripe alone.
    rot(&rig, &segment, 1, 3).await;
    let stripe = 2 * 131_072;
    assert!(matches!(rig.get_all(&segment).await, Err(SegmentError::Lost { good: 1, .. })));
    assert!(rig.get(&segment, 0..3 * stripe).await.unwrap() == plain[..3 * stripe as usize]);
    assert!(rig.get(&segment, 4 * stripe..16 * stripe).await.unwrap() == plain[4 * stripe as usize..]);
}

#[tokio::test]
async fn a_range_needs_only_the_chunks_that_hold_it() {
    let rig = Rig::new(4);
    let plain = pattern(1_000_000);
    let segment = rig.put("ec:2+2", &plain).await;
    for index in [1, 2, 3] {
        rig.lose(&segment, index).await;
    }
    // The first two packets of each stripe of four lie in chunk 0.
    for range in [0..1, 100..131_072, 262_144..393_216] {
        let got = rig.get(&segment, range.clone()).await.unwrap();
        assert!(got == plain[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(rig.store.take_damaged(), vec![], "nobody else was asked");
    assert!(rig.get(&segment, 131_071..131_073).await.is_err());
}

/// A drive that makes up bytes with a right frame hash: the tag tells, and other chunks serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_chunk_is_read_around() {
    for profile in ["copies:2", "ec:2+1", "ec:2+2"] {
        for index in 0..2u8 {
            let rig = Rig::new(4);
            let plain = pattern(500_000);
            let segment = rig.put(profile, &plain).await;
            let (chunk, drive) = segment.chunks().find(|(chunk, _)| chunk.index == index).unwrap();
            forge(&rig.drive(drive), &segment, chunk).await;
            assert!(rig.drive(drive).verify(chunk).await.is_ok(), "the frames verify");
            assert!(rig.get_all(&segment).await.unwrap() == plain, "{profile} {index}");
            let damaged = rig.store.take_damaged();
            assert!(
                profile == "copies:2" || damaged == vec![(chunk, drive)],
                "{profile} {index}: {damaged:?}"
            );
        }
    }
}

#[tokio::test]
async fn damaged_chunks_are_told_once() {
    let rig = Rig::new(2);
    let segment = rig.put("copies:2", &pattern(1000)).await;
    rig.lose(&segment, 0).await;
    rig.lose(&segment, 1).await;
    for _ in 0..2 {
        assert!(rig.get_all(&segment).await.is_err());
    }
    let mut damaged = rig.store.take_damaged();
    damaged.sort_unstable();
    assert_eq!(damaged, segment.chunks().collect::<Vec<_>>());
    assert_eq!(rig.store.take_damaged(), vec![]);
}

#[tokio::test]
async fn drives_that_are_away_are_not_lost() {
    let rig = Rig::new(3);
    let segment = rig.put("ec:2+1", &pattern(100_000)).await;
    let drives: Vec<_> = segment.drives.iter().flatten().copied().collect();
    rig.chunks.remove(drives[0]);
    assert!(rig.get_all(&segment).await.unwrap() == pattern(100_000));
    assert_eq!(rig.store.take_damaged(), vec![], "an absent drive damages no chunk");
    rig.drive(drives[1]).take_out_of_service("for this test");
    let error = rig.get_all(&segment).await.unwrap_err();
    assert!(matches!(error, SegmentError::Lost { good: 1, needed: 2, away: 2, .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::Unavailable, "they may come back");
    rig.lose(&segment, 2).await;
    assert_eq!(rig.get_all(&segment).await.unwrap_err().code(), ErrorCode::Unavailable);
    let gone = Segment { drives: vec![None, None, segment.drives[2]], ..segment };
    assert_eq!(rig.get_all(&gone).await.unwrap_err().code(), ErrorCode::SegmentLost);
}

#[tokio::test]
async fn a_drive_that_should_not_be_read_is_the_last_resort() {
    let rig = Rig::new(2);
    let plain = pattern(50_000);
    let segment = rig.put("copies:2", &plain).await;
    for bad in [0, 1] {
        let mut grid = (*rig.grid.load()).clone();
        for (number, drive) in grid.drives.iter_mut().enumerate() {
            drive.state = if number == bad { DriveState::Failing } else { DriveState::Active };
        }
        rig.grid.publish(grid);
        // Reads of the one that should not be read would wait for ever.
        rig.disks[bad].shut_reads();
        assert!(rig.get_all(&segment).await.unwrap() == plain);
        rig.disks[bad].open_gate();
    }
    let (chunk, drive) = segment.chunks().find(|(_, drive)| *drive == rig.ids[0]).unwrap();
    rig.drive(drive).remove(vec![chunk]).await.unwrap();
    assert!(rig.get_all(&segment).await.unwrap() == plain, "better from a failing drive than not at all");
}

/// The read comes back although a drive never answers: only a hedge can do that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_drive_is_hedged() {
    for profile in ["copies:2", "ec:2+1", "ec:2+2"] {
        for slow in 0..4 {
            let config = SegmentConfig { hedge_min: std::time::Duration::from_millis(5), ..patient() };
            let rig = Rig::with(4, config, BUDGET);
            let plain = pattern(1_500_000);
            let segment = rig.put(profile, &plain).await;
            rig.disks[slow].shut_reads();
            assert!(rig.get_all(&segment).await.unwrap() == plain, "{profile} with drive {slow} stuck");
            rig.disks[slow].open_gate();
        }
    }
}

#[tokio::test]
async fn dropping_a_reader_lets_go_of_everything() {
    let rig = Rig::new(3);
    let segment = rig.put("ec:2+1", &pattern(3_000_000)).await;
    rig.disks.iter().for_each(GatedDisk::shut_reads);
    let mut reader = rig.store.read(segment.clone(), rig.key.clone(), 0..3_000_000);
    {
        let mut next = Box::pin(reader.next());
        for _ in 0..3 {
            assert!(poll!(&mut next).is_pending());
            tokio::task::yield_now().await;
        }
    }
    drop(reader);
    rig.disks.iter().for_each(GatedDisk::open_gate);
    rig.until_budget_is_back().await;
    let mut reader = rig.store.read(segment, rig.key.clone(), 0..3_000_000);
    let piece = reader.next().await.unwrap().unwrap();
    drop(reader);
    assert_ne!(rig.budget.available(), rig.budget.total(), "the piece is still held");
    drop(piece);
    rig.until_budget_is_back().await;
}

//! What is written is read back: profiles, sizes, ranges, ciphers, memory.

use std::collections::BTreeSet;

use bytes::Bytes;
use grid_types::{Cipher, ErrorCode, Profile, ProfileChoice};
use proptest::prelude::*;

use super::rig::*;
use crate::{SegmentConfig, SegmentError, format};

const PACKET: usize = 65_536;
/// Plaintext of a stripe for k = 1.
const STRIPE: usize = 2 * PACKET;

const PROFILES: [&str; 6] = ["copies:1", "copies:2", "copies:3", "ec:2+1", "ec:2+2", "ec:4+2"];

/// Ranges at and around the edges of a segment of this length.
fn ranges(len: u64) -> Vec<std::ops::Range<u64>> {
    let edges: BTreeSet<u64> = [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000, 262_144, len / 2, len - 1]
        .into_iter()
        .filter(|edge| *edge < len)
        .collect();
    let mut ranges = vec![0..len, len - 1..len];
    for start in &edges {
        ranges.push(*start..*start + 1);
        ranges.push(*start..len.min(*start + 70_000));
    }
    ranges
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_profile_and_size_and_range() {
    let rig = Rig::new(6);
    let sizes = [1, 17, PACKET - 1, PACKET, PACKET + 1, STRIPE - 1, STRIPE, STRIPE + 1, 3 * STRIPE + 7];
    for profile in PROFILES {
        for size in sizes {
            let plain = pattern(size);
            let segment = rig.put(profile, &plain).await;
            assert_eq!(segment.length, size as u64);
            assert_eq!(segment.profile.to_string(), profile);
            assert!(!segment.incomplete(), "{profile} {size}");
            let drives: BTreeSet<_> = segment.drives.iter().flatten().collect();
            assert_eq!(drives.len(), segment.profile.total_chunks(), "distinct drives");
            for range in ranges(size as u64) {
                let got = rig.get(&segment, range.clone()).await.unwrap();
                let expect = &plain[range.start as usize..range.end as usize];
                assert!(got == expect, "{profile}, {size} bytes, {range:?}");
            }
        }
    }
    assert_eq!(rig.store.take_damaged(), vec![]);
    rig.until_budget_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_segment_of_64_mib() {
    let rig = Rig::new(4);
    let plain = pattern(64 << 20);
    let segment = rig.put("ec:2+2", &plain).await;
    assert!(rig.get_all(&segment).await.unwrap() == plain);
    let tail = plain.len() as u64 - 100_000..plain.len() as u64;
    assert!(rig.get(&segment, tail.clone()).await.unwrap() == plain[tail.start as usize..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_size_profile_and_range(
        profile in prop::sample::select(PROFILES.to_vec()),
        len in 1usize..2_000_000,
        cut in (0.0f64..1.0, 0.0f64..1.0),
        spare in 0u64..300_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::new(6);
            let plain = pattern(len);
            // The announced length may be more than comes.
            let spec = rig.spec(fixed(profile), len as u64 + spare);
            let mut writer = rig.store.begin(spec).await.unwrap();
            writer.write(Bytes::from(plain.clone())).await.unwrap();
            let segment = writer.finish(None).await.unwrap();
            let start = (cut.0 * (len - 1) as f64) as usize;
            let end = start + 1 + (cut.1 * (len - start - 1) as f64) as usize;
            let got = rig.get(&segment, start as u64..end as u64).await.unwrap();
            prop_assert!(got == plain[start..end], "{}..{} of {}", start, end, len);
            prop_assert!(rig.get_all(&segment).await.unwrap() == plain);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn auto_follows_the_table_and_the_size() {
    let rig = Rig::new(4);
    let small = rig.put_as(ProfileChoice::Auto, &pattern(131_072)).await.unwrap();
    let large = rig.put_as(ProfileChoice::Auto, &pattern(131_073)).await.unwrap();
    assert_eq!(small.profile, Profile::Copies(3));
    assert_eq!(large.profile, Profile::Ec { k: 2, m: 2 });
    assert_eq!(rig.get_all(&large).await.unwrap(), pattern(131_073));
}

#[tokio::test]
async fn each_cipher_and_a_store_that_changed_its_mind() {
    for written in CIPHERS {
        let config = SegmentConfig { cipher_override: Some(written), ..patient() };
        let rig = Rig::with(3, config, BUDGET);
        let plain = pattern(300_000);
        let segment = rig.put("ec:2+1", &plain).await;
        assert_eq!(segment.cipher, written);
        assert!(rig.get_all(&segment).await.unwrap() == plain, "{written:?}");
        // The cipher is the segment's, not the store's.
        for now in CIPHERS {
            let config = SegmentConfig { cipher_override: Some(now), ..patient() };
            let other = crate::SegmentStore::new(
                rig.chunks.clone(),
                rig.grid.clone(),
                std::sync::Arc::new(sys::RealRandom),
                rig.budget.clone(),
                config,
            );
            let mut reader = other.read(segment.clone(), rig.key.clone(), 5..200_000);
            let mut got = Vec::new();
            while let Some(piece) = reader.next().await {
                got.extend_from_slice(&piece.unwrap());
            }
            assert!(got == plain[5..200_000]);
        }
        let mut lied = segment.clone();
        lied.cipher = CIPHERS.into_iter().find(|cipher| *cipher != written).unwrap();
        assert!(
            matches!(rig.get_all(&lied).await, Err(SegmentError::Seal(_))),
            "the cipher is authenticated"
        );
    }
}

#[tokio::test]
async fn the_cipher_follows_the_grid() {
    let rig = Rig::new(1);
    assert_eq!(rig.put("copies:1", b"x").await.cipher, Cipher::Aes256Gcm);
    let mut grid = (*rig.grid.load()).clone();
    grid.all_have_aes = false;
    rig.grid.publish(grid);
    assert_eq!(rig.put("copies:1", b"x").await.cipher, Cipher::ChaCha20Poly1305);
}

#[tokio::test]
async fn no_plaintext_reaches_a_drive_and_no_id_is_used_twice() {
    let rig = Rig::new(3);
    let plain = pattern(200_000);
    let first = rig.put("ec:2+1", &plain).await;
    let second = rig.put("ec:2+1", &plain).await;
    assert_ne!(first.id, second.id);
    assert_ne!(first.seal_id, second.seal_id);
    let needle = &plain[1000..1032];
    let mut stored = Vec::new();
    for disk in &rig.disks {
        for (path, _) in disk.files() {
            stored.push(sys::Disk::read(&*disk.inner, &path).unwrap());
        }
    }
    assert!(stored.iter().map(Vec::len).sum::<usize>() > 600_000, "three chunks of both are on the drives");
    for bytes in &stored {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle), "plaintext on a drive");
        assert!(!bytes.windows(13).any(|window| window == b"folder/object"), "the key is on a drive");
    }
}

#[tokio::test]
async fn headers_and_footers_tell_a_rebuild_what_they_hold() {
    let rig = Rig::new(3);
    let segment = rig.put("ec:2+1", &pattern(100)).await;
    for (chunk, drive) in segment.chunks() {
        let info = rig.drive(drive).info(chunk).await.unwrap();
        assert_eq!(info.header.profile, segment.profile);
        assert_eq!(info.header.plain_len, 100);
        assert_eq!(info.header.key_generation, 3);
        let identity = format::open_identity(&rig.key, segment.seal_id, &info.header.sealed).unwrap();
        assert_eq!(identity, rig.identity());
        assert_eq!(format::open_record(&rig.key, segment.seal_id, &info.footer).unwrap(), b"the record");
        // Bound to the seal id, and one is not the other.
        assert!(format::open_identity(&rig.key, first_other(&segment), &info.header.sealed).is_err());
        assert!(format::open_record(&rig.key, segment.seal_id, &info.header.sealed).is_err());
    }
}

fn first_other(segment: &grid_types::Segment) -> grid_types::SegmentId {
    let mut bytes = *segment.seal_id.as_bytes();
    bytes[0] ^= 1;
    bytes.into()
}

#[tokio::test]
async fn lengths_and_ranges_that_make_no_sense() {
    let rig = Rig::new(1);
    for announced in [0, (64 << 20) + 1] {
        let refused = rig.store.begin(rig.spec(fixed("copies:1"), announced)).await;
        assert!(matches!(refused.err(), Some(SegmentError::Length { .. })), "{announced}");
    }
    let writer = rig.store.begin(rig.spec(fixed("copies:1"), 5)).await.unwrap();
    assert!(matches!(writer.finish(None).await, Err(SegmentError::Length { given: 0, .. })));
    let mut writer = rig.store.begin(rig.spec(fixed("copies:1"), 5)).await.unwrap();
    writer.write(Bytes::from_static(b"1234")).await.unwrap();
    let too_much = writer.write(Bytes::from_static(b"56")).await.unwrap_err();
    assert_eq!(too_much.code(), ErrorCode::InvalidArgument);
    drop(writer);

    let segment = rig.put("copies:1", b"12345").await;
    for range in [0..0, 3..3, 4..6, 5..6] {
        assert!(matches!(rig.get(&segment, range).await, Err(SegmentError::Row { .. })));
    }
    let mut bad_row = segment.clone();
    bad_row.drives.clear();
    assert!(matches!(rig.get(&bad_row, 0..5).await, Err(SegmentError::Row { .. })));
    bad_row = segment.clone();
    bad_row.block_packets = 0;
    assert!(matches!(rig.get(&bad_row, 0..5).await, Err(SegmentError::Row { .. })));
    // A row that promises another length than was written must not give a single byte.
    bad_row = segment;
    bad_row.length = 4;
    assert!(rig.get(&bad_row, 0..4).await.is_err());
    rig.until_budget_is_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_and_comes_back() {
    // Room for one writer of a large segment at a time: 3 stripes of ec:2+2 are 1.5 MiB.
    let rig = Rig::with(4, patient(), 2_200_000);
    let plain = pattern(3_000_000);
    let mut first = rig.store.begin(rig.spec(fixed("ec:2+2"), 16 << 20)).await.unwrap();
    let held = rig.budget.total() - rig.budget.available();
    assert!((1 << 20..1_600_000).contains(&held), "a writer holds {held} bytes");
    first.write(Bytes::from(plain.clone())).await.unwrap();
    let mut second = Box::pin(rig.store.begin(rig.spec(fixed("ec:2+2"), 16 << 20)));
    assert!(futures_util::poll!(&mut second).is_pending(), "waits in line");
    assert_eq!(rig.budget.total() - rig.budget.available(), held, "and holds nothing");
    let segment = first.finish(None).await.unwrap();
    let mut second = second.await.unwrap();
    // While a writer holds most of it, readers make do with a stripe at a time.
    assert!(rig.get_all(&segment).await.unwrap() == plain);
    second.write(Bytes::from_static(b"x")).await.unwrap();
    drop(second);
    rig.until_budget_is_back().await;
}

#[tokio::test]
async fn a_full_queue_for_memory_is_slow_down() {
    let config = SegmentConfig { memory_wait_max: std::time::Duration::from_millis(20), ..patient() };
    let rig = Rig::with(4, config, 2 << 20);
    let _first = rig.store.begin(rig.spec(fixed("ec:2+2"), 16 << 20)).await.unwrap();
    let refused = rig.store.begin(rig.spec(fixed("ec:2+2"), 16 << 20)).await.err().unwrap();
    assert_eq!(refused.code(), ErrorCode::SlowDown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_goes_on_after_a_dropped_next() {
    let rig = Rig::new(3);
    let plain = pattern(2_000_000);
    let segment = rig.put("ec:2+1", &plain).await;
    let mut reader = rig.store.read(segment, rig.key.clone(), 0..2_000_000);
    let mut got = Vec::new();
    loop {
        // Poll once and drop the future, as a select! does.
        if let std::task::Poll::Ready(next) = futures_util::poll!(Box::pin(reader.next())) {
            match next {
                Some(piece) => got.extend_from_slice(&piece.unwrap()),
                None => break,
            }
        }
        tokio::task::yield_now().await;
        if got.len().is_multiple_of(3) {
            match reader.next().await {
                Some(piece) => got.extend_from_slice(&piece.unwrap()),
                None => break,
            }
        }
    }
    assert!(got == plain);
}

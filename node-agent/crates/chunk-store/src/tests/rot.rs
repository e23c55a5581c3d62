use super::*;
use crate::format::{HEADER_BYTES, PACK_HEADER_BYTES, PRELUDE_BYTES};

const FIRST_PACK: &str = "packs/0000000000000001.pack";

/// Every byte of the ends, and some in between.
fn places(len: u64) -> impl Iterator<Item = u64> {
    (0..len).filter(move |at| *at < 1_200 || *at + 1_200 > len || at % 997 == 0)
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_chunk_file_is_found() {
    let disk = labelled(1);
    let drive = open(&disk);
    let sample = Sample::copies(1, 140_000);
    sample.write(&drive).await.unwrap();
    let path = crate::chunk_file::path(sample.key());
    let len = disk.open_read(&path).unwrap().len().unwrap();
    assert!(sample.check(&drive).await.unwrap());
    for at in places(len) {
        disk.corrupt(&path, at, 1 << (at % 8)).unwrap();
        let error = drive.verify(sample.key()).await.expect_err("verify believes a flipped bit");
        assert!(matches!(error, ChunkError::Corrupt { .. }), "byte {at}: {error}");
        disk.corrupt(&path, at, 1 << (at % 8)).unwrap();
    }
    assert!(drive.stats().corruptions > 0);
    assert!(sample.check(&drive).await.unwrap(), "whole again");
    let in_frame_1 = HEADER_BYTES + 32 + 65_552 + 40;
    disk.corrupt(&path, in_frame_1, 4).unwrap();
    let blocks = sample.blocks();
    assert_eq!(drive.read_frames(sample.key(), 0, 1).await.unwrap(), blocks[..1]);
    assert_eq!(drive.read_frames(sample.key(), 2, 1).await.unwrap(), blocks[2..]);
    match drive.read_frames(sample.key(), 0, 3).await {
        Err(ChunkError::Corrupt { what, .. }) => assert_eq!(what, "frame 1"),
        other => panic!("{other:?}"),
    }
    sample.write(&drive).await.unwrap();
    assert!(sample.check(&drive).await.unwrap(), "repaired in place");
}

#[tokio::test]
async fn a_chunk_file_cut_or_lengthened_is_found() {
    let disk = labelled(2);
    let sample = Sample::copies(1, 70_000);
    let drive = open(&disk);
    sample.write(&drive).await.unwrap();
    let path = crate::chunk_file::path(sample.key());
    let whole = disk.read(&path).unwrap();
    let len = whole.len() as u64;
    for at in places(len).chain([len + 1, len + 4_096]) {
        if at == len {
            continue;
        }
        disk.open(&path).unwrap().set_len(at).unwrap();
        let error = drive.info(sample.key()).await.expect_err("a cut file is believed");
        assert!(matches!(error, ChunkError::Corrupt { .. }), "{at} bytes: {error}");
        let file = disk.open(&path).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(0, &whole).unwrap();
    }
    assert!(sample.check(&drive).await.unwrap());
}

#[tokio::test]
async fn a_chunk_under_another_name_is_found() {
    let disk = labelled(3);
    let drive = open(&disk);
    let sample = Sample { profile: Profile::Copies(3), ..Sample::copies(1, 70_000) };
    sample.write(&drive).await.unwrap();
    let other = ChunkKey { index: 2, ..sample.key() };
    disk.rename(&crate::chunk_file::path(sample.key()), &crate::chunk_file::path(other)).unwrap();
    assert!(matches!(drive.info(other).await, Err(ChunkError::Corrupt { .. })));
}

#[tokio::test]
async fn a_flipped_bit_anywhere_in_a_record_is_found_and_spares_the_others() {
    let disk = labelled(4);
    let samples: Vec<_> = (1..=3).map(|seed| Sample::copies(seed, 700)).collect();
    let drive = open(&disk);
    for sample in &samples {
        sample.write(&drive).await.unwrap();
    }
    let place = drive.core().index.lookup(samples[1].key()).unwrap().unwrap();
    for at in place.offset..place.offset + place.len {
        disk.corrupt(FIRST_PACK, at, 1 << (at % 8)).unwrap();
        let error = drive.verify(samples[1].key()).await.expect_err("verify believes a flipped bit");
        assert!(matches!(error, ChunkError::Corrupt { .. }), "byte {at}: {error}");
        disk.corrupt(FIRST_PACK, at, 1 << (at % 8)).unwrap();
    }
    drive.close();
    // The same before an index that is rebuilt: the record is passed over, or kept and found bad when it is read.
    for at in (place.offset..place.offset + place.len).step_by(3) {
        disk.corrupt(FIRST_PACK, at, 1 << (at % 8)).unwrap();
        let drive = open(&disk);
        assert!(samples[0].check(&drive).await.unwrap());
        assert!(samples[2].check(&drive).await.unwrap());
        let read = drive.verify(samples[1].key()).await;
        assert!(
            matches!(read, Err(ChunkError::Missing { .. } | ChunkError::Corrupt { .. })),
            "byte {at}: {read:?}"
        );
        assert!(drive.stats().corruptions > 0, "byte {at} is not reported");
        drive.close();
        disk.corrupt(FIRST_PACK, at, 1 << (at % 8)).unwrap();
    }
    let drive = open(&disk);
    for sample in &samples {
        assert!(sample.check(&drive).await.unwrap());
    }
}

#[tokio::test]
async fn rotten_marks_and_pack_headers_take_no_chunk_away() {
    let disk = labelled(5);
    let samples: Vec<_> = (1..=4).map(|seed| Sample::copies(seed, 300)).collect();
    let drive = open(&disk);
    for sample in &samples {
        sample.write(&drive).await.unwrap();
    }
    let places: Vec<_> =
        samples.iter().map(|sample| drive.core().index.lookup(sample.key()).unwrap().unwrap()).collect();
    drive.close();
    let inner_mark = places[1].offset - PRELUDE_BYTES;
    for at in (0..PACK_HEADER_BYTES - 26).chain(inner_mark..places[1].offset) {
        disk.corrupt(FIRST_PACK, at, 0x10).unwrap();
        let drive = open(&disk);
        for sample in &samples {
            assert!(sample.check(&drive).await.unwrap(), "byte {at}");
        }
        drive.close();
        disk.corrupt(FIRST_PACK, at, 0x10).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_chunk_in_a_pack_is_repaired_in_place() {
    let disk = labelled(6);
    let drive = open(&disk);
    let sample = Sample::copies(1, 900);
    sample.write(&drive).await.unwrap();
    let place = drive.core().index.lookup(sample.key()).unwrap().unwrap();
    disk.corrupt(FIRST_PACK, place.offset + place.len - place.footer_len - 10, 1).unwrap();
    assert!(matches!(drive.read_frames(sample.key(), 0, 1).await, Err(ChunkError::Corrupt { .. })));
    sample.write(&drive).await.unwrap();
    assert!(sample.check(&drive).await.unwrap());
    drive.close();
    assert!(sample.check(&open(&disk)).await.unwrap());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_an_error_of_its_chunk_alone() {
    let disk = labelled(7);
    let drive = open(&disk);
    let (bad, good) = (Sample::copies(1, 70_000), Sample::copies(2, 70_000));
    bad.write(&drive).await.unwrap();
    good.write(&drive).await.unwrap();
    disk.fail_reads(&crate::chunk_file::path(bad.key()));
    assert!(matches!(drive.read_frames(bad.key(), 0, 1).await, Err(ChunkError::Io { .. })));
    assert!(good.check(&drive).await.unwrap());
    assert_eq!(drive.out_of_service(), None);
}

#[tokio::test]
async fn what_was_torn_in_a_last_batch_stays_gone_behind_later_batches() {
    let (torn, header_torn, kept) =
        (Sample::copies(1, 2_000), Sample::copies(2, 900), Sample::copies(3, 700));
    let written = async |samples: &[&Sample]| {
        let disk = labelled(9);
        let drive = open(&disk);
        let before = disk.syncs();
        let writes = samples.iter().map(|sample| sample.write(&drive));
        for result in futures_util::future::join_all(writes).await {
            result.unwrap();
        }
        let syncs = disk.syncs() - before;
        (disk, drive, syncs)
    };
    let (.., of_one_batch) = written(&[&kept]).await;
    // The last batch of the process: all three share its mark. Again where the drive's thread took one before the others came.
    let (disk, drive) = loop {
        let (disk, drive, syncs) = written(&[&torn, &header_torn, &kept]).await;
        if syncs == of_one_batch {
            break (disk, drive);
        }
    };
    let place = |sample: Sample| drive.core().index.lookup(sample.key()).unwrap().unwrap();
    let (frame_at, prelude_at) = (place(torn).offset + place(torn).len / 2, place(header_torn).offset);
    drive.close();
    // As a power cut tears: prelude, header, footer and mark are whole, one sector between is not; and a lost prelude.
    disk.corrupt(FIRST_PACK, frame_at, 0xff).unwrap();
    disk.corrupt(FIRST_PACK, prelude_at, 0xff).unwrap();
    // This disk keeps no index, so each opening reads the packs anew.
    let mut later = Vec::new();
    for boot in 0..3 {
        let drive = open(&disk);
        assert_eq!(drive.stats().corruptions, 0, "boot {boot}: torn bytes were never promised");
        assert!(!torn.check(&drive).await.unwrap(), "boot {boot}");
        assert!(!header_torn.check(&drive).await.unwrap(), "boot {boot}");
        assert!(kept.check(&drive).await.unwrap(), "boot {boot}");
        for sample in &later {
            assert!(Sample::check(sample, &drive).await.unwrap(), "boot {boot}: {sample:?}");
        }
        let sample = Sample::copies(10 + boot, 500);
        sample.write(&drive).await.unwrap();
        later.push(sample);
        drive.close();
    }
}

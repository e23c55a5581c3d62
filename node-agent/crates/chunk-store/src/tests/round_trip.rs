use super::*;
use sys::RealDisk;

#[tokio::test]
async fn chunks_of_every_shape_read_back() {
    let disk = labelled(1);
    let drive = open(&disk);
    let ec = Profile::Ec { k: 4, m: 2 };
    let shapes = [
        Sample::copies(1, 1),
        Sample::copies(2, 4_000),
        Sample::copies(3, 4_080),
        Sample::copies(4, 4_081),
        Sample::copies(5, 65_536),
        Sample::copies(6, 65_537),
        Sample::copies(7, 1_000_000),
        Sample { profile: ec, index: 5, ..Sample::copies(8, 10) },
        Sample { profile: ec, index: 0, ..Sample::copies(9, 300_000) },
        Sample { profile: ec, index: 3, ..Sample::copies(10, 1_000_001) },
    ];
    for sample in &shapes {
        assert!(!sample.check(&drive).await.unwrap());
        sample.write(&drive).await.unwrap();
        assert!(sample.check(&drive).await.unwrap(), "{sample:?}");
    }
    let files = shapes.iter().filter(|sample| sample.layout().chunk_payload_len() > PACKED_MAX).count();
    let (mut found, mut directories) = (0, 0);
    for entry in disk.list("chunks").unwrap() {
        directories += 1;
        found += disk.list(&format!("chunks/{}", entry.name)).unwrap().len();
    }
    assert_eq!(found, files);
    assert!(directories <= files);
    assert!(disk.list("tmp").unwrap().is_empty());
    drive.close();

    let drive = open(&disk);
    for sample in &shapes {
        assert!(sample.check(&drive).await.unwrap(), "{sample:?} after reopening");
    }
    assert_eq!(drive.stats().corruptions, 0);
}

#[tokio::test]
async fn ranges_of_frames_and_wrong_ones() {
    let drive = open(&labelled(2));
    let sample = Sample::copies(1, 500_000);
    sample.write(&drive).await.unwrap();
    let blocks = sample.blocks();
    for first in 0..blocks.len() {
        for end in first + 1..=blocks.len() {
            let read = drive.read_frames(sample.key(), first as u64, (end - first) as u64).await.unwrap();
            assert_eq!(read, blocks[first..end]);
            let whole =
                drive.read_whole_frames(sample.key(), first as u64, (end - first) as u64).await.unwrap();
            let hasher = codec::FrameHasher::new(sample.key());
            for ((number, frame), block) in (first..).zip(&whole).zip(&blocks[first..end]) {
                assert_eq!(frame[..32], hasher.hash(number as u64, block));
                assert_eq!(frame[32..], block[..]);
            }
        }
    }
    for (first, count) in [(0, 0), (0, 9), (8, 1), (u64::MAX, 2)] {
        let error = drive.read_frames(sample.key(), first, count).await.unwrap_err();
        assert!(matches!(error, ChunkError::Io { .. }), "{error}");
    }
    let stranger = Sample::copies(99, 10).key();
    assert!(matches!(drive.read_frames(stranger, 0, 1).await, Err(ChunkError::Missing { .. })));
    assert!(matches!(drive.verify(stranger).await, Err(ChunkError::Missing { .. })));
}

#[tokio::test]
async fn a_writer_that_breaks_the_contract_is_refused() {
    let disk = labelled(3);
    let drive = open(&disk);
    let is_misuse = |result: Result<(), ChunkError>| matches!(result, Err(ChunkError::Io { source, .. }) if source.kind() == std::io::ErrorKind::InvalidInput);
    for len in [100, 200_000] {
        let sample = Sample::copies(1, len);
        let writer = sample.begin(&drive).await.unwrap();
        assert!(is_misuse(writer.finish(len + 1, Vec::new()).await), "wrong length");
        let mut writer = sample.begin(&drive).await.unwrap();
        assert!(is_misuse(writer.write_frame([0; 32], vec![Bytes::from_static(&[1])]).await), "too much");
        drop(writer);
        let writer = sample.begin(&drive).await.unwrap();
        assert!(is_misuse(writer.finish(len, vec![0; crate::format::FOOTER_NOTE_BYTES_MAX + 1]).await));
        assert!(!sample.check(&drive).await.unwrap());
    }
    let mut header = Sample::copies(1, 1).header();
    header.sealed = vec![0; crate::format::SEALED_BYTES_MAX + 1];
    assert!(is_misuse(drive.begin(header.clone(), 10).await.map(drop)));
    header.sealed.truncate(crate::format::SEALED_BYTES_MAX);
    drive.begin(header, 10).await.unwrap();
    let outside = ChunkHeader {
        chunk: ChunkKey { index: 1, ..Sample::copies(1, 1).key() },
        ..Sample::copies(1, 1).header()
    };
    assert!(is_misuse(drive.begin(outside, 10).await.map(drop)));
    drive.close();
    assert!(disk.list("tmp").unwrap().is_empty(), "dropped writers leave nothing");
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing_and_a_dropped_finish_completes() {
    let disk = labelled(4);
    let drive = open(&disk);
    for (seed, len) in [(1, 100), (2, 3_000_000)] {
        let dropped = Sample::copies(seed, len);
        drop(dropped.begin(&drive).await.unwrap());
        let completed = Sample::copies(seed + 10, len);
        let writer = completed.begin(&drive).await.unwrap();
        let mut finish = Box::pin(writer.finish(len, completed.footer()));
        let _ = futures_util::poll!(finish.as_mut());
        drop(finish);
    }
    drive.close();
    assert!(disk.list("tmp").unwrap().is_empty());
    let drive = open(&disk);
    for (seed, len) in [(1, 100), (2, 3_000_000)] {
        assert!(!Sample::copies(seed, len).check(&drive).await.unwrap());
        assert!(Sample::copies(seed + 10, len).check(&drive).await.unwrap());
    }
}

#[tokio::test]
async fn a_chunk_is_replaced_and_removed_in_files_and_packs() {
    let disk = labelled(5);
    for len in [200, 200_000] {
        let drive = open(&disk);
        let old = Sample::copies(len, len);
        let new = Sample { edition: 1, ..old };
        old.write(&drive).await.unwrap();
        assert!(old.check(&drive).await.unwrap());
        new.write(&drive).await.unwrap();
        assert!(new.check(&drive).await.unwrap());
        drive.close();
        let drive = open(&disk);
        assert!(new.check(&drive).await.unwrap());
        drive.remove(vec![new.key(), Sample::copies(77, 1).key()]).await.unwrap();
        assert!(!new.check(&drive).await.unwrap());
        drive.close();
        assert!(!new.check(&open(&disk)).await.unwrap());
    }
}

#[tokio::test]
async fn a_chunk_that_changes_between_pack_and_file_has_one_content() {
    let disk = labelled(6);
    let drive = open(&disk);
    let packed = Sample::copies(1, 3_000);
    let file = Sample { edition: 1, ..packed };
    packed.write(&drive).await.unwrap();
    drive.close();
    let small = DriveConfig { pack_chunk_bytes_max: 100, ..config() };
    let drive = open_with(Arc::new(disk.clone()), small).unwrap();
    file.write(&drive).await.unwrap();
    assert!(file.check(&drive).await.unwrap());
    drive.close();
    let drive = open(&disk);
    assert!(file.check(&drive).await.unwrap());
    packed.write(&drive).await.unwrap();
    assert!(packed.check(&drive).await.unwrap());
    assert_eq!(drive.list(None, 10).await.unwrap(), [packed.key()]);
    drive.remove(vec![packed.key()]).await.unwrap();
    assert!(!packed.check(&drive).await.unwrap());
    drive.close();
    assert!(open(&disk).list(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn listing_pages_through_files_and_packs_in_key_order() {
    let drive = open(&labelled(7));
    let mut keys = Vec::new();
    for seed in 0..60 {
        let sample = Sample::copies(seed, if seed % 3 == 0 { 5_000 } else { 50 });
        sample.write(&drive).await.unwrap();
        keys.push(sample.key());
    }
    keys.sort_unstable();
    for limit in [1, 7, 60, 100] {
        let mut found = Vec::new();
        loop {
            let page = drive.list(found.last().copied(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, keys, "pages of {limit}");
    }
}

#[tokio::test]
async fn many_writers_share_syncs() {
    let drive = open(&labelled(8));
    let samples: Vec<_> = (0..64).map(|seed| Sample::copies(seed, 100)).collect();
    let mut writers = Vec::new();
    for sample in &samples {
        writers.push(sample.begin(&drive).await.unwrap());
    }
    let before = drive.stats().syncs;
    let finishing =
        writers.into_iter().zip(&samples).map(|(writer, sample)| writer.finish(100, sample.footer()));
    for result in futures_util::future::join_all(finishing).await {
        result.unwrap();
    }
    let syncs = drive.stats().syncs - before;
    assert!(syncs < 64, "{syncs} syncs for 64 chunks");
    for sample in &samples {
        assert!(sample.check(&drive).await.unwrap());
    }
}

fn real(path: &std::path::Path) -> Drive {
    open_with(Arc::new(RealDisk::open(path).unwrap()), config()).unwrap()
}

#[tokio::test]
async fn the_index_on_a_real_disk_survives_and_is_rebuilt_when_lost_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    drive_label::create(&RealDisk::open(folder.path()).unwrap(), &test_label(), false).unwrap();
    let samples: Vec<_> = (0..40).map(|seed| Sample::copies(seed, 1 + seed * 150)).collect();
    let drive = real(folder.path());
    for sample in &samples {
        sample.write(&drive).await.unwrap();
    }
    drive.remove(vec![samples[3].key(), samples[35].key()]).await.unwrap();
    drive.close();
    let index = folder.path().join("chunk-index.sqlite");
    for damage in ["none", "lost", "garbage", "older", "marked"] {
        match damage {
            "lost" => std::fs::remove_file(&index).unwrap(),
            "garbage" => std::fs::write(&index, vec![0x5a; 9_000]).unwrap(),
            "older" => {
                // What a lost write-ahead log leaves: rows of the first batches alone.
                let connection = rusqlite::Connection::open(&index).unwrap();
                let offset: i64 =
                    connection.query_row("SELECT min(len) FROM pack", [], |row| row.get(0)).unwrap();
                assert!(offset > 0);
                connection.execute("DELETE FROM chunk WHERE offset > 400", []).unwrap();
                connection.execute("UPDATE state SET pack = 1, offset = 64, sequence = 0", []).unwrap();
            }
            "marked" => std::fs::write(folder.path().join("chunk-index.damaged"), b"").unwrap(),
            _ => {}
        }
        let drive = real(folder.path());
        for (number, sample) in samples.iter().enumerate() {
            let there = sample.check(&drive).await.unwrap();
            assert_eq!(there, number != 3 && number != 35, "index {damage}, sample {number}");
        }
        assert_eq!(drive.list(None, 100).await.unwrap().len(), 38);
        drive.close();
    }
}

#[tokio::test]
async fn an_index_of_another_drive_is_not_believed() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, id) in [(&one, 3), (&other, 4)] {
        let label = DriveLabel { drive: DriveId::from_bytes([id; 16]), ..test_label() };
        drive_label::create(&RealDisk::open(folder.path()).unwrap(), &label, false).unwrap();
        let drive = real(folder.path());
        Sample::copies(u64::from(id), 100).write(&drive).await.unwrap();
        drive.close();
    }
    let name = "chunk-index.sqlite";
    std::fs::copy(other.path().join(name), one.path().join(name)).unwrap();
    let drive = real(one.path());
    assert!(Sample::copies(3, 100).check(&drive).await.unwrap());
    assert!(!Sample::copies(4, 100).check(&drive).await.unwrap());
}

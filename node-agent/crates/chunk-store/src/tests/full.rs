use super::*;

#[tokio::test]
async fn writers_stop_at_the_reserve_and_removes_go_on() {
    let disk = labelled(1);
    disk.set_capacity(4 << 20);
    let with_reserve = DriveConfig { reserve_bytes_min: 1 << 20, ..config() };
    let drive = open_with(Arc::new(disk.clone()), with_reserve).unwrap();
    let mut written = Vec::new();
    let full = loop {
        let sample =
            Sample::copies(written.len() as u64, if written.len() % 2 == 0 { 3_000 } else { 60_000 });
        match sample.write(&drive).await {
            Ok(()) => written.push(sample),
            Err(error) => break error,
        }
        assert!(written.len() < 1_000);
    };
    assert!(matches!(full, ChunkError::Full { .. }), "{full}");
    let free = disk.space().unwrap().free;
    assert!((1 << 20..(1 << 20) + 200_000).contains(&free), "{free} bytes are left");
    assert!(drive.summary().free_bytes < 200_000);
    for sample in &written {
        assert!(sample.check(&drive).await.unwrap());
    }
    let keys = written.iter().map(Sample::key).collect();
    drive.remove(keys).await.unwrap();
    while drive.compact_once().await.unwrap() {}
    for sample in &written {
        assert!(!sample.check(&drive).await.unwrap());
        sample.write(&drive).await.unwrap();
    }
}

#[tokio::test]
async fn room_is_promised_to_open_writers() {
    let disk = labelled(2);
    disk.set_capacity(1 << 20);
    let drive = open(&disk);
    let free = drive.summary().free_bytes;
    let sample = Sample::copies(1, 600_000);
    let writer = sample.begin(&drive).await.unwrap();
    let error = Sample::copies(2, 600_000).begin(&drive).await.err().expect("no room for two");
    assert!(matches!(error, ChunkError::Full { .. }));
    assert!(drive.summary().free_bytes < free - 600_000);
    drop(writer);
    drive.close();
    let drive = open(&disk);
    Sample::copies(2, 600_000).write(&drive).await.unwrap();
}

/// Something else fills the disk at any point: every chunk is whole or absent, and all works again with room.
#[tokio::test]
async fn a_disk_that_fills_at_any_point_tears_nothing() {
    for room in (0..60u64).map(|step| step * 4_096) {
        let disk = labelled(3);
        let drive = open(&disk);
        let before = [Sample::copies(1, 2_000), Sample::copies(2, 50_000)];
        for sample in &before {
            sample.write(&drive).await.unwrap();
        }
        let space = disk.space().unwrap();
        drive.summary();
        disk.set_capacity(space.total - space.free + room);
        let mut outcomes = Vec::new();
        for seed in 10..16 {
            let sample = Sample::copies(seed, if seed % 2 == 0 { 3_500 } else { 90_000 });
            match sample.write(&drive).await {
                Ok(()) => outcomes.push((sample, true)),
                Err(ChunkError::Full { .. }) => outcomes.push((sample, false)),
                Err(error) => panic!("room {room}: {error}"),
            }
        }
        assert_eq!(drive.out_of_service(), None);
        assert!(room > 100_000 || outcomes.iter().any(|(_, written)| !written));
        for (sample, written) in &outcomes {
            assert_eq!(sample.check(&drive).await.unwrap(), *written, "room {room}");
        }
        disk.set_capacity(space.total);
        for (sample, written) in &outcomes {
            if !written {
                sample.write(&drive).await.unwrap();
            }
        }
        drive.close();
        let drive = open(&disk);
        for sample in before.iter().chain(outcomes.iter().map(|(sample, _)| sample)) {
            assert!(sample.check(&drive).await.unwrap(), "room {room}: {sample:?}");
        }
        assert_eq!(drive.stats().corruptions, 0);
        assert!(disk.list("tmp").unwrap().is_empty());
    }
}

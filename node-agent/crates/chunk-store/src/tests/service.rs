use super::*;

fn stopped<T>(result: Result<T, ChunkError>) -> bool {
    matches!(result, Err(ChunkError::OutOfService { .. }))
}

#[tokio::test]
async fn a_failed_sync_ends_the_drive_and_is_not_tried_again() {
    for (len, nth) in [(100, 1), (100_000, 1), (100_000, 2), (100_000, 3)] {
        let disk = labelled(1);
        let drive = open(&disk);
        let before = Sample::copies(1, 100);
        before.write(&drive).await.unwrap();
        disk.fail_sync(nth);
        let syncs = disk.syncs();
        assert!(stopped(Sample::copies(2, len).write(&drive).await), "sync {nth} of {len} bytes");
        assert!(drive.out_of_service().unwrap().contains("sync failed"));
        assert!(stopped(before.check(&drive).await));
        assert!(stopped(Sample::copies(3, 100).write(&drive).await));
        assert!(stopped(drive.remove(vec![before.key()]).await));
        assert!(stopped(drive.list(None, 1).await));
        assert!(stopped(drive.compact_once().await));
        assert!(stopped(drive.probe().await));
        drive.close();
        assert_eq!(disk.syncs(), syncs + nth, "nothing was synced after the failure");
    }
}

#[tokio::test]
async fn every_waiting_writer_hears_of_a_failed_sync() {
    let disk = labelled(2);
    let drive = open(&disk);
    Sample::copies(99, 10).write(&drive).await.unwrap();
    let mut writers = Vec::new();
    for seed in 0..20 {
        writers.push(Sample::copies(seed, 100).begin(&drive).await.unwrap());
    }
    disk.fail_sync(1);
    let finishing =
        writers.into_iter().zip(0u64..).map(|(w, seed)| w.finish(100, Sample::copies(seed, 100).footer()));
    let results = futures_util::future::join_all(finishing).await;
    assert!(results.into_iter().all(stopped));
}

#[tokio::test]
async fn a_probe_notices_a_lost_or_changed_label_a_dead_disk_and_a_failing_sync() {
    let disk = labelled(3);
    let drive = open(&disk);
    drive.probe().await.unwrap();
    drive.probe().await.unwrap();
    disk.remove(crate::label::LABEL_FILE).unwrap();
    assert!(stopped(drive.probe().await));
    assert!(drive.out_of_service().unwrap().contains("label is gone"));

    let disk = labelled(4);
    let drive = open(&disk);
    drive_label::replace(&disk, &test_label(), &test_label()).unwrap();
    assert!(stopped(drive.probe().await), "another generation");

    let disk = labelled(5);
    let drive = open(&disk);
    disk.fail_sync(1);
    assert!(stopped(drive.probe().await));

    let disk = labelled(6);
    let drive = open(&disk);
    disk.pull();
    assert!(drive.probe().await.is_err());
    assert!(stopped(drive.probe().await));
}

#[tokio::test]
async fn a_full_disk_is_no_failed_probe() {
    let disk = labelled(7);
    let drive = open(&disk);
    let space = disk.space().unwrap();
    disk.set_capacity(space.total - space.free);
    drive.probe().await.unwrap();
    assert_eq!(drive.out_of_service(), None);
}

#[tokio::test]
async fn an_order_takes_a_drive_out_and_the_first_reason_stays() {
    let drive = open(&labelled(8));
    drive.take_out_of_service("stopped by the operator");
    drive.take_out_of_service("another reason");
    let error = drive.verify(Sample::copies(1, 1).key()).await.unwrap_err();
    assert!(error.to_string().contains("stopped by the operator"), "{error}");
    assert_eq!(drive.summary().out_of_service.as_deref(), Some("stopped by the operator"));
}

#[tokio::test]
async fn clones_of_a_closed_drive_fail_and_do_not_hang() {
    let disk = labelled(9);
    let drive = open(&disk);
    let (clone, writer) = (drive.clone(), Sample::copies(1, 100_000).begin(&drive).await.unwrap());
    drive.close();
    assert!(stopped(clone.info(Sample::copies(1, 1).key()).await));
    assert!(stopped(clone.compact_once().await));
    assert!(stopped(writer.finish(100_000, Sample::copies(1, 100_000).footer()).await));
    drop(clone);
    assert!(open(&disk).list(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn counters_count() {
    let drive = open(&labelled(10));
    let sample = Sample::copies(1, 100_000);
    sample.write(&drive).await.unwrap();
    drive.read_frames(sample.key(), 0, 2).await.unwrap();
    let stats = drive.stats();
    assert!(stats.written_bytes > 100_000 && stats.read_bytes > 100_000 && stats.syncs >= 3);
    assert!(drive.read_p95_us() > 0);
}

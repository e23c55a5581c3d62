//! Backups, root bags, and metadata made anew from them and from the chunks.

use std::time::Duration;

use chunk_store::Drive;
use grid_types::{ErrorCode, Profile, ProfileChoice, SEGMENT_BYTES_MAX};
use meta_store::root::{Expect, RecordKind, RecordWrite};

use super::rig::{MIB, Rig, body, checksum, code, key, pattern, rig, rig_with};
use crate::backup::{BACKUP_LIST_FILE, BackupConfig, BackupList, MetadataBackup, ROOT_BAG_FILE, RootBag};
use crate::{
    Attributes, ChecksumKind, CompletePart, CreateUpload, EngineConfig, ExpectedDigests, PutObject, PutPart,
    QuarantineChoice,
};

async fn worker(rig: &Rig) -> MetadataBackup {
    let config = BackupConfig { period: Duration::ZERO, bag_period: Duration::ZERO, ..Default::default() };
    MetadataBackup::start(rig.engine.clone(), rig.chunks.clone(), config).await
}

async fn two_copies(drives: u8) -> Rig {
    let profile = ProfileChoice::Fixed(Profile::Copies(2));
    rig_with(drives, EngineConfig { profile, ..Default::default() }).await
}

fn drive_file(drive: &Drive, path: &str) -> std::path::PathBuf {
    drive.disk().local_path(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_was_recoded_after_the_backup_is_found_by_its_seal_id() {
    let mut rig = two_copies(3).await;
    for (name, seed) in [("done", 1), ("cut-short", 2)] {
        rig.put(name, &pattern(seed, 300_000)).await;
    }
    worker(&rig).await.back_up_now().await.unwrap();
    let bucket = rig.meta.bucket(&rig.bucket).await.unwrap().unwrap();
    for name in ["done", "cut-short"] {
        let row = rig.meta.object(bucket.id, &key(name), None).await.unwrap().unwrap().segments.remove(0);
        let new = rig.segments.recode(&row.segment, Profile::Copies(3)).await.unwrap();
        if name == "done" {
            let old = row.segment.id;
            rig.meta.replace_segment(bucket.id, &key(name), row.owner, old, new).await.unwrap();
            for (index, drive) in (0u8..).zip(&row.segment.drives) {
                let drive = rig.chunks.drive(drive.unwrap()).unwrap();
                drive.remove(vec![grid_types::ChunkKey { segment: old, index }]).await.unwrap();
            }
        }
    }
    let report = rig.rebuild().await;
    assert_eq!((report.quarantined, report.unreadable), (0, 0), "{report:?}");
    for (name, seed) in [("done", 1), ("cut-short", 2)] {
        assert!(rig.get(name).await.unwrap().1 == pattern(seed, 300_000), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_comes_back_from_backup_and_chunks() {
    let mut rig = two_copies(3).await;
    let red = Attributes { user_metadata: vec![("colour".into(), "red".into())], ..Default::default() };
    rig.put("inline-before", b"tiny").await;
    rig.put("stored-before", &pattern(1, 300_000)).await;
    rig.put("replaced-later", &pattern(2, 100_000)).await;
    rig.put("deleted-before", &pattern(3, 100_000)).await;
    rig.put("deleted-later", &pattern(4, 100_000)).await;
    rig.engine.delete_object(&rig.bucket, &key("deleted-before"), None, Default::default()).await.unwrap();
    worker(&rig).await.back_up_now().await.unwrap();

    rig.put("inline-later", b"tiny").await;
    let request = rig.put_request("stored-later", &pattern(5, 3 * MIB));
    let request = PutObject { attributes: red.clone(), checksum: Some(ChecksumKind::Sha256), ..request };
    let later = rig.engine.put_object(request).await.unwrap();
    rig.put("replaced-later", &pattern(6, 120_000)).await;
    rig.put("replaced-twice", &pattern(7, 100_000)).await;
    rig.put("replaced-twice", &pattern(8, 110_000)).await;
    rig.engine.delete_object(&rig.bucket, &key("deleted-later"), None, Default::default()).await.unwrap();

    let report = rig.rebuild().await;
    assert!(report.backup.is_some() && report.root_bag && report.backups_refused.is_empty(), "{report:?}");
    assert_eq!(report.set_aside.len(), 3, "{report:?}");
    assert_eq!((report.quarantined, report.unreadable), (0, 0), "{report:?}");
    assert!(report.given_up >= 1, "what was deleted before the backup stays deleted: {report:?}");
    // Either version of `replaced-twice` may be found first.
    assert!(report.objects + report.superseded == 4 && report.objects >= 3, "{report:?}");
    assert_eq!(
        rig.keys().await,
        [
            "deleted-later",
            "inline-before",
            "replaced-later",
            "replaced-twice",
            "stored-before",
            "stored-later"
        ],
        "the inline object and the delete after the backup are lost"
    );
    assert_eq!(rig.get("inline-before").await.unwrap().1, b"tiny");
    for (at, seed, size) in [
        ("stored-before", 1, 300_000),
        ("replaced-later", 6, 120_000),
        ("replaced-twice", 8, 110_000),
        ("stored-later", 5, 3 * MIB),
    ] {
        assert!(rig.get(at).await.unwrap().1 == pattern(seed, size), "{at}");
    }
    let info = rig.engine.head_object(rig.get_request("stored-later")).await.unwrap();
    assert_eq!((info.etag, info.version, info.attributes), (later.etag, later.version, red));
    assert_eq!(info.checksum, Some(checksum(ChecksumKind::Sha256, &pattern(5, 3 * MIB))));
    assert!(later.modified.since(info.modified) < Duration::from_secs(60), "its own time, not the rebuild's");
    rig.put("after", b"x").await;
    worker(&rig).await.back_up_now().await.unwrap();
    let again = rig.rebuild().await;
    assert_eq!((again.objects, again.backups_refused.len()), (0, 0), "{again:?}");
    assert_eq!(rig.get("after").await.unwrap().1, b"x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_backup_the_root_bag_and_the_chunks_give_what_they_know() {
    let mut rig = two_copies(2).await;
    let setting = RecordWrite {
        kind: RecordKind::Setting,
        key: b"name".to_vec(),
        expect: Expect::Absent,
        value: Some(vec![1, 2, 3]),
    };
    rig.meta.write_records(vec![setting]).await.unwrap();
    rig.put("stored", &pattern(1, 300_000)).await;
    rig.put("inline", b"tiny").await;
    worker(&rig).await.tick().await.unwrap();
    // Only the bag: the period was not over.
    for drive in rig.chunks.drives() {
        let _ = std::fs::remove_file(drive_file(&drive, BACKUP_LIST_FILE.path));
    }
    let before = rig.engine.bucket(&rig.bucket).await.unwrap();
    let report = rig.rebuild().await;
    assert_eq!(report.backup, None);
    assert_eq!(rig.engine.bucket(&rig.bucket).await.unwrap(), before);
    assert_eq!(rig.meta.record(RecordKind::Setting, b"name").await.unwrap().unwrap().value, [1, 2, 3]);
    assert_eq!(rig.keys().await, ["stored"]);
    assert!(rig.get("stored").await.unwrap().1 == pattern(1, 300_000));
    assert!(report.lost().iter().any(|sentence| sentence.contains("inline")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_read_gives_way_to_an_older_one() {
    let mut rig = rig().await;
    let backup = worker(&rig).await;
    rig.put("first", &pattern(1, 50_000)).await;
    backup.back_up_now().await.unwrap();
    rig.put("second", b"inline").await;
    backup.back_up_now().await.unwrap();
    let drive = rig.chunks.drives().remove(0);
    let lists: Vec<BackupList> = BACKUP_LIST_FILE.read_all(std::slice::from_ref(&drive)).await;
    assert_eq!(lists[0].sets.len(), 2);
    for copy in &lists[0].sets[0].shards {
        let chunks: Vec<_> =
            copy.segments.iter().flat_map(|segment| segment.chunks()).map(|(chunk, _)| chunk).collect();
        drive.remove(chunks).await.unwrap();
    }
    let report = rig.rebuild().await;
    assert_eq!(
        (report.backup, report.backups_refused.len()),
        (Some(lists[0].sets[1].stamp), 1),
        "{report:?}"
    );
    assert_eq!(rig.keys().await, ["first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_several_segments_come_back_whole_or_not_at_all() {
    let mut rig = rig().await;
    worker(&rig).await.back_up_now().await.unwrap();
    let bytes = pattern(9, SEGMENT_BYTES_MAX as usize + 70_001);
    rig.put("whole", &bytes).await;
    rig.put("torn", &bytes).await;
    let torn = rig.meta.object(rig.engine.bucket(&rig.bucket).await.unwrap().id, &key("torn"), None).await;
    let (chunk, drive) = torn.unwrap().unwrap().segments[0].segment.chunks().next().unwrap();
    rig.chunks.drive(drive).unwrap().remove(vec![chunk]).await.unwrap();
    let report = rig.rebuild().await;
    assert_eq!(rig.keys().await, ["whole"]);
    assert!(rig.get("whole").await.unwrap().1 == bytes);
    assert_eq!(report.quarantined, 1);
    let found = &report.quarantined_first[0];
    assert_eq!(found.length, 70_001);
    let (_, found_key, owner) = found.identity.clone().unwrap();
    assert_eq!((found_key, owner.number), (key("torn"), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_later_uploads_are_quarantined_and_not_collected() {
    let mut rig = rig_with(1, EngineConfig { part_bytes_min: 1, ..Default::default() }).await;
    let upload = |at: &str| CreateUpload {
        bucket: rig.bucket.clone(),
        key: key(at),
        attributes: Attributes::default(),
        storage_class: None,
        checksum: None,
    };
    let part = |at: &str, upload, number, bytes: &[u8]| PutPart {
        bucket: rig.bucket.clone(),
        key: key(at),
        upload,
        number,
        body: body(bytes, 100_000),
        length: Some(bytes.len() as u64),
        expected: ExpectedDigests::default(),
        checksum: None,
    };
    let open = rig.engine.create_upload(upload("open")).await.unwrap();
    let first = rig.engine.put_part(part("open", open, 1, &pattern(1, 100_000))).await.unwrap();
    worker(&rig).await.back_up_now().await.unwrap();
    let late = rig.engine.create_upload(upload("late")).await.unwrap();
    let late_part = rig.engine.put_part(part("late", late, 1, &pattern(2, 100_000))).await.unwrap();
    let named = |etag: &str| vec![CompletePart { number: 1, etag: etag.into(), checksum: None }];
    let condition = Default::default;
    rig.engine
        .complete_upload(&rig.bucket, &key("late"), late, named(&late_part.etag), None, condition())
        .await
        .unwrap();

    let report = rig.rebuild().await;
    assert_eq!(report.quarantined, 1);
    assert_eq!(code(rig.get("late").await), Some(ErrorCode::NoSuchKey));
    let quarantined = report.quarantined_first[0].clone();
    assert_eq!(quarantined.identity.unwrap().1, key("late"));
    let dead = rig.meta.reap(vec![quarantined.segment]).await.unwrap();
    assert!(dead.is_empty(), "its row protects it");
    // The upload that was open when the backup was taken goes on.
    rig.engine
        .complete_upload(&rig.bucket, &key("open"), open, named(&first.etag), None, condition())
        .await
        .unwrap();
    assert!(rig.get("open").await.unwrap().1 == pattern(1, 100_000));
    let again = rig.rebuild().await;
    assert_eq!(again.quarantined, 1, "its row is lost with the metadata, not the segment: {again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_learn_where_chunks_have_moved_since_the_backup() {
    let mut rig = two_copies(3).await;
    let bytes = pattern(1, 300_000);
    rig.put("k", &bytes).await;
    worker(&rig).await.back_up_now().await.unwrap();
    let bucket = rig.engine.bucket(&rig.bucket).await.unwrap().id;
    let row = rig.meta.object(bucket, &key("k"), None).await.unwrap().unwrap().segments.remove(0);
    let holders: Vec<_> = row.segment.chunks().map(|(_, drive)| drive).collect();
    let free = rig.chunks.drives().into_iter().find(|drive| !holders.contains(&drive.id())).unwrap();
    // As repair does it: rebuilt elsewhere, relocated, removed; then the other copy is lost.
    rig.segments.rebuild_chunk(&row.segment, 0, free.id()).await.unwrap();
    let (owner, id) = (row.owner, row.segment.id);
    rig.meta.relocate(bucket, &key("k"), owner, id, 0, Some(holders[0]), Some(free.id())).await.unwrap();
    for (chunk, drive) in row.segment.chunks() {
        rig.chunks.drive(drive).unwrap().remove(vec![chunk]).await.unwrap();
    }
    let report = rig.rebuild().await;
    assert_eq!(report.moved, 1, "{report:?}");
    assert!(rig.get("k").await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_taken_when_something_changed_and_old_ones_go() {
    let rig = rig().await;
    let backup = worker(&rig).await;
    let drives = rig.chunks.drives();
    let lists = async || BACKUP_LIST_FILE.read_all::<BackupList>(&drives).await;
    backup.tick().await.unwrap();
    let first = lists().await;
    backup.tick().await.unwrap();
    backup.tick().await.unwrap();
    assert_eq!(lists().await, first, "nothing changed but by the backup itself");
    for round in 0..4 {
        rig.put(&format!("k{round}"), b"x").await;
        backup.tick().await.unwrap();
    }
    let list = lists().await.remove(0);
    let sequences: Vec<u64> = list.sets.iter().map(|set| set.sequence).collect();
    assert_eq!(sequences, [5, 4, 3]);
    let internal = rig.engine.internal_bucket().await.unwrap();
    let query = crate::ListObjects { limit: 100, ..Default::default() };
    let objects = rig.engine.list_in(&internal, query).await.unwrap().objects;
    assert_eq!(objects.len(), 3 * rig.meta.shards_to_back_up().len());
    assert_eq!(backup.status().last, Some(list.sets[0].stamp));
    // A new run goes on from there.
    rig.put("k", b"x").await;
    worker(&rig).await.tick().await.unwrap();
    assert_eq!(lists().await[0].sets[0].sequence, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_drive_gets_the_newest_bag_and_a_rotten_one_is_passed_over() {
    let mut rig = two_copies(3).await;
    let backup = worker(&rig).await;
    backup.tick().await.unwrap();
    let drives = rig.chunks.drives();
    let bags = async || ROOT_BAG_FILE.read_all::<RootBag>(&drives).await;
    let before = bags().await;
    assert_eq!((before.len(), before[0].sequence), (3, before[2].sequence));
    rig.engine.create_bucket(&"another".parse().unwrap(), "owner").await.unwrap();
    backup.tick().await.unwrap();
    let after = bags().await;
    assert!(after[0].sequence > before[0].sequence);
    let names: Vec<&str> = after[0].buckets.iter().map(|bucket| bucket.name.as_str()).collect();
    assert!(names.contains(&"another"), "{names:?}");
    for (drive, cut) in drives.iter().zip([true, false]) {
        let path = drive_file(drive, ROOT_BAG_FILE.path);
        let mut bytes = std::fs::read(&path).unwrap();
        match cut {
            true => bytes.truncate(bytes.len() / 2),
            false => bytes[40] ^= 1,
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(bags().await.len(), 1);
    rig.rebuild().await;
    assert!(rig.engine.bucket(&"another".parse().unwrap()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_internal_bucket_is_not_there_for_callers() {
    let rig = rig().await;
    worker(&rig).await.back_up_now().await.unwrap();
    let internal = rig.engine.internal_bucket().await.unwrap().name;
    assert_eq!(code(rig.engine.bucket(&internal).await), Some(ErrorCode::NoSuchBucket));
    assert_eq!(code(rig.engine.delete_bucket(&internal).await), Some(ErrorCode::NoSuchBucket));
    assert_eq!(code(rig.engine.create_bucket(&internal, "owner").await), Some(ErrorCode::InvalidArgument));
    let request = PutObject { bucket: internal.clone(), ..rig.put_request("k", b"x") };
    assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::NoSuchBucket));
    let seen = rig.engine.list_buckets(None, 1).await.unwrap();
    assert_eq!(seen.iter().map(|bucket| bucket.name.as_str()).collect::<Vec<_>>(), ["bucket"]);
    assert!(rig.engine.list_buckets(Some(&rig.bucket), 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_quarantined_is_listed_released_and_deleted() {
    let mut rig = rig_with(1, EngineConfig { part_bytes_min: 1, ..Default::default() }).await;
    worker(&rig).await.back_up_now().await.unwrap();
    let mut bodies = Vec::new();
    for (at, seeds) in [("released", [1, 2]), ("deleted", [3, 4])] {
        let upload = CreateUpload {
            bucket: rig.bucket.clone(),
            key: key(at),
            attributes: Attributes::default(),
            storage_class: None,
            checksum: None,
        };
        let upload = rig.engine.create_upload(upload).await.unwrap();
        let mut parts = Vec::new();
        // The parts come in another order than their numbers.
        for (number, seed) in [(7, seeds[1]), (3, seeds[0])] {
            let bytes = pattern(seed, 100_000 + usize::from(number));
            let part = PutPart {
                bucket: rig.bucket.clone(),
                key: key(at),
                upload,
                number,
                length: Some(bytes.len() as u64),
                body: body(&bytes, 100_000),
                expected: ExpectedDigests::default(),
                checksum: None,
            };
            let etag = rig.engine.put_part(part).await.unwrap().etag;
            parts.insert(0, (CompletePart { number, etag, checksum: None }, bytes));
        }
        let named = parts.iter().map(|(part, _)| part.clone()).collect();
        rig.engine
            .complete_upload(&rig.bucket, &key(at), upload, named, None, Default::default())
            .await
            .unwrap();
        bodies.push(parts.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>().concat());
    }
    rig.rebuild().await;
    assert!(rig.keys().await.is_empty());
    let all = rig.engine.quarantined().await.unwrap();
    let seen: Vec<_> = all
        .iter()
        .map(|one| {
            let origin = one.origin.as_ref().unwrap();
            (origin.key.as_str(), origin.owner.part, one.length, origin.bucket_name.clone())
        })
        .collect();
    let bucket = Some(rig.bucket.clone());
    assert_eq!(
        seen,
        [
            ("deleted", 3, 100_003, bucket.clone()),
            ("deleted", 7, 100_007, bucket.clone()),
            ("released", 3, 100_003, bucket.clone()),
            ("released", 7, 100_007, bucket)
        ]
    );
    let version_of = |at: usize| QuarantineChoice::Version(all[at].origin.as_ref().unwrap().owner.version);

    // A name that is taken is not replaced.
    rig.put("taken", b"x").await;
    let refused = rig.engine.release_quarantined(&version_of(2), &rig.bucket, &key("taken")).await;
    assert_eq!(code(refused), Some(ErrorCode::PreconditionFailed));
    assert_eq!(rig.get("taken").await.unwrap().1, b"x");
    let (written, pieces) =
        rig.engine.release_quarantined(&version_of(2), &rig.bucket, &key("released")).await.unwrap();
    assert_eq!((written.size, pieces), (200_010, 2));
    assert!(rig.get("released").await.unwrap().1 == bodies[0]);
    let again = rig.engine.release_quarantined(&version_of(2), &rig.bucket, &key("again")).await;
    assert_eq!(code(again), Some(ErrorCode::NoSuchKey));

    // Pieces that are named are released in that order.
    let pieces = QuarantineChoice::Segments(vec![all[1].segment, all[0].segment]);
    rig.engine.release_quarantined(&pieces, &rig.bucket, &key("pieces")).await.unwrap();
    let turned = [&bodies[1][100_003..], &bodies[1][..100_003]].concat();
    assert!(rig.get("pieces").await.unwrap().1 == turned);
    assert!(rig.engine.quarantined().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_segment_that_is_deleted_stays_away() {
    let mut rig = rig().await;
    worker(&rig).await.back_up_now().await.unwrap();
    let bytes = pattern(9, SEGMENT_BYTES_MAX as usize + 70_001);
    rig.put("torn", &bytes).await;
    let bucket = rig.engine.bucket(&rig.bucket).await.unwrap().id;
    let torn = rig.meta.object(bucket, &key("torn"), None).await.unwrap().unwrap();
    let (chunk, drive) = torn.segments[0].segment.chunks().next().unwrap();
    rig.chunks.drive(drive).unwrap().remove(vec![chunk]).await.unwrap();
    rig.rebuild().await;
    let all = rig.engine.quarantined().await.unwrap();
    let version = QuarantineChoice::Version(all[0].origin.as_ref().unwrap().owner.version);
    // Its first segment is lost: as a whole it would be another object.
    let refused = rig.engine.release_quarantined(&version, &rig.bucket, &key("torn")).await;
    assert_eq!(code(refused), Some(ErrorCode::InvalidArgument));
    assert_eq!(rig.engine.delete_quarantined(&version).await.unwrap(), 1);
    assert!(rig.engine.quarantined().await.unwrap().is_empty());
    worker(&rig).await.back_up_now().await.unwrap();
    let again = rig.rebuild().await;
    assert_eq!((again.quarantined, again.given_up), (0, 1), "{again:?}");
}

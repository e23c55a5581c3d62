//! Which start is the node's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use grid_types::{DriveId, GridId, Timestamp};
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaConfig, MetaStore};
use sys::{RealClock, RealDisk, RealRandom};

use super::{IncarnationError, judge, register};
use crate::identity::NodeFile;
use crate::records::{self, NodeRecord};

fn on_drives(incarnation: u64, nonce: &str, pending: Option<&str>) -> NodeFile {
    let mut file = NodeFile::generate(GridId::from_bytes([1; 16]), Vec::new()).unwrap();
    (file.incarnation, file.nonce, file.pending) =
        (incarnation, nonce.to_owned(), pending.map(str::to_owned));
    file
}

fn registered(incarnation: u64, nonce: &str) -> NodeRecord {
    NodeRecord {
        public_key: String::new(),
        incarnation,
        nonce: nonce.to_owned(),
        added: Timestamp::from_secs(1),
        restored: false,
    }
}

#[test]
fn own_starts_pass_whatever_step_was_cut() {
    // Before anything, after a clean start, after a crash before and after the registration.
    assert!(judge(&on_drives(0, "", None), &registered(0, "")).is_ok());
    assert!(judge(&on_drives(4, "d", None), &registered(4, "d")).is_ok());
    assert!(judge(&on_drives(4, "d", Some("e")), &registered(4, "d")).is_ok());
    assert!(judge(&on_drives(4, "d", Some("e")), &registered(5, "e")).is_ok());
}

#[test]
fn copies_and_old_backups_are_refused_with_words() {
    let refused = |file: NodeFile, record: NodeRecord| judge(&file, &record).expect_err("refused");
    let error = refused(on_drives(3, "c", None), registered(5, "e"));
    assert!(matches!(error, IncarnationError::DrivesOlder { registered: 5, on_drives: 3 }));
    assert!(error.to_string().contains("old backup"));
    let error = refused(on_drives(5, "e", None), registered(3, "c"));
    assert!(matches!(error, IncarnationError::MetadataOlder { registered: 3, on_drives: 5 }));
    assert!(error.to_string().contains("rebuild-metadata"));
    let error = refused(on_drives(5, "x", None), registered(5, "e"));
    assert!(matches!(error, IncarnationError::Clone(5)));
    // A pending start that is not the one that was registered.
    let error = refused(on_drives(4, "d", Some("x")), registered(5, "e"));
    assert!(matches!(error, IncarnationError::DrivesOlder { .. }));
}

#[test]
fn after_a_restore_the_drives_are_believed_whatever_the_backup_knew() {
    let restored = |incarnation, nonce| NodeRecord { restored: true, ..registered(incarnation, nonce) };
    assert!(judge(&on_drives(5, "e", None), &restored(3, "c")).is_ok());
    assert!(judge(&on_drives(3, "c", None), &restored(5, "e")).is_ok());
}

/// The root shard of a grid whose only node registered `record` last.
async fn metadata(folder: &std::path::Path, file: &NodeFile, record: &NodeRecord) -> MetaStore {
    let home =
        vec![HomeDrive { id: DriveId::from_bytes([1; 16]), disk: Arc::new(RealDisk::open(folder).unwrap()) }];
    let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
    let meta = MetaStore::found(home, MetaConfig::default(), clock, random).await.unwrap();
    meta.write_records(vec![write_of(file, record, Expect::Absent)]).await.unwrap();
    meta
}

fn write_of(file: &NodeFile, record: &NodeRecord, expect: Expect) -> RecordWrite {
    let (key, value) = (file.node.as_bytes().to_vec(), Some(records::encode(record).unwrap()));
    RecordWrite { kind: RecordKind::Node, key, expect, value }
}

async fn stored(meta: &MetaStore, file: &NodeFile) -> (NodeRecord, u64) {
    let record = meta.record(RecordKind::Node, file.node.as_bytes()).await.unwrap().unwrap();
    (records::decode("node", &record.value).unwrap(), record.generation)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_without_an_answer_counts_when_the_start_asks_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = on_drives(4, "d", Some("e"));
    // It was registered before the call came back with "not available".
    let meta = metadata(folder.path(), &file, &registered(5, "e")).await;
    register(&meta, &mut file, "e", async |_| {}).await.unwrap();
    assert_eq!((file.incarnation, file.nonce.as_str(), file.pending.as_deref()), (5, "e", None));
    let (record, _) = stored(&meta, &file).await;
    assert_eq!((record.incarnation, record.nonce.as_str()), (5, "e"), "one start, registered once");
    meta.shutdown().await;
}

/// A leader without a majority had it in its log while this node was started again, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_of_an_earlier_start_that_commits_late_does_not_shut_the_node_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = on_drives(4, "d", Some("e"));
    file.set_pending("f");
    let meta = metadata(folder.path(), &file, &registered(4, "d")).await;
    let writes = AtomicU32::new(0);
    let write = async |on_drives: &NodeFile| {
        if writes.fetch_add(1, Ordering::Relaxed) == 0 {
            assert_eq!(on_drives.pending.as_deref(), Some("g"), "before it is registered");
            let (_, generation) = stored(&meta, on_drives).await;
            let late = write_of(on_drives, &registered(5, "e"), Expect::Generation(generation));
            meta.write_records(vec![late]).await.unwrap();
        }
    };
    register(&meta, &mut file, "g", write).await.unwrap();
    assert_eq!((file.incarnation, file.nonce.as_str(), file.pending.as_deref()), (6, "g", None));
    assert!(!file.is_pending("e") && !file.is_pending("f"), "what was on its way has its end");
    let (record, _) = stored(&meta, &file).await;
    assert!(judge(&file, &record).is_ok());
    meta.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_registers_meanwhile_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = on_drives(4, "d", Some("e"));
    let meta = metadata(folder.path(), &file, &registered(4, "d")).await;
    let write = async |on_drives: &NodeFile| {
        let (_, generation) = stored(&meta, on_drives).await;
        let other = write_of(on_drives, &registered(5, "x"), Expect::Generation(generation));
        meta.write_records(vec![other]).await.unwrap();
    };
    let refused = register(&meta, &mut file, "f", write).await;
    assert!(matches!(refused, Err(IncarnationError::DrivesOlder { registered: 5, on_drives: 4 })));
    meta.shutdown().await;
}

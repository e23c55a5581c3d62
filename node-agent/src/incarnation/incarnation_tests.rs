//! Which start is the node's own.

use grid_types::{GridId, Timestamp};

use super::{IncarnationError, judge};
use crate::identity::NodeFile;
use crate::records::NodeRecord;

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

//! The node file: comes back as written, refuses what was touched.

use grid_types::{DriveId, GridId, Timestamp};
use sys::{Disk, RealDisk};

use super::{DriveFailure, KnownDrive, NODE_FILE, NodeFile};

fn node_file() -> NodeFile {
    let drives = vec![KnownDrive { id: DriveId::from_bytes([3; 16]), path: "/srv/a".into(), failed: None }];
    NodeFile::generate(GridId::from_bytes([1; 16]), drives).expect("a key pair")
}

#[test]
fn comes_back_as_written_and_only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    assert_eq!(NodeFile::read(&disk).unwrap(), None);
    let mut file = node_file();
    file.write(&disk).unwrap();
    assert_eq!(NodeFile::read(&disk).unwrap(), Some(file.clone()));
    let mode = std::fs::metadata(folder.path().join(NODE_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    file.generation = 2;
    file.set_pending("x");
    file.set_pending("y");
    file.write(&disk).unwrap();
    assert_eq!(NodeFile::read(&disk).unwrap(), Some(file));
}

#[test]
fn nonces_on_their_way_are_kept_and_bounded() {
    let mut file = node_file();
    let names: Vec<String> = (0..=super::PENDING_BEFORE_MAX + 1).map(|number| format!("n{number}")).collect();
    for name in &names {
        file.set_pending(name);
        file.set_pending(name);
    }
    let kept: Vec<bool> = names.iter().map(|name| file.is_pending(name)).collect();
    assert!(!kept[0] && kept[1..].iter().all(|kept| *kept), "the oldest one goes: {kept:?}");
    file.confirm(7, "n3");
    assert_eq!((file.incarnation, file.nonce.as_str()), (7, "n3"));
    assert!(names.iter().all(|name| !file.is_pending(name)));
}

#[test]
fn every_flipped_byte_and_every_cut_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    node_file().write(&disk).unwrap();
    let good = disk.read(NODE_FILE).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(NodeFile::decode(&bad).is_err(), "byte {at} flipped");
        assert!(NodeFile::decode(&good[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn the_node_id_is_bound_to_the_key() {
    let (one, other) = (node_file(), node_file());
    assert_ne!(one.node, other.node);
    let mixed = NodeFile { node: other.node, ..one.clone() };
    let error = NodeFile::decode(&mixed.encode().unwrap()).expect_err("a key of another node");
    assert!(error.to_string().contains("key"), "{error}");
    assert_eq!(one.public_key().len(), 32);
}

#[test]
fn debug_output_holds_no_key() {
    let file = node_file();
    assert!(!format!("{file:?}").contains(&file.key));
}

/// As the release before this one wrote it: without `failed`.
#[test]
fn a_file_without_failures_is_read() {
    let mut file = node_file();
    let text = String::from_utf8(file.encode().unwrap()).unwrap();
    assert!(!text.contains("failed"), "{text}");
    assert_eq!(NodeFile::decode(text.as_bytes()).unwrap(), file);
    let failure = DriveFailure { at: Timestamp::from_secs(1), reason: "a sync failed".to_owned() };
    file.drives[0].failed = Some(failure);
    assert_eq!(NodeFile::decode(&file.encode().unwrap()).unwrap(), file);
}

//! What every `Disk` promises, asked of the real one, the simulated one, and one behind `MutantDisk`.

use std::io::ErrorKind;
use std::sync::Arc;

use super::{Disk, FaultDisk, MutantDisk, RealDisk, SyncSite};

/// Runs the suite on an empty disk of each kind.
fn check(suite: fn(&dyn Disk)) {
    let folder = tempfile::tempdir().unwrap();
    suite(&RealDisk::open(folder.path()).unwrap());
    suite(&FaultDisk::new(1));
    suite(&MutantDisk::new(Arc::new(FaultDisk::new(1)), None));
}

#[test]
fn bytes_are_where_they_were_written() {
    check(|disk| {
        let file = disk.create_new("a").unwrap();
        file.write_all_at(10_000, b"hello").unwrap();
        file.write_all_vectored_at(510, &[b"", b"ab", b"cd", b""]).unwrap();
        assert_eq!(file.len().unwrap(), 10_005);
        let mut buf = [9; 8];
        assert_eq!(file.read_at(508, &mut buf).unwrap(), 8);
        assert_eq!(&buf, b"\0\0abcd\0\0");
        assert_eq!(file.read_at(10_003, &mut buf).unwrap(), 2);
        assert_eq!(&buf[..2], b"lo");
        assert_eq!(file.read_at(10_005, &mut buf).unwrap(), 0);
        assert_eq!(file.read_exact_at(10_001, &mut buf).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.start_writeback(0, 10_005);
        file.sync_data("test").unwrap();
        let again = disk.open_read("a").unwrap();
        let mut buf = [0; 5];
        again.read_exact_at(10_000, &mut buf).unwrap();
        assert_eq!(&buf, b"hello");
    });
}

#[test]
fn many_slices_go_out_in_order() {
    check(|disk| {
        let file = disk.create_new("a").unwrap();
        let bytes: Vec<u8> = (0..3_000u32).map(|n| (n % 251) as u8).collect();
        let slices: Vec<&[u8]> = bytes.chunks(1).collect();
        file.write_all_vectored_at(100, &slices).unwrap();
        let mut back = vec![0; 3_000];
        file.read_exact_at(100, &mut back).unwrap();
        assert_eq!(back, bytes);
    });
}

#[test]
fn lengths_change_and_cut_bytes_come_back_as_zeros() {
    check(|disk| {
        let file = disk.create_new("a").unwrap();
        file.reserve(100_000).unwrap();
        assert_eq!(file.len().unwrap(), 0, "reserving does not change the length");
        file.write_all_at(0, &[7; 9_000]).unwrap();
        file.set_len(600).unwrap();
        file.set_len(9_000).unwrap();
        let mut back = vec![1; 9_000];
        file.read_exact_at(0, &mut back).unwrap();
        assert!(back[..600].iter().all(|b| *b == 7));
        assert!(back[600..].iter().all(|b| *b == 0));
    });
}

#[test]
fn names_follow_their_rules() {
    check(|disk| {
        assert_eq!(disk.open("a").err().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(disk.open_read("no/such").err().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(disk.create_new("no/such").err().unwrap().kind(), ErrorKind::NotFound);
        assert_eq!(disk.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.rename("a", "b").unwrap_err().kind(), ErrorKind::NotFound);
        let old = disk.create_new("a").unwrap();
        assert_eq!(disk.create_new("a").err().unwrap().kind(), ErrorKind::AlreadyExists);
        old.write_all_at(0, b"a").unwrap();
        disk.create_new("b").unwrap().write_all_at(0, b"bb").unwrap();
        disk.rename("b", "a").unwrap();
        assert_eq!(disk.read("a").unwrap(), b"bb", "a rename replaces");
        let mut byte = [0];
        old.read_exact_at(0, &mut byte).unwrap();
        assert_eq!(&byte, b"a", "an open handle keeps the replaced file");
        disk.remove("a").unwrap();
        assert!(disk.list("").unwrap().is_empty());
    });
}

#[test]
fn directories_list_what_they_hold() {
    check(|disk| {
        disk.create_dir_all("x/y").unwrap();
        disk.create_dir_all("x/y").unwrap();
        disk.create_new("x/f").unwrap().write_all_at(0, b"123").unwrap();
        let mut entries = disk.list("x").unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let seen: Vec<_> = entries.iter().map(|e| (e.name.as_str(), e.len, e.is_dir)).collect();
        assert_eq!(seen, [("f", 3, false), ("y", 0, true)]);
        assert_eq!(disk.list("z").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.list("x/f").unwrap_err().kind(), ErrorKind::NotADirectory);
        assert!(disk.open("x").is_err(), "a directory is not a file");
        disk.sync_dir("x", "test").unwrap();
        disk.sync_dir("", "test").unwrap();
        assert_eq!(disk.sync_dir("z", "test").unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn paths_do_not_leave_the_disk() {
    check(|disk| {
        disk.create_dir_all("x").unwrap();
        for path in ["../a", "/a", "x/../a", "x//a", "./a", "x/", "a\0b", ""] {
            assert_eq!(disk.create_new(path).err().unwrap().kind(), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(disk.remove(path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
            assert_eq!(disk.rename("b", path).unwrap_err().kind(), ErrorKind::InvalidInput, "{path:?}");
        }
    });
}

#[test]
fn small_files_are_replaced_whole() {
    check(|disk| {
        disk.write_atomic("s", b"one", "test").unwrap();
        disk.create_new("s.new").unwrap().write_all_at(0, b"left by a crash").unwrap();
        disk.write_atomic("s", b"two", "test").unwrap();
        assert_eq!(disk.read("s").unwrap(), b"two");
        assert_eq!(disk.list("").unwrap().len(), 1);
    });
}

#[test]
fn room_is_plausible() {
    check(|disk| {
        let space = disk.space().unwrap();
        assert!(space.free > 0 && space.free <= space.total, "{space:?}");
        assert!(!disk.file_system().unwrap().is_empty());
    });
}

#[test]
fn two_folders_on_one_file_system_are_seen() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (RealDisk::open(a.path()).unwrap(), RealDisk::open(b.path()).unwrap());
    assert_eq!(a.file_system().unwrap(), b.file_system().unwrap());
    assert_ne!(FaultDisk::new(1).file_system().unwrap(), FaultDisk::new(1).file_system().unwrap());
}

#[test]
fn a_folder_that_is_moved_away_is_not_replaced_by_its_empty_twin() {
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("mount");
    assert!(RealDisk::open(&mount).is_err(), "opening does not create");
    std::fs::create_dir(&mount).unwrap();
    let disk = RealDisk::open(&mount).unwrap();
    disk.create_new("a").unwrap();
    assert_eq!(disk.local_path("a").unwrap(), mount.canonicalize().unwrap().join("a"));
    std::fs::rename(&mount, folder.path().join("gone")).unwrap();
    std::fs::create_dir(&mount).unwrap();
    disk.create_new("b").unwrap();
    assert_eq!(std::fs::read_dir(&mount).unwrap().count(), 0, "nothing lands in the new folder");
    assert!(folder.path().join("gone/b").exists());
    assert_eq!(disk.local_path("a"), None, "SQLite must not be led into the new folder");
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("target"), b"x").unwrap();
    std::os::unix::fs::symlink("target", folder.path().join("link")).unwrap();
    assert!(RealDisk::open(folder.path()).unwrap().open("link").is_err());
}

#[test]
fn a_mutant_lists_its_syncs_and_skips_one() {
    let fault = FaultDisk::new(3);
    let count = |skipped| {
        let before = fault.syncs();
        let mutant = MutantDisk::new(Arc::new(fault.clone()), skipped);
        mutant.write_atomic("s", b"x", "s").unwrap();
        let sites: Vec<_> = mutant.sites().into_iter().collect();
        assert_eq!(sites, [SyncSite::File("s"), SyncSite::Dir("s")]);
        fault.syncs() - before
    };
    assert_eq!(count(None), 2);
    assert_eq!(count(Some(SyncSite::File("s"))), 1);
    assert_eq!(count(Some(SyncSite::Dir("s"))), 1);
    assert_eq!(count(Some(SyncSite::Dir("other"))), 2);
}

use std::io::Cursor;
use std::process::Command;

use crate::Window;
use crate::fat::{Volume, format};

const BYTES: u64 = 40 << 20;

fn made(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut disk = Cursor::new(vec![0u8; BYTES as usize]);
    format(&mut disk, BYTES, "SHOAL", 7).expect("formatted");
    let volume = Volume::open(&mut disk).expect("opened");
    for (path, content) in files {
        volume.write(path, *content).expect("written");
    }
    volume.finish().expect("finished");
    disk.into_inner()
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let files: [(&str, &[u8]); 3] =
        [("boot.scr", b"script"), ("one.dtbo", b"x"), ("A long name.txt", &[9; 100_000])];
    let first = made(&files);
    assert_eq!(first, made(&files));
    let volume = Volume::open(Cursor::new(first)).expect("opened");
    for (path, content) in files {
        assert_eq!(volume.read(path).expect("read").as_deref(), Some(content), "{path}");
    }
    assert_eq!(volume.read("absent").expect("read"), None);
    assert_eq!(volume.names().expect("names"), ["boot.scr", "one.dtbo", "A long name.txt"]);
}

#[test]
fn a_wiped_file_leaves_no_byte_of_it() {
    let secret = b"shoal-ticket-that-nobody-may-find";
    let disk = made(&[("ticket.txt", secret)]);
    let mut cursor = Cursor::new(disk);
    let volume = Volume::open(&mut cursor).expect("opened");
    assert!(volume.wipe("ticket.txt").expect("wiped"));
    assert!(!volume.wipe("ticket.txt").expect("nothing to wipe"));
    volume.finish().expect("finished");
    let disk = cursor.into_inner();
    assert!(!disk.windows(secret.len()).any(|bytes| bytes == secret));
}

#[test]
fn a_full_volume_says_so_and_a_window_keeps_to_its_bytes() {
    let mut disk = Cursor::new(vec![0u8; BYTES as usize + 2048]);
    disk.get_mut()[..1024].fill(0xaa);
    let end = BYTES as usize + 1024;
    disk.get_mut()[end..].fill(0xaa);
    format(&mut Window::new(&mut disk, 1024, BYTES), BYTES, "SHOAL", 7).expect("formatted");
    let volume = Volume::open(Window::new(&mut disk, 1024, BYTES)).expect("opened");
    let error = volume.write("large", &vec![1u8; BYTES as usize][..]).expect_err("more than fits");
    assert!(error.to_string().contains("space"), "{error}");
    volume.finish().expect("finished");
    assert!(disk.get_ref()[..1024].iter().chain(&disk.get_ref()[end..]).all(|&byte| byte == 0xaa));
}

#[test]
fn files_stand_in_the_top_folder() {
    let mut disk = Cursor::new(made(&[]));
    let volume = Volume::open(&mut disk).expect("opened");
    for name in ["", "a/b", "/a"] {
        let error = volume.write(name, &b"text"[..]).expect_err(name);
        assert!(error.to_string().contains("top folder"), "{error}");
    }
}

/// Another implementation finds nothing to mend.
#[test]
fn fsck_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("volume");
    std::fs::write(&path, made(&[("A long name.txt", b"text"), ("kernel", &[1; 3_000_000])]))
        .expect("written");
    let output = ["fsck.vfat", "/usr/sbin/fsck.vfat", "/sbin/fsck.vfat"]
        .iter()
        .find_map(|program| Command::new(program).arg("-n").arg(&path).output().ok())
        .expect("fsck.vfat: install the package dosfstools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

use std::io::Cursor;
use std::path::Path;
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
fn an_overwritten_text_leaves_no_byte_of_the_old_one() {
    let secret = b"the-password-of-a-network".repeat(100);
    let mut cursor = Cursor::new(made(&[("network-config", &secret)]));
    let volume = Volume::open(&mut cursor).expect("opened");
    volume.overwrite("network-config", "version: 2\n").expect("overwritten");
    let read = volume.read("network-config").expect("read").expect("there");
    assert_eq!(read.len(), secret.len());
    assert_eq!(String::from_utf8(read).expect("text").trim_end(), "version: 2");
    let longer = "x".repeat(secret.len() + 1);
    volume.overwrite("network-config", &longer).expect("overwritten");
    assert_eq!(volume.read("network-config").expect("read").as_deref(), Some(longer.as_bytes()));
    assert!(volume.overwrite("user-data", "").is_err(), "it overwrites what is there");
    volume.finish().expect("finished");
    let disk = cursor.into_inner();
    assert!(!disk.windows(25).any(|bytes| bytes == b"the-password-of-a-network"));
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
fn folders_have_short_names_and_are_made_once() {
    let mut disk = Cursor::new(made(&[("file", b"text")]));
    let volume = Volume::open(&mut disk).expect("opened");
    for (path, expected) in [
        ("", "has a name"),
        ("EFI/", "has a name"),
        ("/a", "letters"),
        ("a//b", "letters"),
        ("../a", "letters"),
        ("longer-than-eight/a", "letters"),
        ("file/a", ""),
    ] {
        let error = volume.write(path, &b"text"[..]).expect_err(path);
        assert!(error.to_string().contains(expected), "{path}: {error}");
    }
    for path in ["EFI/one", "efi/two", "EFI/BOOT/three"] {
        volume.write(path, path.as_bytes()).expect("written");
    }
    assert_eq!(volume.names().expect("names"), ["file", "EFI"]);
    assert_eq!(volume.read("EFI/two").expect("read").as_deref(), Some(&b"efi/two"[..]));
    assert!(volume.wipe("EFI/BOOT/three").expect("wiped"));
    assert_eq!(volume.read("EFI/BOOT/three").expect("read"), None);
}

/// Files in folders, one folder with more entries than a cluster holds, and names of both kinds.
fn in_folders() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = (0..40)
        .map(|number| (format!("overlays/a long name {number}.dtbo"), vec![number as u8; 700]))
        .collect();
    files.push(("EFI/BOOT/BOOTX64.EFI".to_owned(), vec![7; 100_000]));
    files.push(("EFI/debian/grub.cfg".to_owned(), b"echo hello\n".to_vec()));
    // More names in the top folder than one cluster holds stand before the last folder.
    files.extend((0..20).map(|number| (format!("file {number}.txt"), b"text".to_vec())));
    files.push(("late/er/still".to_owned(), b"deep".to_vec()));
    files
}

#[test]
fn files_in_folders_give_the_same_bytes_and_satisfy_fsck_and_mtools() {
    let files = in_folders();
    let borrowed: Vec<(&str, &[u8])> =
        files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    let disk = made(&borrowed);
    assert!(disk == made(&borrowed), "the same files gave other bytes");
    let volume = Volume::open(Cursor::new(disk.clone())).expect("opened");
    for (path, content) in &files {
        assert!(volume.read(path).expect("read").as_ref() == Some(content), "{path}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("volume");
    std::fs::write(&path, disk).expect("written");
    fsck(&path);
    for (name, content) in &files {
        let output = Command::new("mtype").arg("-i").arg(&path).arg(format!("::/{name}")).output();
        let output = output.expect("mtype: install the package mtools");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(&output.stdout == content, "{name}");
    }
}

/// Another implementation finds nothing to mend.
#[test]
fn fsck_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("volume");
    std::fs::write(&path, made(&[("A long name.txt", b"text"), ("kernel", &[1; 3_000_000])]))
        .expect("written");
    fsck(&path);
}

fn fsck(path: &Path) {
    let output = ["fsck.vfat", "/usr/sbin/fsck.vfat", "/sbin/fsck.vfat"]
        .iter()
        .find_map(|program| Command::new(program).arg("-n").arg(path).output().ok())
        .expect("fsck.vfat: install the package dosfstools");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

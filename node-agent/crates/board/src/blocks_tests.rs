use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use disk_image::card::{IMAGE_BYTES, partitions};
use disk_image::table::Table;

use crate::blocks::{disks, ext, is_blank, is_card};

#[test]
fn disks_and_their_parts_are_listed_and_ram_is_no_disk() {
    let sys = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| {
        let path = sys.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    file("mmcblk0/size", "4096\n");
    for (number, start) in [(2, "2048\n"), (1, "1024\n")] {
        file(&format!("mmcblk0/mmcblk0p{number}/partition"), "1\n");
        file(&format!("mmcblk0/mmcblk0p{number}/start"), start);
        file(&format!("mmcblk0/mmcblk0p{number}/size"), "1024\n");
    }
    file("mmcblk0/queue/size", "1\n");
    file("ram0/size", "4096\n");
    file("sda/size", "0\n"); // a reader without a card
    let found = disks(sys.path());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].whole.path, Path::new("/dev/mmcblk0"));
    assert_eq!(found[0].whole.bytes, 4_096 * 512);
    let parts: Vec<_> = found[0].parts.iter().map(|part| (part.path.to_str(), part.at)).collect();
    assert_eq!(parts, [(Some("/dev/mmcblk0p1"), 1_024 * 512), (Some("/dev/mmcblk0p2"), 2_048 * 512)]);
}

#[test]
fn a_flashed_card_is_known_by_its_table() {
    let mut card = Cursor::new(vec![0u8; 4_096]);
    assert!(!is_card(&mut card));
    let mut table = Table::new(1);
    for (index, partition) in partitions().into_iter().enumerate() {
        table.add(index, partition).expect("added");
    }
    table.write(&mut card).expect("written");
    assert!(is_card(&mut card));
    let mut other = Table::new(1);
    let [boot, slot, mut last] = partitions();
    last.at = IMAGE_BYTES;
    for (index, partition) in [boot, slot, last].into_iter().enumerate() {
        other.add(index, partition).expect("added");
    }
    other.write(&mut card).expect("written");
    assert!(!is_card(&mut card));
}

#[test]
fn the_label_that_mke2fs_wrote_is_read() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(4 << 20).expect("sized");
    assert_eq!(ext(&mut file).expect("read"), None);
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let done = ["mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"].iter().find_map(|program| {
        let mut command = Command::new(program);
        command.args(["-q", "-F", "-t", "ext4", "-L", "shoal-data", "-U", id]).arg(file.path()).status().ok()
    });
    assert!(done.expect("mke2fs: install the package e2fsprogs").success());
    let found = ext(&mut file).expect("read").expect("a file system");
    assert_eq!((found.label.as_str(), found.id), ("shoal-data", id.replace('-', "")));
    assert!(!is_blank(&mut file, 4 << 20).expect("read"));
}

#[test]
fn a_byte_at_either_end_is_not_blank() {
    const BYTES: u64 = 3 << 20;
    let mut disk = Cursor::new(vec![0u8; BYTES as usize]);
    assert!(is_blank(&mut disk, BYTES).expect("read"));
    for at in [0, 511, BYTES - 1] {
        disk.seek(SeekFrom::Start(at)).expect("sought");
        disk.write_all(&[1]).expect("written");
        assert!(!is_blank(&mut disk, BYTES).expect("read"), "{at}");
        disk.get_mut()[at as usize] = 0;
    }
    // A device that is shorter than it says is not believed.
    assert!(!is_blank(&mut disk, BYTES + 512).expect("read"));
}

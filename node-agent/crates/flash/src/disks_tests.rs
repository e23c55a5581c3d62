use std::collections::BTreeSet;
use std::io::Cursor;

use disk_image::card::partitions;
use disk_image::table::Table;

use crate::disks::{Kernel, contents};

/// Files as the kernel has them below /sys/block.
fn kernel(files: &[(&str, &str)]) -> (tempfile::TempDir, Kernel) {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let kernel = Kernel { blocks: folder.path().to_owned(), mounted: Vec::new(), swaps: BTreeSet::new() };
    (folder, kernel)
}

const MACHINE: [(&str, &str); 14] = [
    ("nvme9n9/size", "1000000\n"),
    ("nvme9n9/dev", "259:0\n"),
    ("nvme9n9/nvme9n9p1/partition", "1\n"),
    ("nvme9n9/nvme9n9p1/dev", "259:1\n"),
    ("mmcblk9/size", "62333952\n"),
    ("mmcblk9/device/type", "SD\n"),
    ("mmcblk9/device/name", "SC32G\n"),
    ("mmcblk9/device/serial", "0x1234abcd\n"),
    ("mmcblk9/mmcblk9p1/partition", "1\n"),
    ("mmcblk9/mmcblk9p1/dev", "179:1\n"),
    ("sdx/size", "0\n"), // a reader without a card
    ("loop9/size", "100\n"),
    ("dm-9/size", "100\n"),
    ("zram9/size", "100\n"),
];

#[test]
fn cards_come_first_and_only_disks_are_listed() {
    let (_folder, kernel) = kernel(&MACHINE);
    let disks = kernel.disks().expect("listed");
    let names: Vec<_> =
        disks.iter().map(|disk| (disk.path.to_str().expect("text"), disk.removable)).collect();
    assert_eq!(names, [("/dev/mmcblk9", true), ("/dev/nvme9n9", false)]);
    assert_eq!((disks[0].model.as_str(), disks[0].serial.as_str()), ("SC32G", "0x1234abcd"));
    assert_eq!((disks[0].bytes, &disks[0].in_use), (62_333_952 * 512, &None));
    assert_eq!(disks[1].serial, "nvme9n9");
}

#[test]
fn disks_in_use_say_by_what() {
    let (_folder, mut kernel) = kernel(&MACHINE);
    kernel.mounted =
        vec![("259:1".to_owned(), "/".to_owned()), ("179:1".to_owned(), "/media/card".to_owned())];
    let why = |kernel: &Kernel| -> Vec<_> {
        kernel.disks().expect("listed").into_iter().map(|disk| disk.in_use.unwrap_or_default()).collect()
    };
    assert_eq!(
        why(&kernel),
        ["/dev/mmcblk9p1 is mounted at /media/card: unmount it first", "this system runs from it"]
    );
    kernel.mounted.clear();
    kernel.swaps.insert("/dev/nvme9n9p1".into());
    assert_eq!(why(&kernel), ["", "this system swaps to /dev/nvme9n9p1"]);
    kernel.swaps.clear();
    std::fs::create_dir_all(kernel.blocks.join("nvme9n9/nvme9n9p1/holders/md0")).expect("made");
    assert_eq!(why(&kernel), ["", "/dev/nvme9n9p1 is part of md0"]);
}

#[test]
fn what_would_be_lost_is_said() {
    let mut disk = Cursor::new(vec![0; 4 << 20]);
    assert_eq!(contents(&mut disk, 4 << 20).expect("read"), None);
    disk.get_mut()[(4 << 20) - 1] = 1;
    assert_eq!(contents(&mut disk, 4 << 20).expect("read").as_deref(), Some("data without a table"));
    let mut table = Table::new(1);
    table.add(0, partitions()[0]).expect("added");
    table.write(&mut disk).expect("written");
    assert_eq!(contents(&mut disk, 4 << 20).expect("read").as_deref(), Some("a table with 1 partition"));
    disk.get_mut()[446 + 4] = 0xee;
    assert_eq!(contents(&mut disk, 4 << 20).expect("read").as_deref(), Some("a GPT"));
}

#[test]
fn a_file_is_a_disk_and_a_folder_is_none() {
    let (folder, kernel) = kernel(&[("card.img", "")]);
    let path = folder.path().join("card.img");
    std::fs::write(&path, [0; 4_096]).expect("written");
    let disk = kernel.at(&path).expect("found");
    assert_eq!((disk.serial.as_str(), disk.bytes, disk.contents), ("card.img", 4_096, None));
    let error = kernel.at(folder.path()).expect_err("a folder");
    assert!(error.to_string().contains("is no disk"), "{error}");
}

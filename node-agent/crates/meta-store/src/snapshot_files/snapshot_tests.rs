//! Snapshots survive what they promise to survive.

use std::sync::Arc;

use bytes::Bytes;
use grid_types::{DriveId, ShardId};
use sys::{Disk, FaultDisk};

use super::format::{SNAPSHOT_DIR, file_path};
use super::{CHUNK_BYTES_MAX, SnapshotFiles};
use crate::home::HomeDrive;

const GROUP: ShardId = ShardId(3);

fn drive(number: u8, disk: &FaultDisk) -> HomeDrive {
    HomeDrive { id: DriveId::from_bytes([number; 16]), disk: Arc::new(disk.clone()) }
}

fn drives(disks: &[FaultDisk]) -> Vec<HomeDrive> {
    disks.iter().zip(1..).map(|(disk, number)| drive(number, disk)).collect()
}

fn body(index: u64) -> Vec<Vec<u8>> {
    (0..4u8).map(|chunk| vec![chunk ^ u8::try_from(index).unwrap(); 700]).collect()
}

fn write(files: &SnapshotFiles, index: u64) -> Result<(), crate::MetaError> {
    let mut writer = files.begin(GROUP, index, Bytes::from(format!("id {index}")))?;
    for chunk in body(index) {
        writer.write(&chunk)?;
    }
    assert_eq!(writer.len(), 2_800);
    writer.finish().map(drop)
}

fn read(files: &SnapshotFiles, index: u64) -> Vec<Vec<u8>> {
    let info = files.list(GROUP).into_iter().find(|info| info.index == index).unwrap();
    assert_eq!(info.log_id, Bytes::from(format!("id {index}")));
    let mut reader = files.read(&info).unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        chunks.push(chunk.to_vec());
    }
    chunks
}

fn indexes(files: &SnapshotFiles) -> Vec<u64> {
    files.list(GROUP).iter().map(|info| info.index).collect()
}

#[test]
fn the_newest_two_are_kept() {
    let disks = [FaultDisk::new(1), FaultDisk::new(2)];
    let files = SnapshotFiles::open(drives(&disks)).unwrap();
    assert_eq!(files.newest(GROUP).unwrap(), None);
    for index in [5, 9, 20] {
        write(&files, index).unwrap();
    }
    assert_eq!(indexes(&files), [20, 9]);
    assert_eq!(files.newest(GROUP).unwrap().unwrap().index, 20);
    assert_eq!(read(&files, 9), body(9));
    assert_eq!(files.groups(), [GROUP]);
    for disk in &disks {
        assert_eq!(disk.list(SNAPSHOT_DIR).unwrap().len(), 2);
    }
    files.remove_group(GROUP).unwrap();
    assert!(indexes(&files).is_empty() && files.groups().is_empty());
}

#[test]
fn large_pieces_are_cut_and_come_back() {
    let files = SnapshotFiles::open(drives(&[FaultDisk::new(1)])).unwrap();
    let bytes: Vec<u8> = (0..CHUNK_BYTES_MAX + 1_000).map(|n| (n % 253) as u8).collect();
    let mut writer = files.begin(GROUP, 1, Bytes::new()).unwrap();
    writer.write(&bytes).unwrap();
    let info = writer.finish().unwrap();
    let mut reader = files.read(&info).unwrap();
    let mut back = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        back.extend_from_slice(&chunk);
    }
    assert!(back == bytes);
}

#[test]
fn an_abandoned_one_leaves_nothing() {
    let disk = FaultDisk::new(1);
    let files = SnapshotFiles::open(drives(std::slice::from_ref(&disk))).unwrap();
    let mut writer = files.begin(GROUP, 1, Bytes::new()).unwrap();
    writer.write(b"half").unwrap();
    drop(writer);
    assert!(disk.list(SNAPSHOT_DIR).unwrap().is_empty());
}

#[test]
fn a_full_disk_fails_the_snapshot_and_leaves_the_old_one() {
    let disks = [FaultDisk::new(1), FaultDisk::new(2)];
    let files = SnapshotFiles::open(drives(&disks)).unwrap();
    write(&files, 1).unwrap();
    disks[1].set_capacity(5_000);
    let error = write(&files, 2).unwrap_err();
    assert_eq!(error.code(), grid_types::ErrorCode::StorageFull);
    assert_eq!(indexes(&files), [1]);
    disks[1].set_capacity(50_000);
    write(&files, 2).unwrap();
    assert_eq!(read(&files, 2), body(2));
}

#[test]
fn flipped_bits_are_read_around() {
    let disks = [FaultDisk::new(1), FaultDisk::new(2)];
    let files = SnapshotFiles::open(drives(&disks)).unwrap();
    write(&files, 1).unwrap();
    write(&files, 2).unwrap();
    let path = file_path(GROUP, 2);
    disks[0].corrupt(&path, 200, 0x40).unwrap();
    disks[1].corrupt(&path, 2_000, 0x01).unwrap();
    assert_eq!(read(&files, 2), body(2), "put together from both");
    disks[0].corrupt(&path, 2_000, 0x01).unwrap();
    assert_eq!(files.newest(GROUP).unwrap().unwrap().index, 1, "the older one is whole");
    disks[0].pull();
    disks[1].corrupt(&file_path(GROUP, 1), 2_000, 0x01).unwrap();
    assert!(files.newest(GROUP).is_err());
}

#[test]
fn every_flipped_bit_is_found() {
    let disk = FaultDisk::new(1);
    let files = SnapshotFiles::open(drives(std::slice::from_ref(&disk))).unwrap();
    write(&files, 1).unwrap();
    let path = file_path(GROUP, 1);
    for offset in 0..disk.open(&path).unwrap().len().unwrap() {
        disk.corrupt(&path, offset, 0x08).unwrap();
        assert!(files.newest(GROUP).is_err(), "byte {offset}");
        disk.corrupt(&path, offset, 0x08).unwrap();
    }
    assert!(files.newest(GROUP).unwrap().is_some());
}

#[test]
fn a_cut_off_file_is_found() {
    let disk = FaultDisk::new(1);
    let files = SnapshotFiles::open(drives(std::slice::from_ref(&disk))).unwrap();
    write(&files, 1).unwrap();
    let file = disk.open(&file_path(GROUP, 1)).unwrap();
    for len in (0..file.len().unwrap()).rev().step_by(97) {
        file.set_len(len).unwrap();
        assert!(files.newest(GROUP).is_err(), "cut at {len}");
    }
}

#[test]
fn newcomers_get_what_is_there_and_what_was_under_way() {
    let disks = [FaultDisk::new(1), FaultDisk::new(2)];
    let files = SnapshotFiles::open(vec![drive(1, &disks[0])]).unwrap();
    write(&files, 1).unwrap();
    let mut writer = files.begin(GROUP, 2, Bytes::from_static(b"id 2")).unwrap();
    for chunk in body(2) {
        writer.write(&chunk).unwrap();
    }
    files.set_home(drives(&disks)).unwrap();
    writer.finish().unwrap();
    write(&files, 3).unwrap();
    disks[0].pull();
    assert_eq!(indexes(&files), [3, 2]);
    assert_eq!(read(&files, 2), body(2));
    assert_eq!(read(&files, 3), body(3));
}

#[test]
fn a_copy_that_one_drive_lacks_is_made_when_they_are_opened() {
    let disks = [FaultDisk::new(1), FaultDisk::new(2)];
    let files = SnapshotFiles::open(drives(&disks)).unwrap();
    write(&files, 1).unwrap();
    write(&files, 2).unwrap();
    disks[1].remove(&file_path(GROUP, 2)).unwrap();
    let files = SnapshotFiles::open(drives(&disks)).unwrap();
    disks[0].pull();
    assert_eq!(read(&files, 2), body(2));
}

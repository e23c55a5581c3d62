use super::*;
use crate::label::{LABEL_FILE, create, read, replace};

#[test]
fn a_label_is_made_once_and_read_back() {
    let disk = FaultDisk::new(1);
    assert_eq!(read(&disk).unwrap(), None);
    disk.create_dir_all("lost+found").unwrap();
    create(&disk, &test_label(), false).unwrap();
    assert_eq!(read(&disk).unwrap(), Some(test_label()));
    let again = create(&disk, &test_label(), true).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
}

#[test]
fn a_directory_in_use_is_not_made_a_drive_unless_allowed() {
    let disk = FaultDisk::new(2);
    disk.create_dir_all("holiday-photos").unwrap();
    let refused = create(&disk, &test_label(), false).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(read(&disk).unwrap(), None);
    create(&disk, &test_label(), true).unwrap();
    assert_eq!(read(&disk).unwrap(), Some(test_label()));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_label_is_noticed() {
    let sound = FaultDisk::new(3);
    create(&sound, &test_label(), false).unwrap();
    let bytes = sound.read(LABEL_FILE).unwrap();
    let with = |bytes: &[u8]| {
        let disk = FaultDisk::new(4);
        disk.write_atomic(LABEL_FILE, bytes, "test").unwrap();
        read(&disk)
    };
    assert_eq!(with(&bytes).unwrap(), Some(test_label()));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(with(&flipped).is_err(), "bit {bit} of byte {at}");
        }
        assert!(with(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(with(&[&bytes[..], b"x"].concat()).is_err());
    assert!(with(&vec![b'a'; 100_000]).is_err());
}

#[test]
fn replacing_needs_the_label_that_is_there() {
    let disk = FaultDisk::new(5);
    create(&disk, &test_label(), false).unwrap();
    let moved = DriveLabel { node: NodeId::from_bytes([8; 16]), ..test_label() };
    let written = replace(&disk, &test_label(), &moved).unwrap();
    assert_eq!(written.generation, 2);
    assert_eq!(read(&disk).unwrap(), Some(written));
    assert!(replace(&disk, &test_label(), &moved).is_err(), "compared with the label of before");
}

#[test]
fn a_drive_without_a_sound_label_does_not_open() {
    let disk = FaultDisk::new(6);
    let error = open_with(Arc::new(disk.clone()), config()).err().expect("no label");
    assert!(matches!(error, ChunkError::OutOfService { .. }), "{error}");
    assert!(disk.list("").unwrap().is_empty(), "nothing was made there");
    disk.write_atomic(LABEL_FILE, b"shoal-drive 1\n", "test").unwrap();
    let error = open_with(Arc::new(disk.clone()), config()).err().expect("a damaged label");
    assert!(matches!(error, ChunkError::Io { .. }), "{error}");
}

//! The files that a rebuild begins with.

use super::bag::{ROOT_BAG_FILE, RootBag};
use super::list::{BACKUP_LIST_FILE, BackupList};

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let bag = RootBag { sequence: 7, ..Default::default() };
    let good = ROOT_BAG_FILE.encode(&bag);
    assert_eq!(ROOT_BAG_FILE.decode::<RootBag>(&good), Ok(bag));
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 0x40;
        assert!(ROOT_BAG_FILE.decode::<RootBag>(&bad).is_err(), "byte {byte}");
        assert!(ROOT_BAG_FILE.decode::<RootBag>(&good[..byte]).is_err(), "{byte} bytes");
    }
    assert!(ROOT_BAG_FILE.decode::<RootBag>(&[good.as_slice(), b"x"].concat()).is_err());
    assert!(BACKUP_LIST_FILE.decode::<BackupList>(&good).is_err(), "another kind of file");
}

#[test]
fn the_files_of_the_first_release_still_decode() {
    let payload = [7, 0, 0];
    let mut bytes = b"SHOALBAG\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x03".to_vec();
    bytes.extend(payload);
    bytes.extend(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref().to_vec());
    let expect = RootBag { sequence: 7, ..Default::default() };
    assert_eq!(ROOT_BAG_FILE.decode::<RootBag>(&bytes), Ok(expect));
}

//! Which metadata a drive holds. Metadata that was made anew by order (from a backup, from the drives) has a higher generation
//! than any before it: members with older metadata step aside, and nothing of theirs reaches the new.
//!
//! `meta/generation` on each drive of the home: version (1 byte), generation (8 bytes, big endian), CRC-32C of these 9 (little
//! endian). Absent: 0, as the metadata of a grid that was never restored. Written before the log is made.
//!
//! Invariants: a home works with the drives of its newest generation alone; nodes of two generations answer each other nothing
//! but their generations.

use std::io;

use crate::home::HomeDrive;

const FOLDER: &str = "meta";
const FILE: &str = "meta/generation";
const VERSION: u8 = 1;
const FILE_BYTES: usize = 13;
/// Old metadata that can lie beside the new one before somebody must look.
const SET_ASIDE_MAX: u32 = 100;

fn encode(generation: u64) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&generation.to_be_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; FILE_BYTES] = bytes.try_into().ok()?;
    let (says, crc) = bytes.split_at(FILE_BYTES - 4);
    let good = crc32c::crc32c(says).to_le_bytes() == crc && says[0] == VERSION;
    good.then(|| u64::from_be_bytes(says[1..].try_into().expect("eight bytes"))) // 13 - 4 - 1
}

fn of(drive: &HomeDrive) -> io::Result<u64> {
    match drive.disk.read(FILE) {
        Ok(bytes) => decode(&bytes).ok_or_else(|| {
            let damaged = format!("{FILE} of drive {} is damaged, or of a newer release", drive.id);
            io::Error::new(io::ErrorKind::InvalidData, damaged)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// The newest one on these drives; one that cannot be read counts if no other can.
pub(crate) fn newest(drives: &[HomeDrive]) -> io::Result<u64> {
    let (mut newest, mut failed) = (None, None);
    for drive in drives {
        match of(drive) {
            Ok(generation) => newest = newest.max(Some(generation)),
            Err(error) => failed = Some(error),
        }
    }
    match (newest, failed) {
        (None, Some(error)) => Err(error),
        (newest, _) => Ok(newest.unwrap_or(0)),
    }
}

/// Says on each drive which metadata is there.
pub(crate) fn write(drives: &[HomeDrive], generation: u64) -> io::Result<()> {
    for drive in drives.iter().filter(|drive| of(drive).ok() != Some(generation)) {
        drive.disk.create_dir_all(FOLDER)?;
        drive.disk.write_atomic(FILE, &encode(generation), "metadata generation")?;
    }
    Ok(())
}

/// Where a drive that was away brings older metadata, that steps aside. The generation of the rest.
pub(crate) fn only_newest(drives: &[HomeDrive]) -> io::Result<u64> {
    let newest = newest(drives)?;
    for drive in drives.iter().filter(|drive| of(drive).is_ok_and(|generation| generation < newest)) {
        if let Some(to) = set_aside(drive)? {
            tracing::warn!(drive = %drive.id, to, newest, "a drive brought metadata of an older generation: it was set aside");
        }
    }
    for drive in drives {
        if let Err(error) = write(std::slice::from_ref(drive), newest) {
            tracing::warn!(drive = %drive.id, %error, "a drive does not take the generation of the metadata");
        }
    }
    Ok(newest)
}

/// Renames what is there to the first free `meta-set-aside-N`; its new name.
pub(crate) fn set_aside(drive: &HomeDrive) -> io::Result<Option<String>> {
    let entries = drive.disk.list("")?;
    let there = |name: &str| entries.iter().any(|entry| entry.name == name);
    if !there(FOLDER) {
        return Ok(None);
    }
    let free = (1..=SET_ASIDE_MAX).map(|n| format!("{FOLDER}-set-aside-{n}")).find(|n| !there(n));
    let to =
        free.ok_or_else(|| io::Error::other("too much old metadata was set aside: remove meta-set-aside-*"))?;
    drive.disk.rename(FOLDER, &to)?;
    drive.disk.sync_dir("", "metadata set aside")?;
    Ok(Some(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_from_absence() {
        let bytes = encode(7);
        assert_eq!((bytes.len(), decode(&bytes)), (FILE_BYTES, Some(7)));
        for at in 0..FILE_BYTES {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {at}");
        }
        assert_eq!(decode(&bytes[1..]), None);
    }
}

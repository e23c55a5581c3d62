//! Folders of FAT32 volumes, as checkers and firmware want them.
//!
//! A new folder begins with the entries `.` and `..`, both without long names, and `..` of a folder in the top one names
//! cluster 0 (Microsoft, "FAT: General Overview of On-Disk Format" 1.03, "FAT Directory Structure"). The library gives both
//! long names and names the top folder's real cluster, which fsck takes for damage. So the first entries of a folder that the
//! library has just made are written anew here.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// A folder of this name has the same short name in capitals, by which it is found here.
pub const FOLDER_NAME_LETTERS_MAX: usize = 8;
/// The specification's limit: 65,536 entries of 32 bytes. A chain that goes on is a circle.
const FOLDER_BYTES_MAX: u64 = 2 << 20;

const ENTRY_BYTES: usize = 32;
const NAME_BYTES: usize = 11;
const ATTRIBUTES_AT: usize = 11;
const FOLDER: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;
const CLUSTER_HIGH_AT: usize = 20;
const CLUSTER_LOW_AT: usize = 26;
/// The library's first entries: a long name and a short one, twice.
const MADE_ENTRIES: usize = 4;
/// Entries of FAT32 have 28 bits; from here on they say "the end".
const CLUSTER_BITS: u32 = 0x0fff_ffff;
const CLUSTER_END: u32 = 0x0fff_fff8;
/// The first cluster that holds data.
const CLUSTER_FIRST: u32 = 2;

/// May a folder be called so?
#[must_use]
pub fn fits(name: &str) -> bool {
    (1..=FOLDER_NAME_LETTERS_MAX).contains(&name.len())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-')
}

/// Mends the folder at `path` (names from the top one down) that the library has just made.
pub fn mend<T: Read + Write + Seek>(disk: &mut T, path: &[&str]) -> io::Result<()> {
    let shape = Shape::read(disk)?;
    let mut above = shape.top;
    let mut cluster = shape.top;
    for name in path {
        above = cluster;
        cluster = shape.find(disk, above, name)?;
    }
    let at = shape.at(cluster)?;
    let mut entries = [[0u8; ENTRY_BYTES]; MADE_ENTRIES];
    disk.seek(SeekFrom::Start(at))?;
    for entry in &mut entries {
        disk.read_exact(entry)?;
    }
    let [_, mut own, _, mut up] = entries;
    if own[..NAME_BYTES] != short_name(".") || up[..NAME_BYTES] != short_name("..") {
        return Err(io::Error::other(format!(
            "the folder {} begins otherwise than was expected",
            path.join("/")
        )));
    }
    set_cluster(&mut own, cluster);
    set_cluster(&mut up, if above == shape.top { 0 } else { above });
    let free = [0u8; ENTRY_BYTES];
    disk.seek(SeekFrom::Start(at))?;
    for entry in [own, up, free, free] {
        disk.write_all(&entry)?;
    }
    Ok(())
}

/// Where things lie on a volume.
struct Shape {
    cluster_bytes: u64,
    table_at: u64,
    data_at: u64,
    top: u32,
}

impl Shape {
    fn read<T: Read + Seek>(disk: &mut T) -> io::Result<Self> {
        let mut sector = [0u8; 512];
        disk.seek(SeekFrom::Start(0))?;
        disk.read_exact(&mut sector)?;
        let short = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let (sector_bytes, sectors_per_cluster, reserved, tables) =
            (short(11), u64::from(sector[13]), short(14), u64::from(sector[16]));
        let table_sectors = u64::from(long_at(&sector, 36));
        if short(22) != 0 || sector_bytes == 0 || sectors_per_cluster == 0 || table_sectors == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "folders are made on FAT32 alone"));
        }
        Ok(Self {
            cluster_bytes: sector_bytes * sectors_per_cluster,
            table_at: sector_bytes * reserved,
            data_at: sector_bytes * (reserved + tables * table_sectors),
            top: long_at(&sector, 44),
        })
    }

    fn at(&self, cluster: u32) -> io::Result<u64> {
        let number = cluster.checked_sub(CLUSTER_FIRST).ok_or_else(|| damaged("a folder has no cluster"))?;
        Ok(self.data_at + u64::from(number) * self.cluster_bytes)
    }

    /// The first cluster of the folder `name` in the one that begins with `cluster`.
    fn find<T: Read + Seek>(&self, disk: &mut T, mut cluster: u32, name: &str) -> io::Result<u32> {
        let wanted = short_name(name);
        for _ in 0..FOLDER_BYTES_MAX.div_ceil(self.cluster_bytes) {
            disk.seek(SeekFrom::Start(self.at(cluster)?))?;
            for _ in 0..self.cluster_bytes / ENTRY_BYTES as u64 {
                let mut entry = [0u8; ENTRY_BYTES];
                disk.read_exact(&mut entry)?;
                let attributes = entry[ATTRIBUTES_AT];
                if attributes & LONG_NAME != LONG_NAME
                    && attributes & FOLDER != 0
                    && entry[..NAME_BYTES] == wanted
                {
                    return Ok(cluster_of(&entry));
                }
            }
            disk.seek(SeekFrom::Start(self.table_at + 4 * u64::from(cluster)))?;
            let mut next = [0u8; 4];
            disk.read_exact(&mut next)?;
            cluster = u32::from_le_bytes(next) & CLUSTER_BITS;
            if cluster >= CLUSTER_END {
                break;
            }
        }
        Err(damaged(&format!("the new folder {name} is not found")))
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the volume is damaged: {what}"))
}

fn short_name(name: &str) -> [u8; NAME_BYTES] {
    let mut short = [b' '; NAME_BYTES];
    for (to, from) in short.iter_mut().zip(name.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    short
}

fn cluster_of(entry: &[u8; ENTRY_BYTES]) -> u32 {
    let half = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
    half(CLUSTER_HIGH_AT) << 16 | half(CLUSTER_LOW_AT)
}

fn set_cluster(entry: &mut [u8; ENTRY_BYTES], cluster: u32) {
    let [low, lower, high, higher] = cluster.to_le_bytes();
    entry[CLUSTER_LOW_AT..][..2].copy_from_slice(&[low, lower]);
    entry[CLUSTER_HIGH_AT..][..2].copy_from_slice(&[high, higher]);
}

fn long_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

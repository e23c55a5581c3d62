//! Block devices: what the kernel shows below /sys/block, and what lies on them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use disk_image::card::partitions;
use disk_image::table::Table;

/// Where the superblock of ext2, ext3 and ext4 lies.
const EXT_SUPERBLOCK_AT: u64 = 1_024;
const EXT_MAGIC_AT: usize = 0x38;
const EXT_MAGIC: [u8; 2] = [0x53, 0xef];
const EXT_ID_AT: usize = 0x68;
const EXT_LABEL_AT: usize = 0x78;
/// Names of devices that never hold a card or data.
const NOT_DISKS: [&str; 5] = ["loop", "ram", "zram", "dm-", "sr"];
/// A disk is blank if its first and last bytes are: this many at either end.
const BLANK_BYTES: u64 = 1 << 20;

/// A whole disk or a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// `/dev/…`
    pub path: PathBuf,
    /// Length.
    pub bytes: u64,
    /// First byte on the disk; 0 of a whole one.
    pub at: u64,
}

/// A disk and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The whole.
    pub whole: Block,
    /// Its parts, by number.
    pub parts: Vec<Block>,
}

/// An ext file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ext {
    /// Label.
    pub label: String,
    /// UUID as 32 hexadecimal digits.
    pub id: String,
}

/// Is there anything in this folder?
pub fn has_entries(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// All disks that are there now; `sys` is /sys/block.
pub fn disks(sys: &Path) -> Vec<Disk> {
    let mut disks: Vec<Disk> = std::fs::read_dir(sys)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            if NOT_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
                return None;
            }
            let whole = block(&entry.path(), &name)?;
            let mut parts: Vec<Block> = std::fs::read_dir(entry.path())
                .into_iter()
                .flatten()
                .flatten()
                .filter(|part| part.path().join("partition").exists())
                .filter_map(|part| block(&part.path(), &part.file_name().to_string_lossy()))
                .collect();
            parts.sort_by_key(|part| part.at);
            (whole.bytes > 0).then_some(Disk { whole, parts })
        })
        .collect();
    disks.sort_by(|left, right| left.whole.path.cmp(&right.whole.path));
    disks
}

fn block(folder: &Path, name: &str) -> Option<Block> {
    // The kernel counts in 512 bytes whatever the sectors of the disk.
    let number = |file: &str| -> Option<u64> {
        std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok()?.checked_mul(512)
    };
    Some(Block {
        path: Path::new("/dev").join(name),
        bytes: number("size")?,
        at: number("start").unwrap_or(0),
    })
}

/// Was an image of Shoal flashed to this disk?
pub fn is_card<T: Read + Seek>(disk: &mut T) -> bool {
    let Ok(table) = Table::read(disk) else { return false };
    partitions().iter().zip(&table.partitions).all(|(wanted, found)| {
        found.is_some_and(|found| {
            (found.kind, found.at, found.bytes) == (wanted.kind, wanted.at, wanted.bytes)
        })
    })
}

/// The ext file system on a device, where there is one.
pub fn ext<T: Read + Seek>(device: &mut T) -> io::Result<Option<Ext>> {
    let mut block = [0u8; 256];
    device.seek(SeekFrom::Start(EXT_SUPERBLOCK_AT))?;
    match device.read_exact(&mut block) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if block[EXT_MAGIC_AT..][..2] != EXT_MAGIC {
        return Ok(None);
    }
    let label: Vec<u8> = block[EXT_LABEL_AT..][..16].iter().copied().take_while(|&byte| byte != 0).collect();
    let id = block[EXT_ID_AT..][..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Ext { label: String::from_utf8_lossy(&label).into_owned(), id }))
}

/// Is nothing at either end of a device of `bytes` bytes? A table, a file system, a RAID or a key header would show.
pub fn is_blank<T: Read + Seek>(device: &mut T, bytes: u64) -> io::Result<bool> {
    let length = BLANK_BYTES.min(bytes);
    for at in [0, bytes - length] {
        device.seek(SeekFrom::Start(at))?;
        let mut end = Vec::new();
        device.take(length).read_to_end(&mut end)?;
        if end.len() as u64 != length || end.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens a device for reading.
pub fn open(block: &Block) -> io::Result<File> {
    File::open(&block.path)
}

//! The partition table of a card: the classic one of four primary partitions, which every boot ROM, U-Boot and EFI firmware
//! of our boards reads. It reaches 2 TiB; a data *drive* may have any table, or none.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::card::SECTOR_BYTES;

const ENTRIES_AT: usize = 446;
const ENTRY_BYTES: usize = 16;
const ENTRIES: usize = 4;
const SIGNATURE_AT: usize = 510;
const DISK_ID_AT: usize = 440;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// What a partition holds when the table is a mere guard in front of a GPT.
const PROTECTIVE: u8 = 0xee;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// FAT32 that firmware reads.
    Boot,
    /// FAT32 with one version of the system.
    Slot,
    /// Linux data.
    Data,
    /// Somebody else's.
    Other(u8),
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Boot | Self::Slot => 0x0c,
            Self::Data => 0x83,
            Self::Other(code) => code,
        }
    }
}

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// What for.
    pub kind: Kind,
    /// First byte.
    pub at: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Marked for boot ROMs that look for the mark.
    pub bootable: bool,
}

/// A table and the id that Linux knows the disk by (`PARTUUID`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Identifies the disk; of an image, drawn from its content.
    pub disk_id: u32,
    /// By number: `partitions[0]` is the first.
    pub partitions: [Option<Partition>; ENTRIES],
}

/// Why a table cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Reading or writing failed.
    #[error("the partition table cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// No signature.
    #[error("there is no partition table")]
    None,
    /// Another kind of table, that this program must not touch.
    #[error("the disk has a GPT; a card that Shoal was flashed to has a classic table of four partitions")]
    Gpt,
    /// The number is taken already.
    #[error("partition {0} exists already")]
    Taken(usize),
    /// The range is not free, not aligned to sectors, or beyond what the table can say.
    #[error("bytes {at} to {end} cannot become a partition: {why}")]
    Range {
        /// First byte.
        at: u64,
        /// First byte behind.
        end: u64,
        /// What is wrong.
        why: &'static str,
    },
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(disk_id: u32) -> Self {
        Self { disk_id, partitions: [None; ENTRIES] }
    }

    /// Puts `partition` at number `index` (from 0), if both are free.
    pub fn add(&mut self, index: usize, partition: Partition) -> Result<(), TableError> {
        if self.partitions[index].is_some() {
            return Err(TableError::Taken(index + 1));
        }
        let end = partition.at.saturating_add(partition.bytes);
        let refuse = |why| Err(TableError::Range { at: partition.at, end, why });
        if partition.bytes == 0 || partition.at < SECTOR_BYTES {
            return refuse("it is empty, or lies on the table itself");
        }
        if !partition.at.is_multiple_of(SECTOR_BYTES) || !partition.bytes.is_multiple_of(SECTOR_BYTES) {
            return refuse("it does not begin and end with a sector");
        }
        if end / SECTOR_BYTES > u64::from(u32::MAX) {
            return refuse("it reaches beyond 2 TiB");
        }
        let taken = self.partitions.iter().flatten();
        if taken.into_iter().any(|other| partition.at < other.at + other.bytes && other.at < end) {
            return refuse("another partition lies there");
        }
        self.partitions[index] = Some(partition);
        Ok(())
    }

    /// Reads the first sector of a disk.
    pub fn read<T: Read + Seek>(disk: &mut T) -> Result<Self, TableError> {
        let mut sector = [0u8; SECTOR_BYTES as usize];
        disk.seek(SeekFrom::Start(0))?;
        disk.read_exact(&mut sector)?;
        Self::parse(&sector)
    }

    /// Reads a first sector.
    pub fn parse(sector: &[u8; SECTOR_BYTES as usize]) -> Result<Self, TableError> {
        if sector[SIGNATURE_AT..] != SIGNATURE {
            return Err(TableError::None);
        }
        let mut table = Self::new(u32_at(sector, DISK_ID_AT));
        for (index, slot) in table.partitions.iter_mut().enumerate() {
            let entry = &sector[ENTRIES_AT + index * ENTRY_BYTES..][..ENTRY_BYTES];
            let kind = match entry[4] {
                0 => continue,
                PROTECTIVE => return Err(TableError::Gpt),
                0x0c if index == 0 => Kind::Boot,
                0x0c => Kind::Slot,
                0x83 => Kind::Data,
                other => Kind::Other(other),
            };
            *slot = Some(Partition {
                kind,
                at: u64::from(u32_at(entry, 8)) * SECTOR_BYTES,
                bytes: u64::from(u32_at(entry, 12)) * SECTOR_BYTES,
                bootable: entry[0] == 0x80,
            });
        }
        Ok(table)
    }

    /// Writes the table over the one in the first sector; boot code before it stays.
    pub fn write<T: Read + Write + Seek>(&self, disk: &mut T) -> Result<(), TableError> {
        let mut sector = [0u8; SECTOR_BYTES as usize];
        disk.seek(SeekFrom::Start(0))?;
        disk.read_exact(&mut sector)?;
        self.write_into(&mut sector);
        disk.seek(SeekFrom::Start(0))?;
        disk.write_all(&sector)?;
        disk.flush()?;
        Ok(())
    }

    fn write_into(&self, sector: &mut [u8; SECTOR_BYTES as usize]) {
        sector[DISK_ID_AT..][..4].copy_from_slice(&self.disk_id.to_le_bytes());
        sector[SIGNATURE_AT..].copy_from_slice(&SIGNATURE);
        for (index, partition) in self.partitions.iter().enumerate() {
            let entry = &mut sector[ENTRIES_AT + index * ENTRY_BYTES..][..ENTRY_BYTES];
            entry.fill(0);
            let Some(partition) = partition else { continue };
            entry[0] = if partition.bootable { 0x80 } else { 0 };
            // Cylinders, heads and sectors say "beyond what they can count": everyone reads the sector numbers.
            entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
            entry[4] = partition.kind.code();
            entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
            // `add` has checked that both fit.
            let sectors = |bytes: u64| u32::try_from(bytes / SECTOR_BYTES).unwrap_or(u32::MAX);
            entry[8..12].copy_from_slice(&sectors(partition.at).to_le_bytes());
            entry[12..16].copy_from_slice(&sectors(partition.bytes).to_le_bytes());
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

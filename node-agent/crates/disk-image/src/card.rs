//! Where things lie on a card. One layout for all boards, so that flashing, booting and updating agree.
//!
//! ```text
//! 0 MiB     partition table; 512 KiB: two copies of the boot state
//! 1 MiB     BOOT      FAT32, 64 MiB: what the firmware reads, and what people edit (shoal.toml, a ticket, status.txt)
//! 65 MiB    SLOT A    FAT32, 96 MiB: kernel, device trees, initramfs, signed manifest
//! 161 MiB   SLOT B    FAT32, 96 MiB
//! 257 MiB   the seed block, 1 MiB: the image ends here
//! 258 MiB   DATA      made at the first start on what is left of the card, only where the board has no other data drive
//! ```

use crate::table::{Kind, Partition};

/// Bytes of a sector; of all media that boards start from.
pub const SECTOR_BYTES: u64 = 512;
/// Partitions begin at multiples of this.
pub const ALIGNMENT_BYTES: u64 = 1 << 20;
/// Bytes of the BOOT volume.
pub const BOOT_BYTES: u64 = 64 << 20;
/// Bytes of each slot.
pub const SLOT_BYTES: u64 = 96 << 20;
/// Bytes of the seed block, the last of the image.
pub const SEED_BYTES: u64 = 1 << 20;
/// Where BOOT begins.
pub const BOOT_AT: u64 = ALIGNMENT_BYTES;
/// Where slots A and B begin.
pub const SLOT_AT: [u64; 2] = [BOOT_AT + BOOT_BYTES, BOOT_AT + BOOT_BYTES + SLOT_BYTES];
/// Where the seed block begins.
pub const SEED_AT: u64 = SLOT_AT[1] + SLOT_BYTES;
/// Bytes of an image.
pub const IMAGE_BYTES: u64 = SEED_AT + SEED_BYTES;
/// Where the data partition begins, if the card gets one.
pub const DATA_AT: u64 = IMAGE_BYTES;
/// A card must leave at least this much for data to get a data partition.
pub const DATA_BYTES_MIN: u64 = 512 << 20;
/// Index of the data partition in the table.
pub const DATA_INDEX: usize = 3;

/// Labels of the volumes, as FAT writes them.
pub const BOOT_LABEL: &str = "SHOAL";
/// Labels of the slots' volumes.
pub const SLOT_LABELS: [&str; 2] = ["SLOT-A", "SLOT-B"];
/// The ext4 label of a data partition that the board made itself.
pub const DATA_LABEL: &str = "shoal-data";

/// The partitions of an image.
#[must_use]
pub fn partitions() -> [Partition; 3] {
    [
        Partition { kind: Kind::Boot, at: BOOT_AT, bytes: BOOT_BYTES, bootable: true },
        Partition { kind: Kind::Slot, at: SLOT_AT[0], bytes: SLOT_BYTES, bootable: false },
        Partition { kind: Kind::Slot, at: SLOT_AT[1], bytes: SLOT_BYTES, bootable: false },
    ]
}

/// The data partition of a card of `card_bytes`; nothing where too little is left.
#[must_use]
pub fn data_partition(card_bytes: u64) -> Option<Partition> {
    let whole = card_bytes / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    let bytes = whole.checked_sub(DATA_AT)?;
    (bytes >= DATA_BYTES_MIN).then_some(Partition { kind: Kind::Data, at: DATA_AT, bytes, bootable: false })
}

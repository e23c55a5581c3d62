//! What lies on a card: the partition table, the FAT volumes, what a slot holds and who signed for it, the seed block.
//!
//! Used by whoever makes cards (the image builder, `shoal flash`) and by whoever starts from one (the board). Pure functions
//! over anything that reads, writes and seeks; nothing here opens a device. Format: `docs/formats/card.md`.
//!
//! Invariant: the same input gives the same bytes. No clock and no randomness is read.

pub mod card;
pub mod fat;
mod folders;
pub mod manifest;
pub mod seed;
pub mod table;
mod window;

#[cfg(test)]
mod fat_tests;
#[cfg(test)]
mod manifest_tests;
#[cfg(test)]
mod seed_tests;
#[cfg(test)]
mod table_tests;

pub use window::Window;

//! Puts images onto cards, sticks and drives: finds them, refuses those in use, writes, reads back, and finds out when a
//! card is smaller than it says.
//!
//! Invariant: nothing is written before the image's checksum was right and the target was found unused.

#![forbid(unsafe_code)]

pub mod disks;
pub mod image;
pub mod write;

#[cfg(test)]
mod disks_tests;
#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod write_tests;

//! Backups of metadata and keys that leave the grid: one file, sealed under a passphrase, on a disk or in any S3.
//!
//! - `format`: the bytes (docs/formats/backup.md); `Encoder` and `Decoder` do no I/O.
//! - `source`: what a node streams.
//! - `read`: verifying one, and taking it apart.
//! - `store`: where the command line puts the stream and reads it from.
//!
//! Invariants: the root key is nowhere outside of sealed pieces; what is read is used only after all of it was verified
//! once; memory is bounded by a few pieces, or by one part of an upload to S3.

mod format;
mod read;
mod source;
mod store;

#[cfg(test)]
mod format_tests;

pub use format::{BackupError, Decoder, HEAD_BYTES, Head, Record, Summary};
pub use read::{Backup, Contents, ReadError, derive, passphrase_from};
pub use source::{BackupSource, SourceError};
pub use store::{BackupPlace, S3Options};

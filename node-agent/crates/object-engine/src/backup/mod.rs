//! What lies on the drives so that lost metadata can be rebuilt from them.
//!
//! (a) *Backups*: each shard's rows, every 15 minutes with changes or 64 MiB of them, as ordinary sealed objects of an
//! internal bucket; `BackupList`, a small file on every drive, says where. (b) The *root bag*, a small file on every
//! drive: buckets, wrapped bucket keys, access keys, members, settings. (c) Chunk headers and footers, which the writes
//! themselves leave. `crate::rebuild` brings them together.

mod bag;
mod drive_file;
mod list;
mod worker;

pub use bag::{BagRecord, ROOT_BAG_FILE, RootBag};
pub use list::{BACKUP_LIST_FILE, BackupList, BackupSet, ShardCopy};
pub(crate) use worker::object_key;
pub use worker::{BackupConfig, BackupStatus, MetadataBackup};

#[cfg(test)]
mod format_tests;

//! One node's drives: chunk files, packs, labels, scrub. Verifies every frame on every read; never seals, holds no keys.
//!
//! Invariant: all I/O on chunks and packs goes through `sys::Disk`. A finished chunk is synced: bytes, name and
//! directory. A failed sync takes the drive out of service and is never retried. Nothing here creates or adopts a
//! drive but `label::create`, which only an explicit order may call.

mod buffer_pool;
mod chunk_file;
mod compaction;
mod config;
mod core;
mod drive;
mod error;
pub mod format;
mod frames;
mod handle_cache;
mod index;
mod io_threads;
pub mod label;
mod pack;
mod recovery;
mod room;
mod scan;
mod source;
mod stats;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use config::DriveConfig;
pub use drive::{ChunkInfo, Drive, DriveSummary};
pub use error::ChunkError;
pub use format::ChunkHeader;
pub use label::DriveLabel;
pub use stats::{DriveStats, Latency};
pub use store::ChunkStore;
pub use writer::ChunkWriter;

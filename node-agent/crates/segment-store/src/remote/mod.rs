//! Drives of other nodes: what segment-store and repair need of a drive, wherever it is; docs/formats/chunk-rpc.md.
//!
//! Invariants: a chunk counts as written only after its node answered that it is synced; a lost answer is a failure.
//! A frame that crossed the net is verified by the receiver before it is used, in either direction. Nothing here waits
//! for a peer without a deadline, and nothing that a peer sends is held beyond a named limit.

mod directory;
mod drive;
mod handle;
mod service;
pub(crate) mod wire;
mod writer;

pub use directory::DriveDirectory;
pub use drive::RemoteDrive;
pub use handle::{DriveHandle, DriveWriter};
pub use service::{CHUNK_SERVICE, ChunkService};
pub use wire::decode_stream;
pub use writer::RemoteWriter;

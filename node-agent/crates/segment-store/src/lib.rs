//! Seals, codes, spreads segments over drives and reads them back: ack sets, hedged and degraded reads.
//!
//! Invariants: no plaintext leaves this crate towards a drive; each write attempt draws a fresh segment id; a returned
//! `Segment` names only synced chunks that reach the ack set; every packet is authenticated before a byte is handed out.
//! A drive of another node is asked through `remote`; nothing above it knows the difference.
//! Memory of a stream is a few stripes, taken from the budget before they are filled.

mod buffers;
mod chunk_set;
mod config;
mod discard;
mod error;
mod fetch;
pub mod format;
mod goal;
mod grid_view;
mod health;
mod open;
mod reader;
mod rebuild;
mod recode;
mod refused;
pub mod remote;
mod rescue;
mod store;
mod stripes;
mod unpublished;
mod writer;

#[cfg(test)]
mod tests;

pub use config::{ChunkServiceConfig, RemoteConfig, SegmentConfig};
pub use error::SegmentError;
pub use grid_view::GridView;
pub use reader::SegmentReader;
pub use remote::{CHUNK_SERVICE, ChunkService, DriveDirectory, DriveHandle};
pub use store::SegmentStore;
pub use writer::{SegmentSpec, SegmentWriter};

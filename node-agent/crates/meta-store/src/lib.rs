//! Metadata shards: SQLite state machines replicated by Raft.
//!
//! One shared append-only log a node (`log`), mirrored over the drives of the metadata home (`home`); one Raft group a
//! shard (`group`, the only module that names the Raft library); one SQLite file a shard (`state`), a cache that
//! snapshot + log rebuild; `MetaStore` routes by the shard map and retries inside under the op id.
//!
//! Invariants: nothing is applied before it is durable in the local log; apply reads no clock, randomness or
//! configuration; log and SQLite layers name no type of the Raft library; stored formats carry a version.

pub mod command;
mod config;
mod error;
mod generation;
mod group;
pub mod home;
pub mod log;
mod peers;
pub mod query;
pub mod root;
pub mod rows;
pub mod snapshot_files;
mod state;
mod store;

pub use command::{Command, Outcome, WriteCondition};
pub use config::MetaConfig;
pub use error::MetaError;
pub use peers::{FOUNDER, MetaMember, MetaPeers, VoterNumber};
pub use store::{ImagePieces, MetaStats, MetaStore, SegmentPage, ShardImage, ShardStats, image_pieces};

//! The state machine of one shard: one SQLite file (docs/formats/metadata.md).
//!
//! Invariants: a batch of entries is one transaction, and the applied index is written in it; apply is a pure function
//! of entry and database: it reads no clock, randomness or configuration; a refused command changes nothing; a row that
//! fails its checksum is an error, never an answer.

mod bucket;
mod error;
mod file;
mod list;
mod object;
mod operation;
mod place;
mod proposal;
mod range;
mod read;
mod record;
mod replace;
mod row;
mod schema;
mod segment;
mod split;
mod upload;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use error::{CommandError, StateError};
pub(crate) use file::{Durable, ImageChunks, ShardFile, Storage};
pub(crate) use list::first_key;
pub(crate) use proposal::{Action, Answer, Proposal, Reply, SplitCommand, StubCommand};
pub(crate) use range::{ShardRange, routing_key};
pub(crate) use read::ReadView;
pub(crate) use schema::sqlite_version_is_safe;
pub(crate) use split::{ChildFiles, SplitState};
pub(crate) use writer::{Applied, Body, Entry, Limits, Writer};

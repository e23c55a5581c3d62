//! One Raft group: the only module that names the Raft library (docs/decisions/0001-raft.md).
//!
//! Invariants: a group that died is restarted with back-off, said aloud and counted, and serves nothing meanwhile;
//! apply waits until the entries are durable in the local log; a file that lags behind the purged log never starts.

mod answers;
mod encoding;
mod founders;
mod heartbeat;
mod leader;
mod log_store;
mod members;
mod network;
mod state_machine;
mod supervisor;
mod types;
#[cfg(test)]
mod voter_simulation_tests;
mod wire;

pub(crate) use answers::{Request, holds_answer, parse_request};
pub(crate) use founders::{choose_founders, holders};
pub(crate) use heartbeat::{BEAT, Heartbeats, answer_heartbeats};
#[cfg(test)]
pub(crate) use members::voters_wanted;
pub(crate) use members::{Led, voters_of};
pub(crate) use state_machine::Covered;
pub(crate) use supervisor::{Group, GroupSettings, Opened};
pub(crate) use wire::{SERVICE, SNAPSHOT};

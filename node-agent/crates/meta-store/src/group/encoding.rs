//! Our bytes for what the Raft library wants kept: log ids, votes, entries, memberships. docs/formats/metadata.md.
//!
//! Every value begins with a version byte; checksums are those of the log records and rows that hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use openraft::EmptyNode;
use openraft::impls::leader_id_std::LeaderId;
use serde::{Deserialize, Serialize};

use super::types::{EntryPayload, LogId, Membership, Payload, RaftEntry, StoredMembership, Vote, Voter};
use crate::log::LogEntry;

const VERSION: u8 = 1;
const KIND_BLANK: u8 = 0;
const KIND_COMMAND: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

fn wrong(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the metadata log holds {what}; a newer release may have written it"),
    )
}

fn number(bytes: &[u8], what: &str) -> io::Result<u64> {
    Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| wrong(what))?))
}

/// Version, term, index.
pub(super) fn encode_log_id(id: &LogId) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&id.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&id.index.to_le_bytes());
    bytes
}

pub(super) fn decode_log_id(bytes: &[u8]) -> io::Result<LogId> {
    const WHAT: &str = "a log id that does not decode";
    match bytes {
        [VERSION, rest @ ..] if rest.len() == 16 => {
            Ok(LogId::new_term_index(number(&rest[..8], WHAT)?, number(&rest[8..], WHAT)?))
        }
        _ => Err(wrong(WHAT)),
    }
}

/// Version, term, voter, committed.
pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&vote.leader_id.term.to_le_bytes());
    bytes.extend_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    bytes.push(u8::from(vote.committed));
    bytes.into()
}

pub(super) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    const WHAT: &str = "a vote that does not decode";
    match bytes {
        [VERSION, rest @ .., committed @ (0 | 1)] if rest.len() == 16 => Ok(Vote {
            leader_id: LeaderId { term: number(&rest[..8], WHAT)?, voted_for: number(&rest[8..], WHAT)? },
            committed: *committed == 1,
        }),
        _ => Err(wrong(WHAT)),
    }
}

/// Voters of one or (while they change) two configurations, and all members.
#[derive(Debug, Serialize, Deserialize)]
struct StoredMembers {
    configurations: Vec<Vec<Voter>>,
    members: Vec<Voter>,
}

fn encode_members(membership: &Membership) -> Vec<u8> {
    let stored = StoredMembers {
        configurations: membership
            .get_joint_config()
            .iter()
            .map(|set| set.iter().copied().collect())
            .collect(),
        members: membership.nodes().map(|(id, _)| *id).collect(),
    };
    postcard::to_allocvec(&stored).expect("numbers encode")
}

fn decode_members(bytes: &[u8]) -> io::Result<Membership> {
    const WHAT: &str = "a membership that does not decode";
    let stored: StoredMembers = postcard::from_bytes(bytes).map_err(|_| wrong(WHAT))?;
    let configurations: Vec<BTreeSet<Voter>> =
        stored.configurations.into_iter().map(|set| set.into_iter().collect()).collect();
    let members: BTreeMap<Voter, EmptyNode> =
        stored.members.into_iter().map(|id| (id, EmptyNode::new())).collect();
    Membership::new(configurations, members).map_err(|_| wrong(WHAT))
}

/// Version, presence of the log id, log id, members: what the state machine keeps.
pub(super) fn encode_stored_membership(stored: &StoredMembership) -> Vec<u8> {
    let mut bytes = vec![VERSION, u8::from(stored.log_id().is_some())];
    if let Some(id) = stored.log_id() {
        bytes.extend_from_slice(&encode_log_id(id));
    }
    bytes.extend_from_slice(&encode_members(stored.membership()));
    bytes
}

pub(super) fn decode_stored_membership(bytes: &[u8]) -> io::Result<StoredMembership> {
    const LOG_ID_BYTES: usize = 17;
    match bytes {
        [VERSION, 0, members @ ..] => Ok(StoredMembership::new(None, decode_members(members)?)),
        [VERSION, 1, rest @ ..] if rest.len() >= LOG_ID_BYTES => {
            let (id, members) = rest.split_at(LOG_ID_BYTES);
            Ok(StoredMembership::new(Some(decode_log_id(id)?), decode_members(members)?))
        }
        _ => Err(wrong("a stored membership that does not decode")),
    }
}

/// Version, kind, term, body. The index is the record's.
pub(super) fn encode_entry(entry: &RaftEntry) -> LogEntry {
    let term = entry.log_id.leader_id.term.to_le_bytes();
    let head = |kind: u8, room: usize| {
        let mut bytes = Vec::with_capacity(10 + room);
        bytes.extend_from_slice(&[VERSION, kind]);
        bytes.extend_from_slice(&term);
        bytes
    };
    let payload = match &entry.payload {
        EntryPayload::Blank => head(KIND_BLANK, 0),
        EntryPayload::Normal(Payload(command)) => {
            let mut bytes = head(KIND_COMMAND, command.len());
            bytes.extend_from_slice(&command[..]);
            bytes
        }
        EntryPayload::Membership(membership) => {
            let mut bytes = head(KIND_MEMBERSHIP, 0);
            bytes.extend_from_slice(&encode_members(membership));
            bytes
        }
    };
    LogEntry { index: entry.log_id.index, payload: payload.into() }
}

pub(super) fn decode_entry(entry: &LogEntry) -> io::Result<RaftEntry> {
    let (kind, term) = match entry.payload.get(..10) {
        Some([VERSION, kind, term @ ..]) => (*kind, number(term, "an entry that does not decode")?),
        _ => return Err(wrong("an entry that does not decode")),
    };
    let body = entry.payload.slice(10..);
    let payload = match kind {
        KIND_BLANK => EntryPayload::Blank,
        KIND_COMMAND => EntryPayload::Normal(Payload(body)),
        KIND_MEMBERSHIP => EntryPayload::Membership(decode_members(&body)?),
        _ => return Err(wrong("an entry of an unknown kind")),
    };
    Ok(RaftEntry { log_id: LogId::new_term_index(term, entry.index), payload })
}

//! What groups say to each other. docs/formats/meta-rpc.md.
//!
//! A message is a head in postcard behind its length, then the payloads of its entries one after the other, so that
//! they are neither copied nor escaped.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use grid_types::{ErrorCode, ShardId};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use rpc::{Method, RpcError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::encoding::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use super::types::{LogId, Types, Voter};
use crate::log::LogEntry;

pub(crate) const SERVICE: &str = "meta";
pub(super) const APPEND: Method = Method::control("/meta/append");
pub(super) const HEARTBEATS: Method = Method::control("/meta/heartbeats");
pub(super) const VOTE: Method = Method::control("/meta/vote");
pub(super) const PRE_VOTE: Method = Method::control("/meta/pre-vote");
pub(super) const TRANSFER: Method = Method::control("/meta/transfer");
pub(super) const INSTALL: Method = Method::control("/meta/install");
pub(super) const PROPOSE: Method = Method::control("/meta/propose");
pub(super) const READ_INDEX: Method = Method::control("/meta/read-index");
pub(super) const HOLDS: Method = Method::control("/meta/holds");
pub(crate) const SNAPSHOT: Method = Method::bulk("/meta/snapshot");

/// Version of all messages here.
const VERSION: u8 = 1;
/// Version and length of the head.
const FIXED_BYTES: usize = 5;
/// Bytes of one piece of answers to heartbeats: 512 of them with the longest reason would be a tenth of it.
const ANSWERS_BYTES_MAX: usize = 1 << 20;
/// Of a reason why a heartbeat is not answered.
const REASON_BYTES_MAX: usize = 200;

#[derive(Serialize, Deserialize)]
struct AppendHead {
    shard: u64,
    vote: Vec<u8>,
    previous: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
    /// Index and payload bytes of each entry.
    entries: Vec<(u64, u32)>,
}

#[derive(Serialize, Deserialize)]
pub(super) enum AppendAnswer {
    Success,
    Partial(Option<Vec<u8>>),
    Conflict,
    HigherVote(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
struct Ask {
    shard: u64,
    vote: Vec<u8>,
    last: Option<Vec<u8>>,
    transfer: bool,
}

#[derive(Serialize, Deserialize)]
struct VoteAnswer {
    vote: Vec<u8>,
    granted: bool,
    last: Option<Vec<u8>>,
}

/// Fetch a snapshot that covers `index` from the caller, which leads by `vote`.
#[derive(Serialize, Deserialize)]
pub(super) struct InstallOrder {
    pub vote: Vec<u8>,
    pub index: Option<u64>,
}

/// How far a replica is with that.
#[derive(Serialize, Deserialize)]
pub(super) struct Installed {
    /// The highest vote that it knows.
    pub vote: Vec<u8>,
    /// It runs on the snapshot, or will not install one of this caller.
    pub done: bool,
}

/// A message that does not decode: another release, or a bug.
fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message of another node does not decode")
}

pub(super) fn refused(error: io::Error) -> RpcError {
    RpcError::new(ErrorCode::InvalidArgument, error.to_string())
}

fn encode(head: &impl Serialize, room: usize) -> BytesMut {
    let head = postcard::to_allocvec(head).expect("numbers and bytes encode");
    let mut bytes = BytesMut::with_capacity(FIXED_BYTES + head.len() + room);
    bytes.put_u8(VERSION);
    bytes.put_u32_le(u32::try_from(head.len()).expect("a head is small"));
    bytes.extend_from_slice(&head);
    bytes
}

/// The head, and what follows it.
fn decode<T: DeserializeOwned>(mut message: Bytes) -> io::Result<(T, Bytes)> {
    let fixed = message.get(..FIXED_BYTES).ok_or_else(wrong)?;
    if fixed[0] != VERSION {
        return Err(wrong());
    }
    let len = u32::from_le_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]) as usize;
    let head = message.get(FIXED_BYTES..FIXED_BYTES + len).ok_or_else(wrong)?;
    let head = postcard::from_bytes(head).map_err(|_| wrong())?;
    Ok((head, message.split_off(FIXED_BYTES + len)))
}

fn optional(id: Option<&Vec<u8>>) -> io::Result<Option<LogId>> {
    id.map(|bytes| decode_log_id(bytes)).transpose()
}

pub(super) fn encode_append(shard: ShardId, request: &AppendEntriesRequest<Types>) -> Bytes {
    let entries: Vec<LogEntry> = request.entries.iter().map(encode_entry).collect();
    let head = AppendHead {
        shard: shard.0,
        vote: encode_vote(&request.vote).to_vec(),
        previous: request.prev_log_id.as_ref().map(encode_log_id),
        committed: request.leader_commit.as_ref().map(encode_log_id),
        // A command has at most 1 MiB.
        entries: entries.iter().map(|entry| (entry.index, entry.payload.len() as u32)).collect(),
    };
    let mut message = encode(&head, entries.iter().map(|entry| entry.payload.len()).sum());
    for entry in &entries {
        message.extend_from_slice(&entry.payload);
    }
    message.freeze()
}

pub(super) fn decode_append(message: Bytes) -> io::Result<(ShardId, AppendEntriesRequest<Types>)> {
    let (head, mut rest): (AppendHead, Bytes) = decode(message)?;
    let mut entries = Vec::new();
    for (index, len) in head.entries {
        if rest.len() < len as usize {
            return Err(wrong());
        }
        entries.push(decode_entry(&LogEntry { index, payload: rest.split_to(len as usize) })?);
    }
    let request = AppendEntriesRequest {
        vote: decode_vote(&head.vote)?,
        prev_log_id: optional(head.previous.as_ref())?,
        entries,
        leader_commit: optional(head.committed.as_ref())?,
    };
    Ok((ShardId(head.shard), request))
}

impl From<&AppendEntriesResponse<Types>> for AppendAnswer {
    fn from(answer: &AppendEntriesResponse<Types>) -> Self {
        match answer {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(id) => Self::Partial(id.as_ref().map(encode_log_id)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(encode_vote(vote).to_vec()),
        }
    }
}

impl AppendAnswer {
    fn into_response(self) -> io::Result<AppendEntriesResponse<Types>> {
        Ok(match self {
            Self::Success => AppendEntriesResponse::Success,
            Self::Partial(id) => AppendEntriesResponse::PartialSuccess(optional(id.as_ref())?),
            Self::Conflict => AppendEntriesResponse::Conflict,
            Self::HigherVote(vote) => AppendEntriesResponse::HigherVote(decode_vote(&vote)?),
        })
    }
}

pub(super) fn encode_append_answer(answer: &AppendEntriesResponse<Types>) -> Bytes {
    encode(&AppendAnswer::from(answer), 0).freeze()
}

pub(super) fn decode_append_answer(message: Bytes) -> io::Result<AppendEntriesResponse<Types>> {
    decode::<AppendAnswer>(message)?.0.into_response()
}

/// A heartbeat: what an append without entries says.
#[derive(Serialize, Deserialize)]
struct Heartbeat {
    shard: u64,
    vote: Vec<u8>,
    previous: Option<Vec<u8>>,
    committed: Option<Vec<u8>>,
}

/// What a group answered to a heartbeat, or why it did not.
#[derive(Serialize, Deserialize)]
pub(super) enum HeartbeatAnswer {
    Answered(AppendAnswer),
    Failed(String),
}

impl From<Result<AppendEntriesResponse<Types>, String>> for HeartbeatAnswer {
    fn from(answer: Result<AppendEntriesResponse<Types>, String>) -> Self {
        match answer {
            Ok(answer) => Self::Answered((&answer).into()),
            Err(mut reason) => {
                reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
                Self::Failed(reason)
            }
        }
    }
}

impl HeartbeatAnswer {
    /// The inner error is the peer's, the outer one that this does not decode.
    pub(super) fn into_response(self) -> io::Result<Result<AppendEntriesResponse<Types>, String>> {
        match self {
            Self::Answered(answer) => Ok(Ok(answer.into_response()?)),
            Self::Failed(reason) => Ok(Err(reason)),
        }
    }
}

pub(super) fn encode_heartbeats(heartbeats: &[(ShardId, AppendEntriesRequest<Types>)]) -> Bytes {
    let heartbeats: Vec<Heartbeat> = heartbeats
        .iter()
        .map(|(shard, request)| Heartbeat {
            shard: shard.0,
            vote: encode_vote(&request.vote).to_vec(),
            previous: request.prev_log_id.as_ref().map(encode_log_id),
            committed: request.leader_commit.as_ref().map(encode_log_id),
        })
        .collect();
    encode(&heartbeats, 0).freeze()
}

/// The shard that a heartbeat is for, and what it says; or that it does not decode.
type HeartbeatRead = io::Result<(ShardId, AppendEntriesRequest<Types>)>;

/// Each by itself: one that does not decode leaves the others whole.
pub(super) fn decode_heartbeats(message: Bytes) -> io::Result<Vec<HeartbeatRead>> {
    let (heartbeats, _): (Vec<Heartbeat>, Bytes) = decode(message)?;
    let request = |heartbeat: Heartbeat| {
        let request = AppendEntriesRequest {
            vote: decode_vote(&heartbeat.vote)?,
            prev_log_id: optional(heartbeat.previous.as_ref())?,
            entries: Vec::new(),
            leader_commit: optional(heartbeat.committed.as_ref())?,
        };
        Ok((ShardId(heartbeat.shard), request))
    };
    Ok(heartbeats.into_iter().map(request).collect())
}

/// Which heartbeat of the message, and its answer.
pub(super) fn encode_heartbeat_answers(answers: &[(u32, HeartbeatAnswer)]) -> Bytes {
    encode(&answers, 0).freeze()
}

/// The next piece of answers, once all of it was received.
pub(super) fn take_heartbeat_answers(
    received: &mut BytesMut,
) -> io::Result<Option<Vec<(u32, HeartbeatAnswer)>>> {
    let Some(fixed) = received.get(..FIXED_BYTES) else { return Ok(None) };
    let len = u32::from_le_bytes([fixed[1], fixed[2], fixed[3], fixed[4]]) as usize;
    if len > ANSWERS_BYTES_MAX {
        return Err(wrong());
    }
    if received.len() < FIXED_BYTES + len {
        return Ok(None);
    }
    Ok(Some(decode(received.split_to(FIXED_BYTES + len).freeze())?.0))
}

pub(super) fn encode_vote_request(shard: ShardId, request: &VoteRequest<Types>) -> Bytes {
    let ask = Ask {
        shard: shard.0,
        vote: encode_vote(&request.vote).to_vec(),
        last: request.last_log_id.as_ref().map(encode_log_id),
        transfer: request.leadership_transfer,
    };
    encode(&ask, 0).freeze()
}

pub(super) fn decode_vote_request(message: Bytes) -> io::Result<(ShardId, VoteRequest<Types>)> {
    let (ask, _): (Ask, Bytes) = decode(message)?;
    let request = VoteRequest {
        vote: decode_vote(&ask.vote)?,
        last_log_id: optional(ask.last.as_ref())?,
        leadership_transfer: ask.transfer,
    };
    Ok((ShardId(ask.shard), request))
}

pub(super) fn encode_vote_answer(answer: &VoteResponse<Types>) -> Bytes {
    let answer = VoteAnswer {
        vote: encode_vote(&answer.vote).to_vec(),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(encode_log_id),
    };
    encode(&answer, 0).freeze()
}

pub(super) fn decode_vote_answer(message: Bytes) -> io::Result<VoteResponse<Types>> {
    let (answer, _): (VoteAnswer, Bytes) = decode(message)?;
    Ok(VoteResponse {
        vote: decode_vote(&answer.vote)?,
        vote_granted: answer.granted,
        last_log_id: optional(answer.last.as_ref())?,
    })
}

/// Leadership goes to `to`: who hears it need not wait for a timeout.
#[derive(Serialize, Deserialize)]
struct Transfer {
    shard: u64,
    vote: Vec<u8>,
    to: Voter,
    last: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
enum TransferAnswer {
    Accepted,
    VoteChanged(Vec<u8>),
    NotFlushed(Option<Vec<u8>>),
}

pub(super) fn encode_transfer(shard: ShardId, request: &TransferLeaderRequest<Types>) -> Bytes {
    let transfer = Transfer {
        shard: shard.0,
        vote: encode_vote(request.from_leader()).to_vec(),
        to: *request.to_node_id(),
        last: request.last_log_id().map(encode_log_id),
    };
    encode(&transfer, 0).freeze()
}

pub(super) fn decode_transfer(message: Bytes) -> io::Result<(ShardId, TransferLeaderRequest<Types>)> {
    let (transfer, _): (Transfer, Bytes) = decode(message)?;
    let last = optional(transfer.last.as_ref())?;
    let request = TransferLeaderRequest::new(decode_vote(&transfer.vote)?, transfer.to, last);
    Ok((ShardId(transfer.shard), request))
}

pub(super) fn encode_transfer_answer(answer: &TransferLeaderResponse<Types>) -> Bytes {
    let answer = match answer {
        Ok(()) => TransferAnswer::Accepted,
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            TransferAnswer::VoteChanged(encode_vote(actual).to_vec())
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            TransferAnswer::NotFlushed(actual.as_ref().map(encode_log_id))
        }
    };
    encode(&answer, 0).freeze()
}

pub(super) fn decode_transfer_answer(
    message: Bytes,
    request: &TransferLeaderRequest<Types>,
) -> io::Result<TransferLeaderResponse<Types>> {
    Ok(match decode(message)?.0 {
        TransferAnswer::Accepted => Ok(()),
        TransferAnswer::VoteChanged(actual) => Err(TransferLeaderError::VoteChanged {
            expected: *request.from_leader(),
            actual: decode_vote(&actual)?,
        }),
        TransferAnswer::NotFlushed(actual) => Err(TransferLeaderError::LogNotFlushed {
            expected: request.last_log_id().copied(),
            actual: optional(actual.as_ref())?,
        }),
    })
}

/// A proposal for the leader: the command follows the head.
pub(super) fn encode_proposal(shard: ShardId, command: &Bytes) -> Bytes {
    let mut message = encode(&shard.0, command.len());
    message.extend_from_slice(command);
    message.freeze()
}

pub(super) fn decode_proposal(message: Bytes) -> io::Result<(ShardId, Bytes)> {
    let (shard, command) = decode(message)?;
    Ok((ShardId(shard), command))
}

/// Any small value.
pub(super) fn encode_value(value: &impl Serialize) -> Bytes {
    encode(value, 0).freeze()
}

pub(super) fn decode_value<T: DeserializeOwned>(message: Bytes) -> io::Result<T> {
    Ok(decode(message)?.0)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

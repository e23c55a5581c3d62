//! What a group answers to other nodes.

use bytes::Bytes;
use grid_types::{ErrorCode, ShardId};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use rpc::RpcError;

use super::encoding::{decode_vote, encode_vote};
use super::supervisor::Group;
use super::types::{Types, Vote};
use super::wire::{self, InstallOrder, Installed};
use crate::MetaError;
use crate::log::GroupLogState;

/// A request of another node.
pub(crate) enum Request {
    /// An encoded proposal for the leader.
    Propose(Bytes),
    /// Fetch a snapshot from the caller, which leads.
    Install(Leadership),
    /// Does this node hold the shard?
    Holds,
    /// What the group answers by itself.
    Ask(Question),
}

/// What a group answers by itself.
pub(crate) struct Question(Asked);

enum Asked {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Transfer(TransferLeaderRequest<Types>),
    ReadIndex,
}

/// By what vote a node says that it leads, and how far its snapshot reaches.
pub(crate) struct Leadership {
    vote: Vote,
    index: Option<u64>,
}

impl Leadership {
    /// The answer where nothing is to be installed: a higher vote is stored here, so the caller leads no more, or what
    /// its snapshot covers is here.
    pub(crate) fn settled(&self, log: &GroupLogState) -> std::io::Result<Option<Bytes>> {
        let stored = log.vote.as_ref().map(|bytes| decode_vote(bytes)).transpose()?;
        if let Some(newer) = stored.filter(|stored| stored > &self.vote) {
            return Ok(Some(answer(&newer, true)));
        }
        Ok((log.last >= self.index).then(|| answer(&self.vote, true)))
    }

    /// The answer while it is fetched.
    pub(crate) fn pending(&self) -> Bytes {
        answer(&self.vote, false)
    }
}

fn answer(vote: &Vote, done: bool) -> Bytes {
    wire::encode_value(&Installed { vote: encode_vote(vote).to_vec(), done })
}

/// Reads a message; the shard it is for, and what it asks.
pub(crate) fn parse_request(method: &str, message: Bytes) -> Result<(ShardId, Request), RpcError> {
    let ask = |asked| Request::Ask(Question(asked));
    let parsed = match method {
        "append" => wire::decode_append(message).map(|(shard, request)| (shard, ask(Asked::Append(request)))),
        "vote" => {
            wire::decode_vote_request(message).map(|(shard, request)| (shard, ask(Asked::Vote(request))))
        }
        "pre-vote" => {
            wire::decode_vote_request(message).map(|(shard, request)| (shard, ask(Asked::PreVote(request))))
        }
        "transfer" => {
            wire::decode_transfer(message).map(|(shard, request)| (shard, ask(Asked::Transfer(request))))
        }
        "read-index" => wire::decode_value(message).map(|shard| (ShardId(shard), ask(Asked::ReadIndex))),
        "holds" => wire::decode_value(message).map(|shard| (ShardId(shard), Request::Holds)),
        "propose" => {
            wire::decode_proposal(message).map(|(shard, command)| (shard, Request::Propose(command)))
        }
        "install" => wire::decode_value::<(u64, InstallOrder)>(message).and_then(|(shard, order)| {
            let leadership = Leadership { vote: decode_vote(&order.vote)?, index: order.index };
            Ok((ShardId(shard), Request::Install(leadership)))
        }),
        _ => {
            let detail = format!("metadata knows no method `{method}`; another release may");
            return Err(RpcError::new(ErrorCode::NotImplemented, detail));
        }
    };
    parsed.map_err(wire::refused)
}

/// The answer to `Request::Holds`.
pub(crate) fn holds_answer(held: bool) -> Bytes {
    wire::encode_value(&held)
}

fn unavailable(error: impl std::fmt::Display) -> RpcError {
    RpcError::new(ErrorCode::Unavailable, error.to_string())
}

impl From<MetaError> for RpcError {
    fn from(error: MetaError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl Group {
    /// Answers another node.
    pub(crate) async fn answer(&self, question: Question) -> Result<Bytes, RpcError> {
        let raft = || self.running().map(|running| running.raft);
        match question.0 {
            Asked::Append(request) => Ok(wire::encode_append_answer(&self.append(request).await?)),
            Asked::Vote(request) => {
                let answer = raft()?.vote(request).await.map_err(unavailable)?;
                Ok(wire::encode_vote_answer(&answer))
            }
            Asked::PreVote(request) => {
                let answer = raft()?.pre_vote(request).await.map_err(unavailable)?;
                Ok(wire::encode_vote_answer(&answer))
            }
            Asked::Transfer(request) => {
                let answer = raft()?.handle_transfer_leader(request).await.map_err(unavailable)?;
                Ok(wire::encode_transfer_answer(&answer))
            }
            Asked::ReadIndex => Ok(wire::encode_value(&self.read_index_here().await?)),
        }
    }

    /// Takes entries or a heartbeat of another node.
    pub(super) async fn append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        let raft = self.running()?.raft;
        let answer = raft.append_entries(request).await.map_err(unavailable)?;
        if matches!(answer, AppendEntriesResponse::Success) {
            *self.shared.heard.lock() = Some(tokio::time::Instant::now());
        }
        Ok(answer)
    }

    /// Proposes for another node, which believes that this one leads.
    pub(crate) async fn answer_proposal(&self, command: Bytes) -> Result<Bytes, RpcError> {
        Ok(wire::encode_value(&self.propose_for_other(command).await?))
    }
}

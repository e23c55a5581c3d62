//! Raft's way to other nodes.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use grid_types::ShardId;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use rpc::{Fate, Method, RpcError};

use super::encoding::{decode_vote, encode_vote};
use super::heartbeat::Heartbeats;
use super::state_machine::SnapshotSource;
use super::types::{Types, Voter};
use super::wire::{self, InstallOrder, Installed};
use crate::peers::MetaPeers;

/// How long a replica may take to say how far its fetching of a snapshot is.
const INSTALL_PATIENCE: Duration = Duration::from_secs(2);
/// For the answer to entries: a late one still counts, and a lossy link repeats a segment after a second.
const APPEND_PATIENCE: Duration = Duration::from_secs(3);
/// Between two such questions.
const INSTALL_PAUSE: Duration = Duration::from_millis(100);

/// Makes ways to the other voters of one group.
pub(super) struct Peers {
    pub shard: ShardId,
    pub peers: MetaPeers,
    pub heartbeats: Heartbeats,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: Voter, _node: &EmptyNode) -> Peer {
        Peer { shard: self.shard, peers: self.peers.clone(), target, heartbeats: None }
    }

    async fn new_heartbeat_client(&mut self, target: Voter, node: &EmptyNode) -> Peer {
        let heartbeats = Some(self.heartbeats.clone());
        Peer { heartbeats, ..self.new_client(target, node).await }
    }
}

/// The way to one voter.
pub(super) struct Peer {
    shard: ShardId,
    peers: MetaPeers,
    target: Voter,
    /// What carries heartbeats, in a client that sends nothing else.
    heartbeats: Option<Heartbeats>,
}

impl Peer {
    async fn call(
        &self,
        method: Method,
        message: Bytes,
        patience: Duration,
    ) -> Result<Bytes, RPCError<Types>> {
        let Some(node) = self.peers.node(self.target) else {
            let unknown = io::Error::new(io::ErrorKind::NotConnected, "it is not a member of this grid");
            return Err(Unreachable::new(&unknown).into());
        };
        self.peers.call(node, method, message, patience).await.map_err(failed)
    }
}

/// A peer that could not be reached is left alone for a while by the library, others are asked again at once.
fn failed(error: RpcError) -> RPCError<Types> {
    match error.fate {
        Fate::NotSent | Fate::Refused => Unreachable::new(&error).into(),
        Fate::Unknown => NetworkError::new(&error).into(),
    }
}

fn undecodable(error: io::Error) -> RPCError<Types> {
    NetworkError::new(&error).into()
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        if let Some(heartbeats) = self.heartbeats.as_ref().filter(|_| request.entries.is_empty()) {
            let answer = heartbeats.send(self.target, self.shard, request).await;
            return answer.map_err(|reason| NetworkError::new(&io::Error::other(reason)).into());
        }
        let message = wire::encode_append(self.shard, &request);
        // The library gives heartbeats up by itself; entries may take longer on a slow link.
        let patience = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_PATIENCE };
        let answer = self.call(wire::APPEND, message, patience).await?;
        wire::decode_append_answer(answer).map_err(undecodable)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let message = wire::encode_vote_request(self.shard, &request);
        let answer = self.call(wire::VOTE, message, option.soft_ttl()).await?;
        wire::decode_vote_answer(answer).map_err(undecodable)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let message = wire::encode_vote_request(self.shard, &request);
        let answer = self.call(wire::PRE_VOTE, message, option.soft_ttl()).await?;
        wire::decode_vote_answer(answer).map_err(undecodable)
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let message = wire::encode_transfer(self.shard, &request);
        let answer = self.call(wire::TRANSFER, message, option.soft_ttl()).await?;
        wire::decode_transfer_answer(answer, &request).map_err(undecodable)
    }

    /// The replica is told to fetch one from here, and asked until it runs on it.
    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, SnapshotSource>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let index = snapshot.meta.last_log_id.map(|id| id.index);
        let order = InstallOrder { vote: encode_vote(&vote).to_vec(), index };
        let message = wire::encode_value(&(self.shard.0, order));
        let install = async {
            loop {
                let answer = self.call(wire::INSTALL, message.clone(), INSTALL_PATIENCE).await?;
                let answer: Installed = wire::decode_value(answer).map_err(undecodable)?;
                if answer.done {
                    return decode_vote(&answer.vote).map_err(undecodable);
                }
                tokio::time::sleep(INSTALL_PAUSE).await;
            }
        };
        tokio::select! {
            vote = install => Ok(SnapshotResponse::new(vote.map_err(StreamingError::from)?)),
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}

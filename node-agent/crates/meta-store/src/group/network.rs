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
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};
use rpc::{Fate, Method, NetworkExt, RpcError};

use super::encoding::{decode_vote, encode_vote};
use super::state_machine::SnapshotSource;
use super::types::{Types, Voter};
use super::wire;
use crate::peers::MetaPeers;

/// How long a replica may take to fetch and install a snapshot.
const INSTALL_PATIENCE: Duration = Duration::from_secs(600);

/// Makes ways to the other voters of one group.
pub(super) struct Peers {
    pub shard: ShardId,
    pub peers: MetaPeers,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: Voter, _node: &EmptyNode) -> Peer {
        Peer { shard: self.shard, peers: self.peers.clone(), target }
    }
}

/// The way to one voter.
pub(super) struct Peer {
    shard: ShardId,
    peers: MetaPeers,
    target: Voter,
}

impl Peer {
    async fn call(&self, method: Method, message: Bytes, patience: Duration) -> Result<Bytes, RPCError<Types>> {
        let node = self.peers.node(self.target).zip(self.peers.network());
        let Some((node, network)) = node else {
            let unknown = io::Error::new(io::ErrorKind::NotConnected, "it is not a member of this grid");
            return Err(Unreachable::new(&unknown).into());
        };
        network.call(node, method, message, patience).await.map_err(failed)
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
        let message = wire::encode_append(self.shard, &request);
        let answer = self.call(wire::APPEND, message, option.soft_ttl()).await?;
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

    /// The replica is told to fetch one from here; it answers once it runs on it.
    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        _snapshot: SnapshotOf<Types, SnapshotSource>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let message = wire::encode_value(&(self.shard.0, encode_vote(&vote).to_vec()));
        let called = self.call(wire::INSTALL, message, INSTALL_PATIENCE);
        let answer = tokio::select! {
            answer = called => answer.map_err(StreamingError::from)?,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        let vote: Vec<u8> = wire::decode_value(answer).map_err(|error| StreamingError::from(undecodable(error)))?;
        let vote = decode_vote(&vote).map_err(|error| StreamingError::from(undecodable(error)))?;
        Ok(SnapshotResponse::new(vote))
    }
}

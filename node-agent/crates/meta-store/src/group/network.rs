//! Raft's way to other nodes. A group of one has none; the grid brings its own `RaftNetworkFactory`.

use std::future::Future;
use std::io;

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend};

use super::state_machine::SnapshotSource;
use super::types::{Types, Voter};

/// Reaches nobody.
pub(super) struct NoPeers;

fn unreachable() -> Unreachable<Types> {
    Unreachable::new(&io::Error::new(io::ErrorKind::NotConnected, "this release knows no other nodes"))
}

impl RaftNetworkFactory<Types> for NoPeers {
    type Network = Self;

    async fn new_client(&mut self, _target: Voter, _node: &EmptyNode) -> Self {
        Self
    }
}

impl RaftNetworkV2<Types> for NoPeers {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<Types>,
        _: SnapshotOf<Types, SnapshotSource>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(unreachable().into())
    }
}

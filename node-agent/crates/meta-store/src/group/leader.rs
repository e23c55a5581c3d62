//! Asking the leader, wherever it is: proposals, and the index that a linearizable read must wait for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use grid_types::ErrorCode;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{Instant as _, ReadPolicy};
use parking_lot::Mutex;
use rpc::RpcError;

use super::supervisor::{Group, Running};
use super::types::{Payload, Voter};
use super::wire;
use crate::MetaError;
use crate::state::{Reply, ShardFile};

/// How long a leader may take to commit: without a majority it would wait for one, however long.
const PROPOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the leader may take to find out that it still leads.
const READ_INDEX_PATIENCE: Duration = Duration::from_secs(2);
/// How long this replica may take to apply what a read must show.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);

type Asking = Shared<BoxFuture<'static, Result<u64, String>>>;

/// Reads that wait for the same question to the leader. A read takes part only in a question asked after it arrived.
#[derive(Default)]
pub(super) struct ReadGate {
    next: Mutex<Option<Asking>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Group {
    /// Proposes an encoded command and waits until it is applied. `Unavailable` leaves open whether it will be.
    pub(crate) async fn propose(&self, command: Bytes) -> Result<Reply, MetaError> {
        let running = self.running()?;
        match self.propose_here(&running, command.clone()).await {
            Err(NotHere::Leads(Some(leader))) => self.propose_to(leader, command).await,
            Err(NotHere::Leads(None)) => Err(self.unavailable("it has no leader now")),
            Err(NotHere::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
        }
    }

    /// As `propose`, for another node that believes that this one leads.
    pub(super) async fn propose_for_other(&self, command: Bytes) -> Result<Reply, MetaError> {
        let running = self.running()?;
        match self.propose_here(&running, command).await {
            Ok(reply) => Ok(reply),
            Err(NotHere::Leads(_)) => Err(self.unavailable("the node asked does not lead it")),
            Err(NotHere::Failed(error)) => Err(error),
        }
    }

    async fn propose_here(&self, running: &Running, command: Bytes) -> Result<Reply, NotHere> {
        let written = running.raft.client_write(Payload(command));
        match tokio::time::timeout(PROPOSE_PATIENCE, written).await {
            Err(_) => {
                Err(NotHere::Failed(self.unavailable("no majority of its replicas takes part in time")))
            }
            Ok(Ok(response)) => Ok(response.data),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))) => {
                Err(NotHere::Leads(to.leader_id))
            }
            Ok(Err(error)) => {
                self.look();
                Err(NotHere::Failed(self.unavailable(error.to_string())))
            }
        }
    }

    async fn propose_to(&self, leader: Voter, command: Bytes) -> Result<Reply, MetaError> {
        let message = wire::encode_proposal(self.shared.shard, &command);
        let answer = self.call(leader, wire::PROPOSE, message, PROPOSE_PATIENCE).await?;
        wire::decode_value(answer).map_err(|error| self.unavailable(error.to_string()))
    }

    async fn call(
        &self,
        voter: Voter,
        method: rpc::Method,
        message: Bytes,
        patience: Duration,
    ) -> Result<Bytes, MetaError> {
        let peers = &self.shared.peers;
        let Some(node) = peers.node(voter) else {
            return Err(self.unavailable(format!("its leader, member {voter}, is not known here")));
        };
        let answer = peers.call(node, method, message, patience).await;
        answer.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: RpcError) -> MetaError {
        match error.code {
            ErrorCode::StorageFull => MetaError::Refused { code: error.code, detail: error.detail },
            _ => self.unavailable(format!("its leader: {}", error.detail)),
        }
    }

    /// The file, once all that was acknowledged before this call can be read from it.
    ///
    /// In a group of one nobody else can have led since this node applied the first entry of its own term, and answers
    /// are given after their transaction: what the file shows is linearizable. With more voters, ReadIndex.
    pub(crate) async fn linearizable_file(&self) -> Result<Arc<ShardFile>, MetaError> {
        let running = self.running()?;
        let me = self.shared.peers.me();
        let alone = {
            let metrics = running.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().voter_ids().eq([me])
        };
        if alone {
            return Ok(running.file);
        }
        if self.waits_in_vain(&running)
            && let Some(file) = self.file_of_one_of_two(&running)
        {
            return Ok(file);
        }
        let index = match self.next_question().await {
            Ok(index) => index,
            Err(reason) => {
                return self.file_of_one_of_two(&running).ok_or_else(|| self.unavailable(reason));
            }
        };
        let applied = {
            let metrics = running.raft.data_metrics();
            let metrics = metrics.borrow_watched();
            metrics.last_applied.map(|id| id.index)
        };
        if applied < Some(index) {
            let waiting = running.raft.wait(Some(CATCH_UP_PATIENCE));
            let caught_up = waiting.applied_index_at_least(Some(index), "a read").await;
            caught_up.map_err(|_| self.unavailable("this replica lags behind"))?;
        }
        Ok(running.file)
    }

    /// This node leads and has not heard from a majority for long: asking would take as long again.
    fn waits_in_vain(&self, running: &Running) -> bool {
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state.is_leader()
            && metrics.last_quorum_acked.as_ref().is_none_or(|acked| acked.elapsed() > READ_INDEX_PATIENCE)
    }

    /// Of two voters with the other one away: nothing can be committed without this one. Where it leads, all that was
    /// acknowledged is applied; else that is so unless entries follow that the other one may have acknowledged. `None`
    /// then, and with more voters.
    fn file_of_one_of_two(&self, running: &Running) -> Option<Arc<ShardFile>> {
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        let two = members.get_joint_config().len() == 1 && members.voter_ids().count() == 2;
        let mine = members.voter_ids().any(|voter| voter == self.shared.peers.me());
        let leads = metrics.state.is_leader()
            && metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term);
        let all_applied = leads || metrics.last_applied.map(|id| id.index) == metrics.last_log_index;
        (two && mine && all_applied).then(|| running.file.clone())
    }

    /// The last entry applied here, if this replica heard from a live leader within `age`.
    pub(crate) fn fresh(&self, age: Duration) -> Option<u64> {
        let raft = self.running().ok()?.raft;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = if metrics.state.is_leader() {
            metrics.last_quorum_acked.as_ref().map(|acked| acked.elapsed())
        } else {
            self.shared.heard.lock().map(|heard| heard.elapsed())
        };
        let applied = metrics.last_applied.map(|id| id.index);
        applied.filter(|_| heard.is_some_and(|heard| heard <= age))
    }

    /// Takes part in the next question to the leader, which is asked once the one before is answered.
    fn next_question(&self) -> Asking {
        let mut next = self.shared.reads.next.lock();
        if let Some(asking) = &*next {
            return asking.clone();
        }
        let (group, turn) = (self.clone(), self.shared.reads.turn.clone());
        let asking = async move {
            let _turn = turn.lock().await;
            // Who comes from here on waits for the question after this one.
            *group.shared.reads.next.lock() = None;
            group.read_index().await.map_err(|error| match error {
                MetaError::Unavailable { reason, .. } => reason,
                other => other.to_string(),
            })
        };
        let asking = asking.boxed().shared();
        *next = Some(asking.clone());
        // One that nobody waits for any more must still make room for the next.
        tokio::spawn(asking.clone());
        asking
    }

    /// What a read must see, as the leader confirms it.
    async fn read_index(&self) -> Result<u64, MetaError> {
        let running = self.running()?;
        let leader = {
            let metrics = running.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.current_leader
        };
        match leader {
            Some(leader) if leader == self.shared.peers.me() => self.read_index_here().await,
            Some(leader) => {
                let message = wire::encode_value(&self.shared.shard.0);
                let answer = self.call(leader, wire::READ_INDEX, message, READ_INDEX_PATIENCE).await?;
                wire::decode_value(answer).map_err(|error| self.unavailable(error.to_string()))
            }
            None => Err(self.unavailable("it has no leader now")),
        }
    }

    /// As `read_index`, where this node leads.
    pub(super) async fn read_index_here(&self) -> Result<u64, MetaError> {
        let running = self.running()?;
        let confirmed = running.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match tokio::time::timeout(READ_INDEX_PATIENCE, confirmed).await {
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Ok(Err(error)) => Err(self.unavailable(error.to_string())),
            Err(_) => Err(self.unavailable("its leader reaches no majority")),
        }
    }
}

/// Why a proposal was not taken here.
enum NotHere {
    /// Another voter leads, or nobody.
    Leads(Option<Voter>),
    Failed(MetaError),
}

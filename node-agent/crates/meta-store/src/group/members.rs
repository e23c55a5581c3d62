//! Who replicates a group, and who votes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use grid_types::{ErrorCode, ShardId};
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode, Instant};

use super::encoding::{decode_entry, decode_log_id, decode_stored_membership, encode_entry};
use super::heartbeat::SILENCE;
use super::supervisor::{Group, found};
use super::types::{EntryPayload, LogId, Membership, RaftEntry, Types, Voter};
use crate::MetaError;
use crate::log::{GroupLog, LogEntry};
use crate::peers::MetaMember;

/// A stopping node waits so long for its successor.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(2);
/// Leadership is given away only while no voter that answers lags by more: some 10 ms under load.
const HAND_OVER_LAG_MAX: u64 = 100;
/// A replica that lags by no more entries may become a voter.
const LAG_MAX: u64 = 1_000;

/// Who leads and who votes on a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Led {
    pub shard: ShardId,
    pub leader: Voter,
    pub voters: BTreeSet<Voter>,
}

/// How many vote in a grid of so many members: design/metadata.md, Voters.
pub(crate) fn voters_wanted(members: usize) -> usize {
    match members {
        0..=2 => members,
        3..=4 => 3,
        _ => 5,
    }
}

/// Who should vote: those who do and answer stay, gaps are filled by those who answer and have caught up, by number.
/// A silent voter goes only where somebody can take its place.
pub(crate) fn choose_voters(
    members: &[MetaMember],
    now: &BTreeSet<Voter>,
    caught_up: &BTreeSet<Voter>,
) -> BTreeSet<Voter> {
    let wanted = voters_wanted(members.len());
    let known = |voter: &Voter| members.iter().any(|member| member.number == *voter);
    let alive = |voter: &Voter| members.iter().any(|member| member.number == *voter && member.alive);
    let mut chosen: BTreeSet<Voter> = now.iter().copied().filter(alive).take(wanted).collect();
    for candidate in members.iter().filter(|member| member.alive).map(|member| member.number) {
        if chosen.len() < wanted && (now.contains(&candidate) || caught_up.contains(&candidate)) {
            chosen.insert(candidate);
        }
    }
    for silent in now.iter().filter(|voter| known(voter)) {
        if chosen.len() < wanted {
            chosen.insert(*silent);
        }
    }
    chosen
}

/// Who votes, as a snapshot's members say it.
pub(crate) fn voters_of(members: Option<&[u8]>) -> std::io::Result<BTreeSet<Voter>> {
    let Some(members) = members else { return Ok(BTreeSet::new()) };
    Ok(decode_stored_membership(members)?.membership().voter_ids().collect())
}

/// The log entry that gives a group these voters, after `last`.
fn entry_of_voters(last: &RaftEntry, voters: &BTreeSet<Voter>) -> std::io::Result<LogEntry> {
    let nodes: BTreeMap<Voter, EmptyNode> = voters.iter().map(|number| (*number, EmptyNode::new())).collect();
    let membership = Membership::new(vec![voters.clone()], nodes)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error.to_string()))?;
    let id = LogId::new_term_index(last.log_id.leader_id.term, last.log_id.index + 1);
    Ok(encode_entry(&RaftEntry { log_id: id, payload: EntryPayload::Membership(membership) }))
}

impl Group {
    /// Makes this node the only voter, whatever the others would say: for a group of two voters of which the other one
    /// is lost. Nothing acknowledged is lost, since both had it. Must not happen while the other one may still serve.
    pub(crate) async fn force_alone(&self, log: GroupLog) -> Result<(), MetaError> {
        let alone = BTreeSet::from([self.shared.peers.me()]);
        let voters = self.voters()?;
        if voters == alone {
            return Ok(());
        }
        if voters.len() != 2 || !voters.contains(&self.shared.peers.me()) {
            return Err(MetaError::Refused {
                code: ErrorCode::Conflict,
                detail: format!(
                    "shard {} has the voters {voters:?}: only of two voters can one go on without the other, since only then \
                     it has all that was acknowledged",
                    self.shared.shard
                ),
            });
        }
        let exchange = async move {
            let last = log.state().last.unwrap_or(0);
            let read = log.read(last..last + 1, u64::MAX).await?;
            let missing = || MetaError::Damaged("the end of the metadata log is missing".to_owned());
            let io = |source| MetaError::Io { operation: "read the end of the log", source };
            let last = match read.first() {
                Some(entry) => decode_entry(entry).map_err(io)?,
                // All of it is in the snapshot: its id is that of the last purged entry.
                None => {
                    let (_, id) = log.state().purged.ok_or_else(missing)?;
                    RaftEntry { log_id: decode_log_id(&id).map_err(io)?, payload: EntryPayload::Blank }
                }
            };
            let entry = entry_of_voters(&last, &alone).map_err(io)?;
            log.append(vec![entry]).await?;
            Ok(())
        };
        self.exchange(exchange.boxed()).await
    }

    /// Does this node lead the group?
    pub(crate) fn leads(&self) -> bool {
        self.running().is_ok_and(|running| running.raft.is_leader())
    }

    /// Gives leadership to another voter that answers and has all entries, where this node leads; waits a moment for it.
    pub(crate) async fn hand_leadership_over(&self, members: &[MetaMember]) {
        let wanted = {
            let Ok(running) = self.running() else { return };
            let metrics = running.raft.metrics();
            let metrics = metrics.borrow_watched();
            if !metrics.state.is_leader() {
                return;
            }
            let voters: BTreeSet<Voter> = metrics.membership_config.membership().voter_ids().collect();
            let matched = metrics.replication.iter().flatten();
            let mut able: Vec<(Option<u64>, Voter)> = matched
                .filter(|(number, _)| voters.contains(number))
                .filter(|(number, _)| members.iter().any(|member| member.number == **number && member.alive))
                .map(|(number, matched)| (matched.as_ref().map(|id| id.index), *number))
                .collect();
            able.sort_unstable();
            able.last().map(|(_, number)| *number)
        };
        if let Some(to) = wanted.filter(|to| *to != self.shared.peers.me())
            && !self.hand_over_to(to).await
        {
            tracing::debug!(shard = %self.shared.shard, to, "leadership was not taken over in time");
        }
    }

    /// Gives leadership to this voter and waits a moment for it. True where this node leads no more.
    pub(crate) async fn hand_over_to(&self, to: Voter) -> bool {
        let Ok(running) = self.running() else { return false };
        let me = self.shared.peers.me();
        if running.raft.trigger().transfer_leader(to).await.is_err() {
            return false;
        }
        let waiting = running.raft.wait(Some(HAND_OVER_PATIENCE));
        // Until its first entry is applied here, a leader that is left alone may not answer reads.
        let taken = |metrics: &openraft::RaftMetrics<Types>| {
            metrics.current_leader.is_some_and(|leader| leader != me)
                && metrics.last_applied.is_some_and(|id| id.leader_id.term == metrics.current_term)
        };
        waiting.metrics(taken, "hand over").await.is_ok()
    }

    /// Who leads and who votes, as this node knows.
    pub(crate) fn led(&self) -> Option<Led> {
        let running = self.running().ok()?;
        let metrics = running.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let voters = metrics.membership_config.membership().voter_ids().collect();
        Some(Led { shard: self.shared.shard, leader: metrics.current_leader?, voters })
    }

    /// Could this voter take over from this node now: this one leads, no change of voters is under way, the voter answers
    /// and nobody suspects it, and all voters that answer have nearly all entries?
    pub(crate) fn could_take_over(&self, to: Voter, members: &[MetaMember]) -> bool {
        let Ok(running) = self.running() else { return false };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        if !metrics.state.is_leader()
            || metrics.membership_config != metrics.committed_membership_config
            || membership.get_joint_config().len() != 1
            || !membership.voter_ids().any(|voter| voter == to)
        {
            return false;
        }
        let last = metrics.last_log_index.unwrap_or(0);
        let near = |voter: Voter| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(&voter)?.as_ref());
            matched.is_some_and(|id| id.index + HAND_OVER_LAG_MAX >= last)
        };
        let answered = metrics.heartbeat.as_ref().and_then(|all| all.get(&to)?.as_ref());
        let well = |member: &MetaMember| member.number == to && member.alive && !member.suspected;
        let dead = |voter: Voter| members.iter().any(|member| member.number == voter && !member.alive);
        answered.is_some_and(|at| at.elapsed() < SILENCE)
            && members.iter().any(well)
            && membership.voter_ids().all(|voter| near(voter) || voter != to && dead(voter))
    }

    /// The voters as this node knows them.
    pub(crate) fn voters(&self) -> Result<BTreeSet<Voter>, MetaError> {
        let metrics = self.running()?.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        Ok(metrics.membership_config.membership().voter_ids().collect())
    }

    /// Gives a new group its voters; one that has some keeps them.
    pub(crate) async fn found(&self, voters: BTreeSet<Voter>) -> Result<(), MetaError> {
        found(&self.running()?.raft, voters).await.map_err(|reason| self.unavailable(reason))
    }

    /// The leader's step towards the members that there should be: every member is a replica, some vote, nobody else
    /// is left. Does nothing on other nodes. True where it changed something.
    pub(crate) async fn follow_members(&self, members: &[MetaMember]) -> Result<bool, MetaError> {
        let raft = self.running()?.raft;
        if !raft.is_leader() {
            return Ok(false);
        }
        let (voters, replicas, caught_up) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.membership_config != metrics.committed_membership_config {
                return Ok(false);
            }
            let membership = metrics.membership_config.membership();
            let voters: BTreeSet<Voter> = membership.voter_ids().collect();
            let replicas: BTreeSet<Voter> = membership.nodes().map(|(number, _)| *number).collect();
            let last = metrics.last_log_index.unwrap_or(0);
            let matched = metrics.replication.iter().flatten();
            let caught_up: BTreeSet<Voter> = matched
                .filter(|(_, matched)| matched.as_ref().is_some_and(|id| id.index + LAG_MAX >= last))
                .map(|(number, _)| *number)
                .collect();
            (voters, replicas, caught_up)
        };
        let failed = |error: &dyn std::fmt::Display| self.unavailable(error.to_string());
        let newcomers: BTreeMap<Voter, EmptyNode> = members
            .iter()
            .filter(|member| !replicas.contains(&member.number))
            .map(|member| (member.number, EmptyNode::new()))
            .collect();
        if !newcomers.is_empty() {
            let change = ChangeMembers::AddNodes(newcomers);
            raft.change_membership(change, true).await.map_err(|error| failed(&error))?;
            return Ok(true);
        }
        let wanted = choose_voters(members, &voters, &caught_up);
        if !wanted.is_empty() && wanted != voters {
            tracing::info!(shard = %self.shared.shard, from = ?voters, to = ?wanted, "voters change");
            raft.change_membership(wanted, true).await.map_err(|error| failed(&error))?;
            return Ok(true);
        }
        let gone: BTreeSet<Voter> = replicas
            .into_iter()
            .filter(|number| {
                !voters.contains(number) && members.iter().all(|member| member.number != *number)
            })
            .collect();
        if !gone.is_empty() {
            let change = ChangeMembers::RemoveNodes(gone);
            raft.change_membership(change, true).await.map_err(|error| failed(&error))?;
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;

//! Who replicates a group, and who votes.

use std::collections::{BTreeMap, BTreeSet};

use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, EmptyNode};

use super::supervisor::{Group, found};
use super::types::Voter;
use crate::MetaError;
use crate::peers::MetaMember;

/// A replica that lags by no more entries may become a voter.
const LAG_MAX: u64 = 1_000;

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

impl Group {
    /// Does this node lead the group?
    pub(crate) fn leads(&self) -> bool {
        self.running().is_ok_and(|running| running.raft.is_leader())
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

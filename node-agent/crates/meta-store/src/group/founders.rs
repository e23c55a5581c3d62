//! Who votes first on a shard that was split off.
//!
//! Invariant: a founder holds the child, with a snapshot on its drives, before it is named. So a voter that comes back has
//! its file and its log, however long it was away; whoever was away during the split is not a founder and becomes a
//! voter as a newcomer does. The parent's log keeps the first choice (`SplitCommand::Found`).

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use grid_types::ShardId;

use super::types::Voter;
use super::wire;
use crate::peers::{MetaMember, MetaPeers};

/// For the answer whether a node holds a shard.
const HOLDS_PATIENCE: Duration = Duration::from_secs(1);
/// Voters that answer but do not hold the child after so long become voters later: until then nobody owns its range.
const STRAGGLER_PATIENCE: Duration = Duration::from_secs(1);
/// After so long the child begins on whatever nodes hold it: the others will never have it from their parent.
const MAJORITY_PATIENCE: Duration = Duration::from_secs(60);

/// The other members that hold the shard, as they say.
pub(crate) async fn holders(peers: &MetaPeers, shard: ShardId) -> BTreeSet<Voter> {
    let asked = peers.others().into_iter().filter(|member| member.alive).map(|member| async move {
        let message = wire::encode_value(&shard.0);
        let answer = peers.call(member.node, wire::HOLDS, message, HOLDS_PATIENCE).await.ok()?;
        wire::decode_value(answer).unwrap_or(false).then_some(member.number)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The founders: of those that hold the child the parent's voters first, as many as vote on the parent. `None` while it is
/// better to wait. `waited`: since the range was handed over.
pub(crate) fn choose_founders(
    voters: &BTreeSet<Voter>,
    holders: &BTreeSet<Voter>,
    members: &[MetaMember],
    waited: Duration,
) -> Option<BTreeSet<Voter>> {
    let mut chosen: BTreeSet<Voter> = voters.intersection(holders).copied().collect();
    for holder in holders {
        if chosen.len() < voters.len() {
            chosen.insert(*holder);
        }
    }
    let alive = |voter: &Voter| members.iter().any(|member| member.number == *voter && member.alive);
    let complete = voters.iter().filter(|voter| alive(voter)).all(|voter| holders.contains(voter));
    let needed = if waited < MAJORITY_PATIENCE { voters.len() / 2 + 1 } else { 1 };
    (chosen.len() >= needed && (complete || waited >= STRAGGLER_PATIENCE)).then_some(chosen)
}

#[cfg(test)]
#[path = "founders_tests.rs"]
mod tests;

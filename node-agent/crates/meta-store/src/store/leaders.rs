//! Which leadership moves next, and when: by how fit nodes are, and so that each leads its share. Pure.
//!
//! Every node decides for the shards that it leads. All see the same leaders, give or take a second, and would make the
//! same next move: only the node that it is about makes it, so that moves come one at a time.
//!
//! Invariants: a move makes the spread strictly more even, or takes a shard from a node that should lead nothing, so that
//! moves end; what a node is worth falls with its score at once, and rises only after a calm time, so that a score that
//! wobbles moves little; the root shard moves only away from a node that should lead nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_types::{Score, ShardId};

use crate::group::Led;
use crate::peers::{MetaMember, VoterNumber};

/// Between two moves: what a move changed is known to all by then.
const PAUSE: Duration = Duration::from_secs(2);
/// What a node is worth rises at the earliest so long after it fell.
const CALM: Duration = Duration::from_secs(300);
/// Where another node should move first and does not (a replica lags, or it does not see it), this one goes on.
const STALL: Duration = Duration::from_secs(60);
/// A shard whose leadership was not taken over is left alone for so long.
const AFTER_FAILURE: Duration = Duration::from_secs(15);
/// The lowest score of each share, and the share: a node of 4 leads twice as many shards as one of 2.
const SHARES: [(u8, u32); 3] = [(70, 4), (45, 2), (20, 1)];
const SHARE_MAX: u32 = 4;
/// A score must be so far above the lowest one of a higher share.
const RISE: u8 = 10;

/// Give the leadership of a shard to a voter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub shard: ShardId,
    pub to: VoterNumber,
}

/// What a node is worth.
#[derive(Debug, Clone, Copy)]
struct Share {
    share: u32,
    fell: Option<Duration>,
}

/// Decides for one node. Time is since boot.
#[derive(Debug)]
pub(super) struct Leaders {
    me: VoterNumber,
    /// An uneven spread must last so long before something moves.
    settle: Duration,
    shares: BTreeMap<VoterNumber, Share>,
    /// Since when the next move is this node's, or another's.
    mine: Option<Duration>,
    others: Option<Duration>,
    next: Duration,
    failed: BTreeMap<ShardId, Duration>,
}

/// A move that makes the spread more even; the greatest is made first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// It takes a shard from a node that should lead nothing.
    evacuates: bool,
    gain: u32,
    /// To one that does not lead the root shard.
    spares_root: bool,
    order: std::cmp::Reverse<(VoterNumber, ShardId, VoterNumber)>,
}

fn share_of(score: Score, margin: u8) -> u32 {
    let fits = SHARES.iter().find(|(lowest, _)| score.get() >= lowest.saturating_add(margin));
    fits.map_or(0, |(_, share)| *share)
}

impl Leaders {
    pub(super) fn new(me: VoterNumber, settle: Duration) -> Self {
        Self {
            me,
            settle,
            shares: BTreeMap::new(),
            mine: None,
            others: None,
            next: Duration::ZERO,
            failed: BTreeMap::new(),
        }
    }

    /// The move that this node should make now. `able`: this node leads the shard, no voter of it that answers lags, and
    /// this one could take over.
    pub(super) fn next(
        &mut self,
        now: Duration,
        members: &[MetaMember],
        shards: &[Led],
        able: impl Fn(Move) -> bool,
    ) -> Option<Move> {
        self.weigh(now, members);
        self.failed.retain(|_, until| now < *until);
        let candidates = self.candidates(shards);
        let first = candidates.iter().max().map(|candidate| candidate.order.0.0);
        let Some(first) = first else {
            (self.mine, self.others) = (None, None);
            return None;
        };
        let stalled = if first == self.me {
            self.others = None;
            false
        } else {
            now.saturating_sub(*self.others.get_or_insert(now)) >= STALL
        };
        let own = candidates.into_iter().filter(|candidate| candidate.order.0.0 == self.me);
        if first != self.me && !stalled {
            self.mine = None;
            return None;
        }
        let since = *self.mine.get_or_insert(now);
        if now < self.next || now.saturating_sub(since) < self.settle {
            return None;
        }
        let mut own: Vec<Candidate> = own.collect();
        own.sort_unstable_by(|left, right| right.cmp(left));
        let mut moves = own.iter().map(|one| Move { shard: one.order.0.1, to: one.order.0.2 });
        let chosen = moves.find(|one| !self.failed.contains_key(&one.shard) && able(*one))?;
        self.next = now + PAUSE;
        Some(chosen)
    }

    /// The leadership of this shard was not taken over.
    pub(super) fn not_taken(&mut self, now: Duration, shard: ShardId) {
        self.failed.insert(shard, now + AFTER_FAILURE);
    }

    fn weigh(&mut self, now: Duration, members: &[MetaMember]) {
        self.shares.retain(|number, _| members.iter().any(|member| member.number == *number));
        for member in members {
            let score = if member.alive { member.score } else { Score::LOCKED };
            let known =
                self.shares.entry(member.number).or_insert(Share { share: share_of(score, 0), fell: None });
            let (low, high) = (share_of(score, RISE), share_of(score, 0));
            if high < known.share {
                *known = Share { share: high, fell: Some(now) };
            } else if low > known.share && known.fell.is_none_or(|fell| now.saturating_sub(fell) >= CALM) {
                *known = Share { share: low, fell: known.fell };
            }
        }
    }

    fn share(&self, number: VoterNumber) -> u32 {
        self.shares.get(&number).map_or(0, |share| share.share)
    }

    /// How much a node leads for what it is worth.
    fn load(&self, leads: u32, share: u32) -> u32 {
        leads * (SHARE_MAX / share)
    }

    fn candidates(&self, shards: &[Led]) -> Vec<Candidate> {
        let mut leads: BTreeMap<VoterNumber, u32> = BTreeMap::new();
        for led in shards.iter().filter(|led| led.shard != ShardId::ROOT) {
            *leads.entry(led.leader).or_default() += 1;
        }
        let count = |number: VoterNumber| leads.get(&number).copied().unwrap_or(0);
        let root = shards.iter().find(|led| led.shard == ShardId::ROOT).map(|led| led.leader);
        let mut candidates = Vec::new();
        for led in shards {
            let from = self.share(led.leader);
            for to in led.voters.iter().filter(|to| **to != led.leader && self.share(**to) > 0) {
                let after = self.load(count(*to) + 1, self.share(*to));
                let gain = match from {
                    // The least loaded first.
                    0 => u32::MAX - after,
                    _ if led.shard == ShardId::ROOT => 0,
                    _ => self.load(count(led.leader), from).saturating_sub(after),
                };
                if gain > 0 {
                    candidates.push(Candidate {
                        evacuates: from == 0,
                        gain,
                        spares_root: root != Some(*to),
                        order: std::cmp::Reverse((led.leader, led.shard, *to)),
                    });
                }
            }
        }
        candidates
    }
}

#[cfg(test)]
#[path = "leaders_tests.rs"]
mod tests;

//! The decision. It is told offers, what members say, and how much time has passed; it says which time it is and who
//! vouches for it. No clock, no net and no disk here.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_types::{NodeId, Timestamp};

use super::agreement::{Interval, agreeing};
use super::config::{
    AHEAD_MAX, CLOCKS_APART_MAX, DRIFT_PPM, FLOOR_EARLIEST, FLOOR_LOSS_PPM, FLOOR_SLACK, GRID_TIME_AFTER,
    HOPS_MAX, JUMP_MAX, PEER_COUNTS_FOR, PEER_SHOWN_FOR, PROOF_STALE_AFTER, TIME_MAX,
};
use super::source::{Strength, TimeSource};

/// A time that was true at a moment of the clock that never steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) boot: Duration,
    pub(super) time: Timestamp,
}

impl Anchor {
    /// Which time it is at another moment, earlier or later.
    pub(super) fn at(self, boot: Duration) -> Timestamp {
        match boot.checked_sub(self.boot) {
            Some(later) => self.time.plus(later),
            None => Timestamp(self.time.0.saturating_sub(micros(self.boot - boot))),
        }
    }

    /// The same for a lower bound, which loses a little of what passes.
    pub(super) fn at_least(self, boot: Duration) -> Timestamp {
        let passed = boot.saturating_sub(self.boot);
        self.time.plus(passed.saturating_sub(part(passed, FLOOR_LOSS_PPM)))
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn part(of: Duration, ppm: u128) -> Duration {
    Duration::from_micros(u64::try_from(of.as_micros() * ppm / 1_000_000).unwrap_or(u64::MAX))
}

/// Why a time is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The one thing that is known for sure.
    #[error("it is {} s before the floor, the time before which it cannot be", .floor.since(*.offered).as_secs())]
    BelowFloor {
        /// What was offered.
        offered: Timestamp,
        /// The floor at that moment.
        floor: Timestamp,
    },
    /// No board lies in a drawer for so long.
    #[error("it is more than ten years after the last time that was known, or after 2199")]
    TooFarAhead,
    /// A reference that contradicts references.
    #[error("it is {} s off what NTP or other members said before", .0.as_secs())]
    Jump(Duration),
    /// There is a better proof.
    #[error("the time is proven already: {0}")]
    Worse(TimeSource),
    /// Servers or members contradict each other, and no majority agrees.
    #[error("{0} clocks were asked and no majority of them agrees")]
    NoAgreement(usize),
    /// By configuration.
    #[error("the clock of the host counts as proven here ([clock] source = \"host\"): set that one")]
    Host,
    /// It is shutting down.
    #[error("this node is stopping")]
    Stopped,
}

/// A time that somebody vouches for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) source: TimeSource,
    pub(super) strength: Strength,
    /// 0 = first hand.
    pub(super) hops: u8,
    /// When it was which time.
    pub(super) anchor: Anchor,
    pub(super) uncertainty: Duration,
}

/// What a member said of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerReading {
    pub(super) anchor: Anchor,
    /// Its own uncertainty, and half of the round trip.
    pub(super) uncertainty: Duration,
    pub(super) source: TimeSource,
    pub(super) strength: Option<Strength>,
    pub(super) hops: u8,
    /// The time before which it cannot be, by what it knows.
    pub(super) floor: Timestamp,
}

/// The proof that counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    pub(super) source: TimeSource,
    pub(super) strength: Strength,
    pub(super) hops: u8,
    uncertainty: Duration,
}

/// The time of one node.
pub(super) struct ProvenTime {
    me: NodeId,
    floor: Anchor,
    estimate: Anchor,
    proof: Option<Proof>,
    grid: bool,
    /// The host's clock is the proof.
    host: bool,
    peers: BTreeMap<NodeId, PeerReading>,
    /// Since when a majority is up and nobody has a proof.
    waiting_since: Option<Duration>,
    /// What each source was last refused for, until it is taken.
    refused: BTreeMap<&'static str, Refusal>,
}

impl ProvenTime {
    /// Nothing proven yet. `floor` is the saved one.
    pub(super) fn new(me: NodeId, floor: Option<Timestamp>, boot: Duration) -> Self {
        let floor = Anchor { boot, time: floor.unwrap_or_default().max(FLOOR_EARLIEST) };
        Self {
            me,
            floor,
            estimate: floor,
            proof: None,
            grid: false,
            host: false,
            peers: BTreeMap::new(),
            waiting_since: None,
            refused: BTreeMap::new(),
        }
    }

    /// The host's clock shows `time`, and counts as proven.
    pub(super) fn follow_host(&mut self, anchor: Anchor) {
        self.host = true;
        self.estimate = anchor;
        let uncertainty = CLOCKS_APART_MAX / 2;
        self.proof =
            Some(Proof { source: TimeSource::Host, strength: Strength::Reference, hops: 0, uncertainty });
    }

    pub(super) fn source(&self) -> TimeSource {
        match self.proof {
            Some(proof) => proof.source,
            None if self.grid => TimeSource::Grid,
            None => TimeSource::Unproven,
        }
    }

    pub(super) fn proof(&self) -> Option<Proof> {
        self.proof
    }

    pub(super) fn estimate(&self) -> Anchor {
        self.estimate
    }

    pub(super) fn floor(&self) -> Anchor {
        self.floor
    }

    /// How far the time may be off, where it is proven.
    pub(super) fn uncertainty(&self, boot: Duration) -> Option<Duration> {
        let passed = boot.saturating_sub(self.estimate.boot);
        self.proof.map(|proof| proof.uncertainty.saturating_add(part(passed, DRIFT_PPM)))
    }

    pub(super) fn refused(&self) -> &BTreeMap<&'static str, Refusal> {
        &self.refused
    }

    /// What members said lately.
    pub(super) fn peers(&self) -> &BTreeMap<NodeId, PeerReading> {
        &self.peers
    }

    /// Takes a time where it can be right and is as good as the one that there is.
    pub(super) fn offer(&mut self, offer: Offer, boot: Duration) -> Result<(), Refusal> {
        let judged = self.judge(&offer, boot);
        match judged {
            Ok(()) => self.refused.remove(offer.source.word()),
            // That something better is there is no news of the source.
            Err(Refusal::Worse(_) | Refusal::Host) => self.refused.remove(offer.source.word()),
            Err(refusal) => self.refused.insert(offer.source.word(), refusal),
        };
        judged?;
        self.take(offer, boot);
        Ok(())
    }

    /// An operator's word that the floor itself is wrong: what he says counts, whatever there was.
    pub(super) fn overrule(&mut self, offer: Offer, boot: Duration) -> Result<(), Refusal> {
        if self.host {
            return Err(Refusal::Host);
        }
        let time = offer.anchor.at(boot);
        if time > TIME_MAX {
            return Err(Refusal::TooFarAhead);
        }
        self.floor = Anchor { boot, time: Timestamp(time.0.saturating_sub(micros(FLOOR_SLACK))) };
        self.refused.clear();
        self.peers.clear();
        self.take(offer, boot);
        Ok(())
    }

    /// A source that was asked has nothing to say in one voice.
    pub(super) fn disagree(&mut self, source: TimeSource, asked: usize) {
        self.refused.insert(source.word(), Refusal::NoAgreement(asked));
    }

    fn judge(&self, offer: &Offer, boot: Duration) -> Result<(), Refusal> {
        if self.host {
            return Err(Refusal::Host);
        }
        let (offered, floor) = (offer.anchor.at(boot), self.floor.at_least(boot));
        if offered < floor {
            return Err(Refusal::BelowFloor { offered, floor });
        }
        let operator = offer.source == TimeSource::Operator;
        if offered > TIME_MAX || !operator && offered > floor.plus(AHEAD_MAX) {
            return Err(Refusal::TooFarAhead);
        }
        let Some(proof) = self.proof else { return Ok(()) };
        let stale = boot.saturating_sub(self.estimate.boot) >= PROOF_STALE_AFTER;
        let better = (offer.strength, u8::MAX - offer.hops) >= (proof.strength, u8::MAX - proof.hops);
        if !better && !stale {
            return Err(Refusal::Worse(proof.source));
        }
        let off = Duration::from_micros(offered.0.abs_diff(self.estimate.at(boot).0));
        let both_references = offer.strength == Strength::Reference && proof.strength == Strength::Reference;
        if both_references && off > JUMP_MAX { Err(Refusal::Jump(off)) } else { Ok(()) }
    }

    fn take(&mut self, offer: Offer, boot: Duration) {
        let Offer { source, strength, hops, anchor, uncertainty } = offer;
        self.proof = Some(Proof { source, strength, hops, uncertainty });
        self.grid = false;
        self.waiting_since = None;
        self.estimate = Anchor { boot, time: anchor.at(boot) };
        // An RTC proves that some time has passed, not how much: it must not shut out what is right later.
        if strength > Strength::Rtc {
            let behind = Timestamp(self.estimate.time.0.saturating_sub(micros(FLOOR_SLACK)));
            self.floor = Anchor { boot, time: behind.max(self.floor.at_least(boot)) };
        }
    }

    /// A member answered.
    pub(super) fn peer(&mut self, node: NodeId, reading: PeerReading, boot: Duration) {
        if node == self.me {
            return;
        }
        self.peers.insert(node, reading);
        if !self.host {
            self.learn_from_peers(boot);
        }
    }

    /// A member is none any more, or another one by the same name.
    pub(super) fn forget_peers_but(&mut self, members: &[NodeId]) {
        self.peers.retain(|node, _| members.contains(node));
    }

    fn fresh(&self, boot: Duration) -> impl Iterator<Item = (NodeId, &PeerReading)> {
        let counts = move |reading: &PeerReading| boot.saturating_sub(reading.anchor.boot) <= PEER_COUNTS_FOR;
        self.peers.iter().filter(move |(_, reading)| counts(reading)).map(|(node, reading)| (*node, reading))
    }

    /// Members with a proof that is not this node's own on its way back.
    fn provers(&self, boot: Duration) -> Vec<(NodeId, Strength, PeerReading)> {
        let from_here = TimeSource::Peer(self.me);
        self.fresh(boot)
            .filter(|(_, reading)| reading.source != from_here && reading.hops < HOPS_MAX)
            .filter_map(|(node, reading)| Some((node, reading.strength?, *reading)))
            .collect()
    }

    /// The strongest proofs count alone; of those a majority must agree, within what is no trouble between members.
    fn learn_from_peers(&mut self, boot: Duration) {
        let mut provers = self.provers(boot);
        let Some(strongest) = provers.iter().map(|(_, strength, _)| *strength).max() else { return };
        provers.retain(|(_, strength, _)| *strength == strongest);
        let intervals: Vec<Interval> = provers
            .iter()
            .map(|(_, _, reading)| Interval {
                time: reading.anchor.at(boot),
                radius: micros(reading.uncertainty.saturating_add(CLOCKS_APART_MAX / 2)),
            })
            .collect();
        let agreeing = agreeing(&intervals);
        let nearest = agreeing.into_iter().map(|at| &provers[at]);
        let Some((node, strength, reading)) =
            nearest.min_by_key(|(_, _, reading)| (reading.hops, reading.uncertainty))
        else {
            // Who has a proof of its own needs no agreement of others.
            if self.proof.is_none() {
                self.disagree(TimeSource::Peer(self.me), provers.len());
            }
            return;
        };
        let offer = Offer {
            source: TimeSource::Peer(*node),
            strength: *strength,
            hops: reading.hops + 1,
            anchor: reading.anchor,
            uncertainty: reading.uncertainty,
        };
        // Why not is remembered, and told where it matters.
        let _ = self.offer(offer, boot);
    }

    /// Time passed. `voters` are those of the root shard, this node among them if it is one.
    pub(super) fn tick(&mut self, boot: Duration, voters: &[NodeId]) {
        let shown = |reading: &PeerReading| boot.saturating_sub(reading.anchor.boot) <= PEER_SHOWN_FOR;
        self.peers.retain(|_, reading| shown(reading));
        if self.proof.is_some() {
            self.waiting_since = None;
            return;
        }
        let there = |node: &NodeId| *node == self.me || self.fresh(boot).any(|(fresh, _)| fresh == *node);
        let majority = voters.iter().filter(|voter| there(voter)).count() * 2 > voters.len();
        if !majority || !self.provers(boot).is_empty() {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(boot);
        let agreed = self
            .fresh(boot)
            .any(|(node, reading)| reading.source == TimeSource::Grid && voters.contains(&node));
        if !self.grid && !agreed && boot.saturating_sub(since) < GRID_TIME_AFTER {
            return;
        }
        self.grid = true;
        let ours = self.estimate.at(boot);
        let possible = |time: &Timestamp| *time <= self.floor.at_least(boot).plus(AHEAD_MAX);
        let theirs = self.fresh(boot).flat_map(|(_, reading)| {
            let running = (reading.source == TimeSource::Grid).then(|| reading.anchor.at(boot));
            let floor = Anchor { boot: reading.anchor.boot, time: reading.floor }.at_least(boot);
            running.into_iter().chain([floor])
        });
        let time = theirs.filter(possible).max().unwrap_or_default().max(ours);
        self.estimate = Anchor { boot, time };
    }
}

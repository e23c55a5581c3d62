//! What is known of the time, for whoever shows or saves it.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_types::{NodeId, Timestamp};

use super::config::CLOCKS_APART_MAX;
use super::core::{Anchor, Proof, ProvenTime, micros};
use super::source::TimeSource;

/// The clock of another member, against this node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerClock {
    /// Whose.
    pub node: NodeId,
    /// Who vouches for it.
    pub source: TimeSource,
    /// Microseconds that it is ahead; negative where it is behind.
    pub ahead_micros: i64,
    /// The measurement is no further off.
    pub uncertainty: Duration,
}

impl PeerClock {
    /// Surely further apart than members' clocks should be.
    pub fn is_apart(&self) -> bool {
        let surely = self.ahead_micros.unsigned_abs().saturating_sub(micros(self.uncertainty));
        surely > micros(CLOCKS_APART_MAX)
    }
}

/// The time of this node as far as it is known.
#[derive(Debug, Clone)]
pub struct TimeStatus {
    /// Who vouches for it.
    pub source: TimeSource,
    /// How far it may be off, where it is proven.
    pub uncertainty: Option<Duration>,
    /// What was not believed, and why: source and sentence.
    pub refused: Vec<(&'static str, String)>,
    /// Sources that were asked and said nothing of use, and why.
    pub silent: Vec<(String, String)>,
    /// The clocks of members that were asked lately.
    pub peers: Vec<PeerClock>,
    pub(super) proof: Option<Proof>,
    pub(super) estimate: Anchor,
    pub(super) floor: Anchor,
}

impl TimeStatus {
    /// The time before which it cannot be: what the drives are to keep. Lies ahead of no true time.
    pub fn floor(&self, since_boot: Duration) -> Timestamp {
        self.floor.at_least(since_boot)
    }
}

pub(super) fn status_of(core: &ProvenTime, boot: Duration, silent: &BTreeMap<String, String>) -> TimeStatus {
    let peers = core.peers().iter().map(|(node, reading)| {
        let (theirs, ours) = (reading.anchor.at(boot).0, core.estimate().at(boot).0);
        let apart = i64::try_from(theirs.abs_diff(ours)).unwrap_or(i64::MAX);
        let own = core.uncertainty(boot).unwrap_or_default();
        PeerClock {
            node: *node,
            source: reading.source,
            ahead_micros: if theirs >= ours { apart } else { -apart },
            uncertainty: reading.uncertainty.saturating_add(own),
        }
    });
    TimeStatus {
        source: core.source(),
        uncertainty: core.uncertainty(boot),
        refused: core.refused().iter().map(|(source, refusal)| (*source, refusal.to_string())).collect(),
        silent: silent.iter().map(|(source, why)| (source.clone(), why.clone())).collect(),
        peers: peers.collect(),
        proof: core.proof(),
        estimate: core.estimate(),
        floor: core.floor(),
    }
}

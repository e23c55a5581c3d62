//! Who vouches for a time.

use std::fmt;

use grid_types::NodeId;
use serde::{Deserialize, Serialize};
use sys::TimeTrust;

/// Who vouches for the time of a node. Part of gossip and of `/time/read`: variants are only ever added at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeSource {
    /// Nobody.
    #[default]
    Unproven,
    /// The members, of which none has a proof: see `TimeTrust::Grid`.
    Grid,
    /// The clock of the host, by configuration.
    Host,
    /// The clock with a battery.
    Rtc,
    /// Servers of the Network Time Protocol.
    Ntp,
    /// An operator.
    Operator,
    /// Another member that has a proof.
    Peer(NodeId),
}

impl TimeSource {
    /// One word each, for labels and for `--json`.
    pub const WORDS: [&'static str; 7] = ["unproven", "grid", "host", "rtc", "ntp", "operator", "peer"];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Grid => "grid",
            Self::Host => "host",
            Self::Rtc => "rtc",
            Self::Ntp => "ntp",
            Self::Operator => "operator",
            Self::Peer(_) => "peer",
        }
    }

    /// How far a time of this source is to be believed.
    pub fn trust(self) -> TimeTrust {
        match self {
            Self::Unproven => TimeTrust::Unproven,
            Self::Grid => TimeTrust::Grid,
            _ => TimeTrust::Proven,
        }
    }
}

impl fmt::Display for TimeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grid => f.write_str("grid time"),
            Self::Peer(node) => write!(f, "peer {node}"),
            other => f.write_str(other.word()),
        }
    }
}

/// How much a proof is worth, whoever handed it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Strength {
    /// A battery may be weak, an RTC set to local time.
    Rtc,
    /// A person looked at a clock.
    Operator,
    /// NTP, or a host that somebody keeps right.
    Reference,
}

//! The time of the node as the operator's door tells it.

use std::time::Duration;

use admin_api::AdminError;
use admin_api::types::{ClockInfo, ClockTrouble, MemberClock};
use grid_types::{ErrorCode, NodeId};
use membership::{PeerClock, TimeRefusal, TimeSource, TimeStatus};
use sys::TimeTrust;

use crate::timekeeping::Timekeeping;

pub fn clock_info(time: &Timekeeping) -> ClockInfo {
    let (status, reading) = (time.status(), time.reading());
    let trouble =
        |source: &str, reason: &String| ClockTrouble { source: source.to_owned(), reason: reason.clone() };
    ClockInfo {
        time: reading.time,
        trust: trust_word(reading.trust).to_owned(),
        source: status.source.word().to_owned(),
        peer: match status.source {
            TimeSource::Peer(node) => Some(node),
            _ => None,
        },
        uncertainty_us: status.uncertainty.map(micros),
        floor: time.floor(),
        refused: status.refused.iter().map(|(source, reason)| trouble(source, reason)).collect(),
        silent: status.silent.iter().map(|(source, reason)| trouble(source, reason)).collect(),
        members: status.peers.iter().map(of_peer).collect(),
    }
}

/// The clock of a member as this node compared it; its own differs from itself by nothing.
pub fn member_clock(status: &TimeStatus, member: NodeId, here: bool) -> Option<MemberClock> {
    if here {
        return Some(MemberClock {
            node: member,
            source: status.source.word().to_owned(),
            ahead_us: 0,
            uncertainty_us: 0,
            apart: false,
        });
    }
    status.peers.iter().find(|peer| peer.node == member).map(of_peer)
}

/// What an operator should look at.
pub fn clock_warnings(status: &TimeStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    match status.source.trust() {
        TimeTrust::Proven => {}
        TimeTrust::Grid => warnings.push(
            "no member knows the time: grid time runs on from the latest one that was known; `shoal clock set` proves it"
                .to_owned(),
        ),
        TimeTrust::Unproven => {
            warnings.push("the time of this node is not proven; `shoal clock set` proves it".to_owned());
        }
    }
    if status.source.trust() != TimeTrust::Proven {
        let silent =
            status.silent.iter().map(|(source, reason)| format!("time: {source} does not tell: {reason}"));
        warnings.extend(silent);
    }
    let refused = status.refused.iter();
    warnings.extend(refused.map(|(source, reason)| format!("time: {source} is not believed: {reason}")));
    for peer in status.peers.iter().filter(|peer| is_trouble(peer, status)) {
        let seconds = peer.ahead_micros.unsigned_abs() / 1_000_000;
        let side = if peer.ahead_micros > 0 { "ahead of" } else { "behind" };
        warnings.push(format!(
            "the clock of node {} is {seconds} s {side} this one's: see which of the two is wrong; S3 requests are refused when a \
             clock is 15 minutes off",
            peer.node
        ));
    }
    warnings
}

/// A refusal of an operator's time.
pub fn of_time(refusal: &TimeRefusal) -> AdminError {
    let (code, advice) = match refusal {
        TimeRefusal::Stopped => (ErrorCode::Unavailable, ""),
        TimeRefusal::BelowFloor { .. } => (
            ErrorCode::Conflict,
            "; if that is wrong, --lower-floor, after which stamps of objects may go back",
        ),
        _ => (ErrorCode::Conflict, ""),
    };
    AdminError::of(code, format!("{refusal}{advice}"))
}

/// Who has no proof is known to be behind.
fn is_trouble(peer: &PeerClock, status: &TimeStatus) -> bool {
    let proven = |source: TimeSource| source.trust() == TimeTrust::Proven;
    peer.is_apart() && proven(peer.source) && proven(status.source)
}

fn of_peer(peer: &PeerClock) -> MemberClock {
    MemberClock {
        node: peer.node,
        source: peer.source.word().to_owned(),
        ahead_us: peer.ahead_micros,
        uncertainty_us: micros(peer.uncertainty),
        apart: peer.is_apart(),
    }
}

fn trust_word(trust: TimeTrust) -> &'static str {
    match trust {
        TimeTrust::Unproven => "unproven",
        TimeTrust::Grid => "grid",
        TimeTrust::Proven => "proven",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

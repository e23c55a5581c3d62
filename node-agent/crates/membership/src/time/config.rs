//! Limits and periods.

use std::path::PathBuf;
use std::time::Duration;

use grid_types::Timestamp;

/// No node runs this release before 2026: the floor of a node that never had a proof.
pub const FLOOR_EARLIEST: Timestamp = Timestamp::from_secs(1_767_225_600);
/// A majority of voters without any proof for so long agrees on grid time.
pub const GRID_TIME_AFTER: Duration = Duration::from_secs(5 * 60);
/// Two clocks further apart than this are told to the operator. NTP holds hosts within some 10 ms of each other, a bad link
/// within 100; S3 refuses from 15 minutes on.
pub const CLOCKS_APART_MAX: Duration = Duration::from_secs(1);
/// Configured NTP servers, and addresses that are asked in one round.
pub const NTP_SERVERS_MAX: usize = 8;

/// A floor lies so far before the proof that it came from: clocks of hosts are corrected backwards by seconds.
pub(super) const FLOOR_SLACK: Duration = Duration::from_secs(60);
/// The floor loses so much of each second that passes, in millionths: the kernel bends a clock by 500 at most.
pub(super) const FLOOR_LOSS_PPM: u128 = 1_000;
/// How far a running clock is off after a while, in millionths: crystals of small boards have 20 to 50, warm ones more.
pub(super) const DRIFT_PPM: u128 = 100;
/// A time further ahead of the floor is not believed: an RTC with a dying battery, a mad server. Boards lie in drawers for
/// years, not for ten. An operator's order may ...
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);
/// ... but not beyond this (2200-01-01), which is a slip of the hand. Keeps dates within what headers can write.
pub(super) const TIME_MAX: Timestamp = Timestamp::from_secs(7_258_118_400);
/// A reference that leaves what references said before by more than this is not believed (ntpd's panic threshold).
pub(super) const JUMP_MAX: Duration = Duration::from_secs(1_000);
/// An older proof is replaced by any other one, better or not.
pub(super) const PROOF_STALE_AFTER: Duration = Duration::from_secs(86_400);
/// A proof is handed on so often at most.
pub(super) const HOPS_MAX: u8 = 8;

/// Between two rounds of questions to members while nothing is proven ...
pub(super) const PEERS_EVERY_UNPROVEN: Duration = Duration::from_secs(5);
/// ... and else. A question is a packet of some 100 bytes.
pub(super) const PEERS_EVERY: Duration = Duration::from_secs(60);
/// Members asked in one round: all voters, and others in turn.
pub(super) const PEERS_ASKED_MAX: usize = 8;
/// Longer answers say too little of the time.
pub(super) const PEER_DEADLINE: Duration = Duration::from_secs(2);
/// What a member said counts for so long: it is up, and this is its clock.
pub(super) const PEER_COUNTS_FOR: Duration = Duration::from_secs(30);
/// Its offset is shown for so long.
pub(super) const PEER_SHOWN_FOR: Duration = Duration::from_secs(180);

/// Between the first two questions to NTP while it proves nothing: RFC 4330 forbids less than 15 s. It doubles ...
pub(super) const NTP_EVERY_FIRST: Duration = Duration::from_secs(16);
/// ... so often: a network that comes up later is noticed within two minutes ...
pub(super) const NTP_DOUBLINGS_MAX: u32 = 3;
/// ... and else (NTP's own upper default; a board drifts some 50 ms meanwhile).
pub(super) const NTP_EVERY: Duration = Duration::from_secs(1_024);
/// Servers that say that they are asked too often get this pause.
pub(super) const NTP_PAUSE: Duration = Duration::from_secs(3_600);
/// Finding the address of a server and its answer.
pub(super) const NTP_DEADLINE: Duration = Duration::from_secs(3);

/// Between two reads of the RTC while nothing is proven: it may be set from outside.
pub(super) const RTC_EVERY: Duration = Duration::from_secs(60);

/// Where time comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeConfig {
    /// The host's clock counts as proven, and nothing else is asked.
    pub host: bool,
    /// `HOST` or `HOST:PORT`.
    pub ntp: Vec<String>,
    /// A clock with a battery.
    pub rtc: Option<PathBuf>,
}

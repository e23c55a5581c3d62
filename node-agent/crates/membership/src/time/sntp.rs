//! Asks servers of the Network Time Protocol for the time: a client of SNTPv4 (RFC 4330) with the checks of RFC 5905 that a
//! client can make. No library: those at hand read the system's clocks themselves, and the packet is 48 bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use grid_types::Timestamp;
use sys::{Clock, Random};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::config::{NTP_DEADLINE, NTP_SERVERS_MAX};
use super::core::{Anchor, micros};

const PACKET_BYTES: usize = 48;
const PORT: u16 = 123;
/// Version 4, mode 3 (client), no leap second announced.
const CLIENT: u8 = 4 << 3 | 3;
const MODE_SERVER: u8 = 4;
/// The server's clock was never set.
const LEAP_UNKNOWN: u8 = 3;
const STRATUM_MAX: u8 = 15;
/// Of the server from its reference clock (RFC 5905, `MAXDIST`).
pub(super) const ROOT_DISTANCE_MAX: Duration = Duration::from_millis(1_500);
/// From 1900, where NTP counts from, to 1970.
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
/// Seconds of an era of NTP; the first one ends in 2036.
const ERA_SECONDS: u64 = 1 << 32;

/// What one server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NtpSample {
    pub(super) anchor: Anchor,
    /// The true time is no further off, if the server is right.
    pub(super) uncertainty: Duration,
}

/// Why a server says nothing of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum NtpError {
    #[error("no answer within {} s", NTP_DEADLINE.as_secs())]
    Silent,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it has no address")]
    NoAddress,
    #[error("an answer that is none to this question")]
    NotAnAnswer,
    /// It says to ask less, or not at all.
    #[error("it wants to be left alone ({0})")]
    Kissed(String),
    #[error("it does not know the time itself")]
    Unsynchronised,
}

/// The question: all zeros but for the transmit stamp, which is random, so that nobody who does not see it can answer.
pub(super) fn question(nonce: u64) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = CLIENT;
    packet[40..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// Judges an answer to the question with this nonce, which left at `sent` and was answered at `received`.
pub(super) fn judge(
    answer: &[u8],
    nonce: u64,
    sent: Duration,
    received: Duration,
) -> Result<NtpSample, NtpError> {
    let Some(packet) = answer.first_chunk::<PACKET_BYTES>() else { return Err(NtpError::NotAnAnswer) };
    let long = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| packet[at + byte]));
    let short = |at: usize| u32::from_be_bytes(std::array::from_fn(|byte| packet[at + byte]));
    let (leap, version, mode, stratum) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7, packet[1]);
    // The stamp first: everything else may be anybody's.
    if long(24) != nonce || mode != MODE_SERVER || !(3..=4).contains(&version) {
        return Err(NtpError::NotAnAnswer);
    }
    if stratum == 0 {
        let code = packet[12..16].iter().filter(|byte| byte.is_ascii_alphanumeric());
        return Err(NtpError::Kissed(code.map(|byte| char::from(*byte)).collect()));
    }
    let root = half(short_format(short(4))).saturating_add(short_format(short(8)));
    if leap == LEAP_UNKNOWN || stratum > STRATUM_MAX || root > ROOT_DISTANCE_MAX || long(40) == 0 {
        return Err(NtpError::Unsynchronised);
    }
    let (taken, answered) = (long_format(long(32)), long_format(long(40)));
    let away = received.saturating_sub(sent);
    // It cannot have held the question for longer than the answer was away, but for what its clock rounds.
    let held = answered.since(taken);
    if taken > answered || held > away.saturating_add(Duration::from_millis(1)) {
        return Err(NtpError::NotAnAnswer);
    }
    let travelled = half(away.saturating_sub(held));
    let anchor = Anchor { boot: received, time: answered.plus(travelled) };
    Ok(NtpSample { anchor, uncertainty: root.saturating_add(travelled) })
}

fn half(duration: Duration) -> Duration {
    duration / 2
}

/// 16 bits of seconds, 16 of fractions.
fn short_format(value: u32) -> Duration {
    Duration::from_micros((u64::from(value) * 1_000_000) >> 16)
}

/// 32 bits of seconds since 1900, or since the end of that era in 2036 (RFC 4330, section 3), 32 of fractions.
fn long_format(value: u64) -> Timestamp {
    let (seconds, fraction) = (value >> 32, value & 0xffff_ffff);
    let era = if seconds & 0x8000_0000 == 0 { ERA_SECONDS } else { 0 };
    let since_1970 = (era + seconds).saturating_sub(SECONDS_1900_TO_1970);
    Timestamp(since_1970 * 1_000_000 + ((fraction * 1_000_000) >> 32))
}

/// The addresses of a server: `HOST` or `HOST:PORT`.
pub(super) async fn addresses_of(server: &str) -> Result<Vec<SocketAddr>, NtpError> {
    let with_port = if has_port(server) { server.to_owned() } else { format!("{server}:{PORT}") };
    let looking = tokio::net::lookup_host(with_port);
    let found = tokio::time::timeout(NTP_DEADLINE, looking).await.map_err(|_| NtpError::Silent)??;
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() { Err(NtpError::NoAddress) } else { Ok(found) }
}

/// `[::1]:123` and `host:123` have one, `host` has none; a bare IPv6 address is written in brackets.
fn has_port(server: &str) -> bool {
    let last = server.rsplit_once(':');
    last.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Asks one address once. Safe to drop.
pub(super) async fn ask(
    server: SocketAddr,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<NtpSample, NtpError> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so that the kernel drops what comes from elsewhere.
    socket.connect(server).await?;
    let mut nonce = [0; 8];
    random.fill(&mut nonce);
    let nonce = u64::from_be_bytes(nonce);
    let sent = clock.since_boot();
    socket.send(&question(nonce)).await?;
    let waiting = async {
        let mut answer = [0; 2 * PACKET_BYTES];
        loop {
            let bytes = socket.recv(&mut answer).await?;
            match judge(&answer[..bytes], nonce, sent, clock.since_boot()) {
                // Somebody guesses: the true answer may still come.
                Err(NtpError::NotAnAnswer) => {}
                judged => return judged,
            }
        }
    };
    tokio::time::timeout(NTP_DEADLINE, waiting).await.map_err(|_| NtpError::Silent)?
}

/// As an interval around its time, for the majority.
pub(super) fn radius(sample: &NtpSample) -> u64 {
    micros(sample.uncertainty)
}

/// Every server at one address each at first, then further addresses of theirs while there is room.
pub(super) async fn ask_servers(
    servers: Vec<String>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Vec<(String, Result<NtpSample, NtpError>)> {
    let mut looking = JoinSet::new();
    for (at, server) in servers.into_iter().take(NTP_SERVERS_MAX).enumerate() {
        looking.spawn(async move {
            let found = addresses_of(&server).await;
            (at, server, found)
        });
    }
    let mut looked = looking.join_all().await;
    looked.sort_by_key(|(at, ..)| *at);
    let mut answers = Vec::new();
    let mut found: Vec<(usize, String, SocketAddr)> = Vec::new();
    for (_, server, addresses) in looked {
        match addresses {
            Ok(addresses) => {
                let each = addresses.into_iter().enumerate();
                found.extend(each.map(|(nth, address)| (nth, server.clone(), address)));
            }
            Err(error) => answers.push((server, Err(error))),
        }
    }
    found.sort_by_key(|(nth, ..)| *nth);
    let mut asking = JoinSet::new();
    for (_, server, address) in found.into_iter().take(NTP_SERVERS_MAX) {
        let (clock, random) = (clock.clone(), random.clone());
        asking.spawn(async move { (server, ask(address, &*clock, &*random).await) });
    }
    answers.extend(asking.join_all().await);
    answers
}

//! Does multicast pass? A packet to a group of our own must come back, and a question for `_shoal._tcp.local` is asked.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use membership::{Interfaces, MDNS_PORT};
use sys::{Clock, Random, RealClock, RealRandom};

use super::Findings;
use crate::config::Config;
use crate::grid::multicast_of;

const CHECK: &str = "multicast";
/// Administratively scoped (RFC 2365): routers do not carry it out of the site.
const OWN_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 83, 72);
const MDNS_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// The answer of a host on the same net comes sooner.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(100);
/// Answers that are looked at: a net may be full of talk.
const PACKETS_MAX: usize = 1_000;

/// What one interface does.
struct Passed {
    /// A packet came back.
    own: io::Result<bool>,
    /// Who answered the question of multicast DNS.
    answered: io::Result<BTreeSet<IpAddr>>,
}

/// Looks at each interface that the node would use.
pub async fn look(config: &Config, runs: bool, findings: &mut Findings) {
    if !config.rpc.multicast {
        return findings.ok(CHECK, "switched off; other members are found through `peers`");
    }
    let interfaces = match config.rpc.interfaces.is_empty() {
        true => multicast_of(config.rpc.listen),
        false => Interfaces::Named(config.rpc.interfaces.clone()),
    };
    let addresses: Vec<Ipv4Addr> = interfaces
        .addresses()
        .into_iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect();
    if addresses.is_empty() {
        return findings.trouble(
            CHECK,
            "there is no interface with an IPv4 address for it: is the network up, and does [rpc] name the right `interfaces`?",
        );
    }
    let mut passing = 0;
    let mut blocked = Vec::new();
    for address in &addresses {
        let address = *address;
        let tried = tokio::task::spawn_blocking(move || Passed {
            own: comes_back(address),
            answered: question(address, MDNS_PORT),
        });
        let Ok(Passed { own, answered }) = tried.await else { continue };
        match own {
            Ok(true) => {
                passing += 1;
                heard(address, answered, runs, findings);
            }
            Ok(false) => blocked.push(format!("{address}: what is sent to a group does not come back")),
            Err(error) => blocked.push(format!("{address}: {error}")),
        }
    }
    let told = "does a firewall of this host drop it (UDP port 5353)? Else name members with `peers` in [rpc], and set \
                `multicast = false`";
    match passing {
        0 if config.rpc.peers.is_empty() => {
            findings
                .trouble(CHECK, format!("is blocked on every interface ({}): {told}", blocked.join("; ")));
        }
        _ => blocked.iter().for_each(|one| findings.note(CHECK, format!("is blocked on {one}: {told}"))),
    }
}

fn heard(address: Ipv4Addr, answered: io::Result<BTreeSet<IpAddr>>, runs: bool, findings: &mut Findings) {
    match answered {
        Ok(from) if from.is_empty() && runs => findings.note(
            CHECK,
            format!("passes on {address}, but nobody answers, not even the node here: does another program hold UDP port 5353?"),
        ),
        Ok(from) if from.is_empty() => findings.ok(CHECK, format!("passes on {address}; no node answers")),
        Ok(from) => {
            let from: Vec<String> = from.iter().map(ToString::to_string).collect();
            findings.ok(CHECK, format!("passes on {address}; nodes answer from {}", from.join(", ")));
        }
        Err(error) => findings.note(CHECK, format!("passes on {address}; multicast DNS cannot be asked: {error}")),
    }
}

/// Sends to a group that this host joined on the interface, and waits for it.
fn comes_back(interface: Ipv4Addr) -> io::Result<bool> {
    let receiver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    receiver.join_multicast_v4(&OWN_GROUP, &interface)?;
    let token = RealRandom.id();
    let to = SocketAddrV4::new(OWN_GROUP, receiver.local_addr()?.port());
    sender(interface)?.send_to(&token, to)?;
    let mut came = false;
    receive(&[&receiver], |packet, _| {
        came = packet == token;
        came
    })?;
    Ok(came)
}

/// Bound to the interface's address: Linux sends multicast out of the interface that has it.
fn sender(interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let sender = UdpSocket::bind((interface, 0))?;
    sender.set_multicast_loop_v4(true)?;
    Ok(sender)
}

/// Asks who offers the service, and listens for answers to the group and to us alone.
fn question(interface: Ipv4Addr, port: u16) -> io::Result<BTreeSet<IpAddr>> {
    let listener = shared(port)?;
    listener.join_multicast_v4(&MDNS_GROUP, &interface)?;
    let sender = sender(interface)?;
    sender.send_to(&query(), SocketAddrV4::new(MDNS_GROUP, port))?;
    let mut from = BTreeSet::new();
    receive(&[&listener, &sender], |packet, source| {
        if is_answer(packet) {
            from.insert(source.ip());
        }
        false
    })?;
    Ok(from)
}

/// A port that every program which speaks multicast DNS shares.
fn shared(port: u16) -> io::Result<UdpSocket> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    Ok(socket.into())
}

/// Takes packets until `done` says so or patience ends.
fn receive(sockets: &[&UdpSocket], mut done: impl FnMut(&[u8], SocketAddr) -> bool) -> io::Result<()> {
    let clock = RealClock;
    let until = clock.since_boot() + PATIENCE;
    let share = LOOK / u32::try_from(sockets.len()).unwrap_or(1).max(1);
    for socket in sockets {
        socket.set_read_timeout(Some(share))?;
    }
    let mut buffer = [0; 9_000];
    let mut packets = 0;
    while clock.since_boot() < until && packets < PACKETS_MAX {
        for socket in sockets {
            match socket.recv_from(&mut buffer) {
                Ok((length, source)) => {
                    packets += 1;
                    if done(&buffer[..length], source) {
                        return Ok(());
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The labels of `_shoal._tcp` as they stand in a packet.
const SERVICE: &[u8] = b"\x06_shoal\x04_tcp";

/// RFC 6762: one question for the pointers of the service.
fn query() -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice(SERVICE);
    packet.extend_from_slice(b"\x05local\x00\x00\x0c\x00\x01");
    packet
}

/// An answer, not a question, that names the service.
fn is_answer(packet: &[u8]) -> bool {
    packet.len() > 12
        && packet[2] & 0x80 != 0
        && packet.windows(SERVICE.len()).any(|window| window == SERVICE)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::{MDNS_GROUP, SERVICE, comes_back, is_answer, query, question, sender, shared};

    #[test]
    fn a_question_is_no_answer() {
        let mut packet = query();
        assert!(!is_answer(&packet));
        packet[2] = 0x84;
        assert!(is_answer(&packet));
        assert!(!is_answer(&packet[..12 + SERVICE.len() - 1]));
        assert!(!is_answer(&[]));
    }

    #[test]
    fn the_loopback_lets_multicast_pass() {
        assert!(comes_back(Ipv4Addr::LOCALHOST).unwrap());
    }

    /// A responder of our own on a port of its own: it hears the question and answers to the group.
    #[test]
    fn a_responder_is_heard() {
        let responder = shared(0).unwrap();
        responder.join_multicast_v4(&MDNS_GROUP, &Ipv4Addr::LOCALHOST).unwrap();
        let port = responder.local_addr().unwrap().port();
        let answering = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, _) = responder.recv_from(&mut buffer).unwrap();
            let mut answer = buffer[..length].to_vec();
            answer[2] = 0x84;
            sender(Ipv4Addr::LOCALHOST)
                .unwrap()
                .send_to(&answer, SocketAddrV4::new(MDNS_GROUP, port))
                .unwrap();
        });
        let from = question(Ipv4Addr::LOCALHOST, port).unwrap();
        answering.join().unwrap();
        assert_eq!(from.into_iter().collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST]);
    }
}

//! Two nodes on the loopback find each other; what strangers show is read or left alone.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use grid_types::GridId;
use mdns_sd::{HostnameResolutionEvent, IfKind, IfPredicate, ServiceDaemon, ServiceInfo};
use sys::RealClock;

use super::*;

/// Longer than the round after which browsing begins anew: on a busy machine both packets of a change may be lost, and the
/// round is what repairs that.
const PATIENCE: Duration = Duration::from_secs(90);

fn announcement(byte: u8, presence: Presence) -> Announcement {
    Announcement {
        node: NodeId::from_bytes([byte; 16]),
        grid: (presence != Presence::New).then(|| GridId::from_bytes([9; 16])),
        presence,
        release: "0.1.0".to_owned(),
        hardware: "rpi-4".to_owned(),
        port: 7_311 + u16::from(byte),
        api_port: (presence == Presence::Up).then_some(9_000),
    }
}

/// Why multicast does not pass over the loopback of this machine, if so.
fn no_multicast() -> Option<String> {
    let attempt = || -> std::io::Result<()> {
        let group = Ipv4Addr::new(224, 0, 0, 251);
        let ears = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        ears.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
        ears.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mouth = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        mouth.send_to(b"?", SocketAddrV4::new(group, ears.local_addr()?.port()))?;
        ears.recv(&mut [0; 1]).map(|_| ())
    };
    attempt().err().map(|error| error.to_string())
}

fn start(byte: u8, presence: Presence, port: u16) -> Discovery {
    let config =
        DiscoveryConfig { interfaces: Interfaces::Named(vec!["lo".to_owned()]), port, ..Default::default() };
    Discovery::start(announcement(byte, presence), config, Arc::new(RealClock))
}

async fn until(discovery: &Discovery, what: &str, wanted: impl Fn(&[Found]) -> bool) -> Arc<Vec<Found>> {
    let mut changed = discovery.changed();
    let seen = tokio::time::timeout(PATIENCE, changed.wait_for(|found| wanted(found))).await;
    seen.unwrap_or_else(|_| panic!("{what}: {:#?}", discovery.found())).unwrap().clone()
}

#[tokio::test]
async fn two_nodes_find_each_other_see_changes_and_survive_the_librarys_death() {
    if let Some(why) = no_multicast() {
        println!("skipped: multicast does not pass over the loopback here: {why}");
        return;
    }
    let port = 21_353;
    let (one, two) = (start(1, Presence::New, port), start(2, Presence::Join, port));
    let shows = |byte: u8, presence: Presence| {
        move |found: &[Found]| {
            let node = NodeId::from_bytes([byte; 16]);
            found.iter().any(|found| found.node == Some(node) && found.presence == Some(presence))
        }
    };
    until(&two, "the new node", shows(1, Presence::New)).await;
    let found = until(&one, "the door", shows(2, Presence::Join)).await;
    assert_eq!(found.len(), 1, "a node does not find itself");
    assert_eq!(found[0].grid, Some(GridId::from_bytes([9; 16])));
    assert_eq!((found[0].release.as_str(), found[0].hardware.as_str()), ("0.1.0", "rpi-4"));
    assert!(found[0].addresses.iter().all(|address| address.port() == 7_313 && address.ip().is_loopback()));
    assert_eq!((found[0].api_port, &found[0].source), (None, &Source::Multicast));

    two.announce(announcement(2, Presence::Up));
    let found = until(&one, "the change", shows(2, Presence::Up)).await;
    assert_eq!(found[0].api_port, Some(9_000));

    // The library's thread of the first node ends; a change that comes later is seen all the same.
    let daemon = one.daemon.lock().take().unwrap();
    daemon.shutdown().unwrap().recv_async().await.unwrap();
    two.announce(announcement(2, Presence::Join));
    until(&one, "a change after the restart", shows(2, Presence::Join)).await;
    one.shutdown().await;
    two.shutdown().await;
}

/// The addresses of `shoal.local`, as a client on this net sees them, until they are as wanted.
async fn resolves(daemon: &ServiceDaemon, wanted: Ipv4Addr) -> bool {
    let answers = daemon.resolve_hostname("shoal.local.", Some(20_000)).unwrap();
    while let Ok(event) = answers.recv_async().await {
        match event {
            HostnameResolutionEvent::AddressesFound(_, found)
                if found.iter().any(|ip| ip.to_ip_addr() == IpAddr::V4(wanted)) =>
            {
                daemon.stop_resolve_hostname("shoal.local.").unwrap();
                return true;
            }
            HostnameResolutionEvent::SearchTimeout(_) => return false,
            _ => {}
        }
    }
    false
}

#[tokio::test]
async fn the_holder_of_the_lease_answers_for_the_grid_and_the_next_one_takes_over() {
    if let Some(why) = no_multicast() {
        println!("skipped: multicast does not pass over the loopback here: {why}");
        return;
    }
    let port = 21_354;
    let (one, two) = (start(1, Presence::Up, port), start(2, Presence::Up, port));
    let client = ServiceDaemon::new_with_port(port).unwrap();
    let unwanted = IfPredicate::new(|interface| !interface.is_loopback());
    client.disable_interface(IfKind::Predicate(unwanted)).unwrap();
    one.answer_grid_name(vec![Ipv4Addr::new(127, 0, 0, 1).into()]);
    assert!(resolves(&client, Ipv4Addr::new(127, 0, 0, 1)).await);
    one.answer_grid_name(Vec::new());
    two.answer_grid_name(vec![Ipv4Addr::new(127, 0, 0, 2).into(), Ipv4Addr::new(127, 0, 0, 3).into()]);
    assert!(resolves(&client, Ipv4Addr::new(127, 0, 0, 3)).await, "the next holder");
    client.shutdown().unwrap();
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test]
async fn configured_peers_are_resolved() {
    let config = DiscoveryConfig {
        multicast: false,
        peers: vec!["127.0.0.1:7311".to_owned(), "localhost:7312".to_owned(), "no port".to_owned()],
        ..Default::default()
    };
    let discovery = Discovery::start(announcement(1, Presence::New), config, Arc::new(RealClock));
    let found = until(&discovery, "the peers", |found| found.len() == 2).await;
    assert_eq!(found[0].source, Source::Configured("127.0.0.1:7311".to_owned()));
    assert_eq!(found[0].addresses, ["127.0.0.1:7311".parse().unwrap()]);
    assert!(found[1].addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 7_312));
    assert!(found.iter().all(|found| found.node.is_none() && found.presence.is_none()));
    discovery.shutdown().await;
}

fn read(properties: &[(&str, &str)], address: &str, port: u16) -> Option<Found> {
    let info =
        ServiceInfo::new(announcement::SERVICE_TYPE, "any", "any.local.", address, port, properties).unwrap();
    announcement::read(&info.as_resolved_service())
}

#[test]
fn what_is_shown_is_read_back_and_begins_with_its_version() {
    for presence in [Presence::New, Presence::Join, Presence::Up] {
        let shown = announcement(7, presence);
        let properties = shown.properties();
        assert_eq!(properties[0], ("txtvers", "1".to_owned()));
        let length: usize = properties.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        assert!(length <= 200, "{length} bytes of TXT");
        let properties: Vec<_> = properties.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let found = read(&properties, "192.0.2.7,fe80::1,2001:db8::7", 7_318).unwrap();
        assert_eq!((found.node, found.grid, found.presence), (Some(shown.node), shown.grid, Some(presence)));
        assert_eq!(found.api_port, shown.api_port);
        let ips: Vec<String> = found.addresses.iter().map(|address| address.ip().to_string()).collect();
        assert_eq!(ips, ["192.0.2.7", "2001:db8::7", "fe80::1"], "IPv4 first, link-local last");
    }
    assert_eq!(announcement(7, Presence::Join).service_type(), "_join._sub._shoal._tcp.local.");
    assert_eq!(announcement(7, Presence::New).service_type(), "_new._sub._shoal._tcp.local.");
}

#[test]
fn what_makes_no_sense_is_left_alone() {
    let id = "07070707070707070707070707070707";
    let good = [("txtvers", "1"), ("id", id), ("st", "up")];
    assert!(read(&good, "192.0.2.7", 7_311).is_some());
    assert!(read(&good, "192.0.2.7", 0).is_none());
    assert!(read(&good, "224.0.0.1", 7_311).is_none());
    for wrong in [("txtvers", "2"), ("id", "me"), ("st", "busy"), ("grid", "ours")] {
        let mut properties: Vec<_> = good.iter().copied().filter(|(key, _)| *key != wrong.0).collect();
        assert!(read(&properties, "192.0.2.7", 7_311).is_none() || wrong.0 == "grid");
        properties.push(wrong);
        assert!(read(&properties, "192.0.2.7", 7_311).is_none(), "{wrong:?}");
    }
    let long = "x".repeat(200);
    let odd = [good.as_slice(), &[("v", long.as_str()), ("hw", "a\u{7}b"), ("api", "99999")]].concat();
    let found = read(&odd, "192.0.2.7", 7_311).unwrap();
    assert_eq!((found.release.len(), found.hardware.as_str(), found.api_port), (32, "ab", None));
}

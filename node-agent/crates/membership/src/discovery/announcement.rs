//! What a node shows of itself, and how it is read from others.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use grid_types::{GridId, NodeId};
use mdns_sd::{ResolvedService, ScopedIp};

use super::table::{Found, Source};
use crate::member_list::ADDRESSES_MAX;

/// Type of the service, with the dots that the library wants.
pub(super) const SERVICE_TYPE: &str = "_shoal._tcp.local.";
const TXT_VERSION: &str = "1";
/// Bytes of a value of ours: the whole TXT stays below the 200 that are recommended.
const VALUE_BYTES_MAX: usize = 32;

/// What a node is looking for, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Waits for a door into a grid.
    New,
    /// A member; a ticket or pairing is open.
    Join,
    /// A member.
    Up,
}

impl Presence {
    const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Join => "join",
            Self::Up => "up",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::New, Self::Join, Self::Up].into_iter().find(|presence| presence.as_str() == text)
    }
}

/// What this node shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// This node.
    pub node: NodeId,
    /// Its grid; none while it waits for a door.
    pub grid: Option<GridId>,
    /// What it is looking for.
    pub presence: Presence,
    /// Its release.
    pub release: String,
    /// The board, in a word.
    pub hardware: String,
    /// Port of node to node calls, and of joining.
    pub port: u16,
    /// Port of the S3 door.
    pub api_port: Option<u16>,
}

impl Announcement {
    /// Type with the subtype of what is looked for: the library knows one subtype an instance.
    pub(super) fn service_type(&self) -> String {
        match self.presence {
            Presence::New => format!("_new._sub.{SERVICE_TYPE}"),
            Presence::Join => format!("_join._sub.{SERVICE_TYPE}"),
            Presence::Up => SERVICE_TYPE.to_owned(),
        }
    }

    pub(super) fn instance(&self) -> String {
        format!("shoal-{}", self.node)
    }

    pub(super) fn host(&self) -> String {
        format!("shoal-{}.local.", &self.node.to_string()[..4])
    }

    /// In this order on the wire: `txtvers` first (RFC 6763, section 6.7).
    pub(super) fn properties(&self) -> Vec<(&'static str, String)> {
        let mut properties = vec![("txtvers", TXT_VERSION.to_owned()), ("id", self.node.to_string())];
        properties.extend(self.grid.map(|grid| ("grid", grid.to_string())));
        properties.push(("st", self.presence.as_str().to_owned()));
        properties.push(("v", short(&self.release)));
        properties.push(("hw", short(&self.hardware)));
        properties.extend(self.api_port.map(|port| ("api", port.to_string())));
        properties
    }
}

/// What is shown of a text: printable ASCII, cut.
fn short(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(VALUE_BYTES_MAX).collect()
}

/// What a stranger shows; `None` where it is none of ours or of a later version.
pub(super) fn read(service: &ResolvedService) -> Option<Found> {
    let text = |key: &str| {
        let value = service.get_property_val(key)??;
        std::str::from_utf8(value).ok()
    };
    if text("txtvers") != Some(TXT_VERSION) || service.port == 0 {
        return None;
    }
    let grid = match text("grid") {
        Some(grid) => Some(grid.parse().ok()?),
        None => None,
    };
    let mut addresses: Vec<SocketAddr> =
        service.addresses.iter().filter_map(|address| reachable(address, service.port)).collect();
    addresses.sort_by_key(|address| (rank(address.ip()), *address));
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        return None;
    }
    Some(Found {
        source: Source::Multicast,
        node: Some(text("id")?.parse().ok()?),
        grid,
        presence: Some(Presence::parse(text("st")?)?),
        release: short(text("v").unwrap_or_default()),
        hardware: short(text("hw").unwrap_or_default()),
        addresses,
        api_port: text("api").and_then(|port| port.parse().ok()),
    })
}

/// With the interface, where an address means nothing without it.
fn reachable(address: &ScopedIp, port: u16) -> Option<SocketAddr> {
    let ip = address.to_ip_addr();
    if ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    Some(match address {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index))
        }
        _ => SocketAddr::new(ip, port),
    })
}

/// IPv4 first: a link-local IPv6 address may belong to another interface than the one it came over.
fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 2,
        IpAddr::V6(_) => 1,
    }
}

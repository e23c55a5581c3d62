//! Over which interfaces a node is seen.

use if_addrs::Interface;

/// Names of interfaces that lead into this machine and not out of it.
const VIRTUAL: [&str; 14] = [
    "docker", "veth", "br-", "virbr", "vnet", "tap", "tun", "lxc", "lxd", "podman", "cni", "flannel", "cali",
    "wg",
];

/// Which interfaces speak multicast DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// All that are up, but virtual ones; the loopback only where there is nothing else.
    Usable,
    /// These, whatever they are.
    Named(Vec<String>),
}

impl Interfaces {
    /// Is this interface to be used? Asked again whenever the machine's addresses change.
    pub(super) fn take(&self, interface: &Interface) -> bool {
        match self {
            Self::Named(names) => names.contains(&interface.name),
            Self::Usable if interface.is_loopback() => !others(),
            Self::Usable => leads_out(&interface.name),
        }
    }
}

impl Interfaces {
    /// Addresses of the interfaces that are up and would be used now.
    pub fn addresses(&self) -> Vec<std::net::IpAddr> {
        let all = if_addrs::get_if_addrs().unwrap_or_default();
        all.iter().filter(|one| one.is_oper_up() && self.take(one)).map(Interface::ip).collect()
    }
}

/// Addresses of this machine by which others may reach it, best first: those that are routed before those of one link.
pub fn usable_addresses() -> Vec<std::net::IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let taken = all.iter().filter(|one| one.is_oper_up() && Interfaces::Usable.take(one));
    // A link-local IPv6 address means nothing without the interface of whoever uses it.
    let mut addresses: Vec<std::net::IpAddr> = taken
        .map(Interface::ip)
        .filter(|ip| !matches!(ip, std::net::IpAddr::V6(ip) if ip.is_unicast_link_local()))
        .collect();
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    addresses.dedup();
    addresses
}

fn leads_out(name: &str) -> bool {
    !VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
}

/// Is there an interface that leads out of this machine? Where the system does not say: yes.
fn others() -> bool {
    if_addrs::get_if_addrs().map_or(true, |all| {
        all.iter().any(|one| !one.is_loopback() && one.is_oper_up() && leads_out(&one.name))
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr};

    use super::*;

    fn interface(name: &str, ip: Ipv4Addr) -> Interface {
        let netmask = Ipv4Addr::new(255, 255, 255, 0);
        Interface {
            name: name.to_owned(),
            addr: IfAddr::V4(Ifv4Addr { ip, netmask, prefixlen: 24, broadcast: None }),
            index: Some(1),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
        }
    }

    #[test]
    fn virtual_interfaces_are_used_by_name_alone() {
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        for name in ["docker0", "veth12ab", "br-0f", "virbr0", "tap0", "tun3", "wg0"] {
            assert!(!Interfaces::Usable.take(&interface(name, ip)), "{name}");
            assert!(Interfaces::Named(vec![name.to_owned()]).take(&interface(name, ip)), "{name}");
        }
        for name in ["eth0", "end0", "enp1s0", "wlan0", "br0", "bond0"] {
            assert!(Interfaces::Usable.take(&interface(name, ip)), "{name}");
            assert!(!Interfaces::Named(vec!["other".to_owned()]).take(&interface(name, ip)), "{name}");
        }
    }

    #[test]
    fn the_loopback_is_used_by_name_or_where_nothing_else_is() {
        let lo = interface("lo", Ipv4Addr::LOCALHOST);
        assert!(Interfaces::Named(vec!["lo".to_owned()]).take(&lo));
        assert_eq!(Interfaces::Usable.take(&lo), !others());
    }
}

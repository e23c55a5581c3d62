//! Networks: every Ethernet port comes up, asks DHCP, and has its link-local address of IPv6 anyway. So does a radio, where there
//! is Wi-Fi to be joined.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::console::Console;
use crate::first_boot::StaticAddress;
use crate::wifi;

/// The name under which the DHCP client calls this executable when something changed.
pub const EVENT_PROGRAM: &str = "shoal-network-event";
const EVENT_PATH: &str = "/usr/bin/shoal-network-event";
/// Where the kernel shows its network devices.
pub const SYS_NET: &str = "/sys/class/net";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Between looks for ports that were plugged in.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between looks for the first port or radio, and how long it is waited for where there is Wi-Fi to be joined.
const HARDWARE_LOOK_EVERY: Duration = Duration::from_millis(100);
const HARDWARE_PATIENCE: Duration = Duration::from_secs(5);
/// A DHCP client that ended is started again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// Metrics of default routes: what goes elsewhere takes a cable before a radio, and the first port before others. A device's
/// index, kept below the space between both, is added.
const CABLE_METRIC: u32 = 100;
const RADIO_METRIC: u32 = 600;
/// A port whose cable is out leads nowhere, whatever routes it has. Source: the kernel's ip-sysctl.rst.
const SKIP_DEAD_ROUTES: &str = "/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown";

/// The Ethernet ports that are there now. `sys` is /sys/class/net.
pub fn ports(sys: &Path) -> Vec<String> {
    devices(sys, false)
}

/// The radios for Wi-Fi that are there now.
pub fn radios(sys: &Path) -> Vec<String> {
    devices(sys, true)
}

/// Devices with hardware behind them.
fn devices(sys: &Path, by_radio: bool) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(sys)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let path = entry.path();
            path.join("device").exists() && is_radio(&path) == by_radio
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn is_radio(device: &Path) -> bool {
    device.join("wireless").exists() || device.join("phy80211").exists()
}

/// That of a default route by this device: the lowest is taken.
pub fn metric(sys: &Path, device: &str) -> u32 {
    let folder = sys.join(device);
    let base = if is_radio(&folder) { RADIO_METRIC } else { CABLE_METRIC };
    let index =
        std::fs::read_to_string(folder.join("ifindex")).ok().and_then(|text| text.trim().parse().ok());
    base + index.unwrap_or(0).min(RADIO_METRIC - CABLE_METRIC - 1)
}

/// The fixed address of a device that has just come; `taken` are those that others have. One without a port is for the first
/// Ethernet port.
pub fn fixed_of<'a>(
    fixed: &'a [StaticAddress],
    device: &str,
    by_radio: bool,
    taken: &[&StaticAddress],
) -> Option<&'a StaticAddress> {
    let named = fixed.iter().find(|fixed| fixed.port.as_deref() == Some(device));
    let free = || fixed.iter().find(|fixed| fixed.port.is_none() && !by_radio && !taken.contains(fixed));
    named.or_else(free)
}

/// `shoal-` and the end of the hardware address of the first port, or of the radio of a board without one: the same at every
/// start, and printed on many boards.
pub fn name_of_host(sys: &Path) -> String {
    let address = ports(sys)
        .first()
        .or(radios(sys).first())
        .and_then(|port| std::fs::read_to_string(sys.join(port).join("address")).ok())
        .unwrap_or_default();
    let digits: String =
        address.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase()).collect();
    match digits.get(digits.len().saturating_sub(6)..) {
        Some(end) if end.len() == 6 => format!("shoal-{end}"),
        _ => "shoal".to_owned(),
    }
}

/// Until there is a port or a radio: a radio comes only when its firmware runs. Without one, not for ever.
pub async fn wait_for_hardware() {
    let (sys, until) = (Path::new(SYS_NET), tokio::time::Instant::now() + HARDWARE_PATIENCE);
    while ports(sys).is_empty() && radios(sys).is_empty() && tokio::time::Instant::now() < until {
        tokio::time::sleep(HARDWARE_LOOK_EVERY).await;
    }
}

/// What the owner says of networks.
pub struct Wanted {
    /// Of this board.
    pub host_name: String,
    /// Instead of DHCP.
    pub fixed: Vec<StaticAddress>,
    /// Is there Wi-Fi to be joined?
    pub wifi: bool,
}

/// Brings up every port and radio as it appears, for ever.
pub async fn run(wanted: Wanted, console: Console) {
    ip(&["link", "set", "lo", "up"]);
    let _ = std::fs::write(SKIP_DEAD_ROUTES, "1");
    let mut known: Vec<String> = Vec::new();
    let mut taken: Vec<&StaticAddress> = Vec::new();
    loop {
        let sys = Path::new(SYS_NET);
        let radios = if wanted.wifi { radios(sys) } else { Vec::new() };
        for port in ports(sys).iter().chain(&radios) {
            if known.contains(port) {
                continue;
            }
            known.push(port.clone());
            ip(&["link", "set", port, "up"]);
            let by_radio = radios.contains(port);
            if by_radio {
                tokio::spawn(wifi::keep_joined(port.clone(), console.clone()));
            }
            match fixed_of(&wanted.fixed, port, by_radio, &taken) {
                Some(fixed) => {
                    taken.push(fixed);
                    set_fixed(port, fixed, &console);
                }
                None => drop(tokio::spawn(ask_dhcp(port.clone(), wanted.host_name.clone()))),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn set_fixed(port: &str, fixed: &StaticAddress, console: &Console) {
    if !ip(&["addr", "replace", &fixed.address, "dev", port]) {
        console.say(&format!("{port}: the address {} is refused", fixed.address));
        return;
    }
    if let Some(gateway) = &fixed.gateway
        && !set_default_route(port, &gateway.to_string())
    {
        console.say(&format!("{port}: the gateway {gateway} is refused"));
    }
    if !fixed.dns.is_empty() {
        write_resolvers(fixed.dns.iter().map(ToString::to_string));
    }
    console.say(&format!("{port}: {}", fixed.address));
}

async fn ask_dhcp(port: String, host_name: String) {
    loop {
        let mut client = tokio::process::Command::new("/usr/bin/udhcpc");
        client.args(["-f", "-i", &port, "-s", EVENT_PATH, "-t", "3", "-T", "1", "-A", "3"]);
        client.args(["-x", &format!("hostname:{host_name}")]);
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = client.spawn() {
            let _ = child.wait().await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What the DHCP client says has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The port.
    pub port: String,
    /// `ADDRESS/BITS`.
    pub address: String,
    /// Routers, the first is used.
    pub routers: Vec<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
}

impl Lease {
    /// From the environment that busybox's udhcpc gives its script. A server's nonsense gives nothing.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let addresses = |name: &str| -> Vec<Ipv4Addr> {
            variable(name)
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect()
        };
        let address: Ipv4Addr = variable("ip")?.parse().ok()?;
        let bits = match variable("mask").map(|bits| bits.parse::<u8>()) {
            Some(Ok(bits)) if bits <= 32 => bits,
            _ => u32::from(*addresses("subnet").first()?).leading_ones() as u8,
        };
        Some(Self {
            port: variable("interface")?,
            address: format!("{address}/{bits}"),
            routers: addresses("router"),
            dns: addresses("dns"),
        })
    }
}

/// Acts as the script of the DHCP client: its first argument says what happened.
pub fn event() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(port) = variable("interface") else { return ExitCode::FAILURE };
    match std::env::args().nth(1).as_deref() {
        Some("deconfig") => {
            ip(&["-4", "addr", "flush", "dev", &port]);
            ip(&["-4", "route", "flush", "dev", &port]);
            ip(&["link", "set", &port, "up"]);
        }
        Some(what @ ("bound" | "renew")) => {
            let Some(lease) = Lease::from_environment(variable) else { return ExitCode::FAILURE };
            if what == "bound" {
                ip(&["-4", "addr", "flush", "dev", &lease.port]);
                ip(&["addr", "add", &lease.address, "dev", &lease.port]);
            }
            if let Some(router) = lease.routers.first() {
                set_default_route(&lease.port, &router.to_string());
            }
            if !lease.dns.is_empty() {
                write_resolvers(lease.dns.iter().map(ToString::to_string));
            }
        }
        _ => {}
    }
    ExitCode::SUCCESS
}

fn set_default_route(port: &str, router: &str) -> bool {
    let metric = metric(Path::new(SYS_NET), port).to_string();
    ip(&["route", "replace", "default", "via", router, "dev", port, "metric", &metric])
}

fn write_resolvers(addresses: impl Iterator<Item = String>) {
    let text: String = addresses.map(|address| format!("nameserver {address}\n")).collect();
    let _ = std::fs::write(RESOLV_CONF, text);
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("/usr/bin/ip");
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

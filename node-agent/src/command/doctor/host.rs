//! The host: ports, clock, limits.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::process::{Resource, getrlimit};
use sys::{Clock, RealClock};

use super::Findings;
use crate::client::amz_date;
use crate::command::human_bytes;
use crate::config::Config;
use crate::drives::Discovered;

/// A node with a thousand connections and the chunk files that they read; fewer end in refused connections.
const OPEN_FILES_MIN: u64 = 4_096;
/// A node takes so much beside what `memory` says: code, page caches, SQLite.
const MEMORY_BESIDE: u64 = 64 << 20;
/// Made by systemd-timesyncd once the clock is right, and the folder that says that it runs.
const TIMESYNC_DONE: &str = "/run/systemd/timesync/synchronized";
const TIMESYNC_FOLDER: &str = "/run/systemd/timesync";

/// Are the ports free for a node that does not run?
pub fn ports(config: &Config, findings: &mut Findings) {
    const CHECK: &str = "ports";
    let doors = [("s3", config.s3.listen), ("admin", config.admin.listen), ("rpc", config.rpc.listen)];
    let mut free = 0;
    for (section, address) in doors {
        match TcpListener::bind(address) {
            Ok(_) => free += 1,
            Err(error) => findings.trouble(CHECK, taken(section, address, &error)),
        }
    }
    if free == doors.len() {
        findings.ok(CHECK, "free for the node");
    }
}

fn taken(section: &str, address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{address} of [{section}] is taken by another program (`ss -ltnp` names it): stop that, or change `listen`"
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            format!("{address} of [{section}] is no address of this host: correct `listen`")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "{address} of [{section}] is not for this user: ports below 1024 need CAP_NET_BIND_SERVICE"
            )
        }
        _ => format!("{address} of [{section}] cannot be listened at: {error}"),
    }
}

/// A clock that is behind what it once was.
pub fn clock_against_labels(found: &Discovered, findings: &mut Findings) {
    let now = RealClock.now();
    let newest = found.drives.iter().map(|drive| drive.label.created).max().unwrap_or_default();
    if now < newest {
        findings.trouble(
            "clock",
            format!(
                "it says {}, but drives of this node were made at {}: set it, and let NTP keep it",
                amz_date(now),
                amz_date(newest)
            ),
        );
    }
}

/// What the system says of its own clock.
pub fn clock_of_system(findings: &mut Findings) {
    const CHECK: &str = "clock";
    if Path::new(TIMESYNC_DONE).exists() {
        findings.ok(CHECK, "systemd-timesyncd has set it");
    } else if Path::new(TIMESYNC_FOLDER).exists() {
        findings.note(
            CHECK,
            "systemd-timesyncd has not set it since the start: `timedatectl timesync-status` says why; S3 clients are refused \
             when it is 15 minutes off",
        );
    }
}

/// Open files and memory.
pub fn limits(config: &Config, runs: bool, findings: &mut Findings) {
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    if files < OPEN_FILES_MIN {
        findings.trouble(
            "open files",
            format!("at most {files} here: raise the hard limit to {OPEN_FILES_MIN} or more (LimitNOFILE= of the service, `ulimit -Hn`)"),
        );
    } else {
        findings.ok("open files", format!("up to {files}"));
    }
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some((total, available)) = field(&info, "MemTotal:").zip(field(&info, "MemAvailable:")) else {
        return;
    };
    let wanted = config.memory.0 + MEMORY_BESIDE;
    let text = format!("{} of {} available", human_bytes(available), human_bytes(total));
    if total < wanted || !runs && available < wanted {
        findings.trouble(
            "memory",
            format!(
                "{text}, and the node may take {}: lower `memory`, or stop other programs",
                human_bytes(wanted)
            ),
        );
    } else {
        findings.ok("memory", text);
    }
}

fn field(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::{Findings, field, ports, taken};
    use crate::config::Config;

    #[test]
    fn memory_is_read_in_bytes() {
        let info = "MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     500 kB\n";
        assert_eq!(
            (field(info, "MemTotal:"), field(info, "MemAvailable:")),
            (Some(1_024_000), Some(512_000))
        );
        assert_eq!(field(info, "MemLost:"), None);
    }

    #[test]
    fn a_taken_port_is_named_with_its_section() {
        let taken_one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        let any = "127.0.0.1:0".parse().unwrap();
        (config.s3.listen, config.admin.listen) = (any, taken_one.local_addr().unwrap());
        config.rpc.listen = "192.0.2.1:0".parse().unwrap();
        let mut findings = Findings::default();
        ports(&config, &mut findings);
        let told: Vec<&str> = findings.0.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(findings.troubles(), 2, "{told:?}");
        assert!(told[0].contains("[admin] is taken") && told[1].contains("[rpc] is no address"), "{told:?}");
        let denied = taken("s3", "0.0.0.0:80".parse().unwrap(), &std::io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("CAP_NET_BIND_SERVICE"));
    }
}

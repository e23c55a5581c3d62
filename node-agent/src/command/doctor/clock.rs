//! The time, where the configuration says that the host's clock does not count.

use admin_api::types::Status;
use grid_types::Timestamp;
use membership::{FLOOR_EARLIEST, read_floor};
use sys::read_rtc;

use super::Findings;
use crate::command::clock::{line, shown};
use crate::config::Config;
use crate::drives::Discovered;

const CHECK: &str = "clock";

/// What can prove the time here?
pub fn sources(config: &Config, found: Option<&Discovered>, findings: &mut Findings) {
    let floor = floor(found, findings);
    let clock = &config.clock;
    if clock.ntp.is_empty() && clock.rtc.is_none() {
        findings.note(
            CHECK,
            "neither `ntp` nor `rtc` is set in [clock]: another member or an operator (`shoal clock set`) must prove the time",
        );
    }
    let Some(path) = &clock.rtc else { return };
    match read_rtc(path) {
        Ok(time) if time < floor => findings.trouble(
            CHECK,
            format!(
                "{} says {}, but it was {} already: its battery is empty, or it was never set (`hwclock --systohc --utc`)",
                path.display(),
                shown(time),
                shown(floor)
            ),
        ),
        Ok(time) => findings.ok(CHECK, format!("{} says {}", path.display(), shown(time))),
        Err(error) => {
            findings.trouble(CHECK, format!("{}: {error}; `ls /sys/class/rtc` shows what there is", path.display()));
        }
    }
}

fn floor(found: Option<&Discovered>, findings: &mut Findings) -> Timestamp {
    let mut latest = FLOOR_EARLIEST;
    for drive in found.into_iter().flat_map(|found| &found.drives) {
        match read_floor(&*drive.disk) {
            Ok(floor) => latest = latest.max(floor.unwrap_or_default()),
            Err(error) => {
                findings.note(CHECK, format!("{}: {error}; it is written anew", drive.path.display()))
            }
        }
    }
    latest
}

/// What the node says of its time.
pub fn of_node(status: &Status, findings: &mut Findings) {
    let Some(clock) = &status.clock else { return };
    if clock.trust == "proven" {
        findings.ok(CHECK, line(clock));
    } else {
        let what = line(clock);
        findings.trouble(CHECK, format!("{what}: bring NTP within reach, or `shoal clock set`"));
    }
    for member in clock.members.iter().filter(|member| member.apart && clock.trust == "proven") {
        if !matches!(member.source.as_str(), "unproven" | "grid") {
            let seconds = member.ahead_us.unsigned_abs() / 1_000_000;
            let side = if member.ahead_us > 0 { "ahead of" } else { "behind" };
            findings.trouble(
                CHECK,
                format!("that of node {} is {seconds} s {side} this one: let NTP set both", member.node),
            );
        }
    }
}

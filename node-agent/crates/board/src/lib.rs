//! The agent as the whole operating system of a board: process number 1 of an image that `shoal-image` made.
//!
//! It mounts, loads modules, brings up networks, finds or makes the place for data, takes over what the person who flashed
//! the card wrote on it, and then keeps one child alive: the same executable as `shoal serve`. Nothing is ever logged in to;
//! the consoles show state, and the volume `SHOAL` of the card holds what people read and write on any computer.
//!
//! Invariants: a file system that holds anything is never formatted, but by a factory reset. Where there is a data drive, the card
//! is written only when its `status.txt` changes and when a secret or an order on it is wiped. The thread that pings the
//! watchdog touches no disk.

#![forbid(unsafe_code)]

mod blocks;
mod console;
mod facts;
mod first_boot;
mod imager;
mod led;
mod network;
mod power;
mod slot;
mod storage;
mod supervise;
mod system;
mod watchdog;
mod wifi;

#[cfg(test)]
mod blocks_tests;
#[cfg(test)]
mod first_boot_tests;
#[cfg(test)]
mod imager_tests;
#[cfg(test)]
mod led_tests;
#[cfg(test)]
mod network_tests;
#[cfg(test)]
mod system_tests;
#[cfg(test)]
mod wifi_tests;

use std::path::Path;
use std::process::ExitCode;

/// Tells init from a server that happens to be process 1 of a container.
const FACTS_FILE: &str = "/etc/shoal/board.toml";

/// The text of the card's `status.txt`, for the agent: it cannot read the card, and there may be none.
const STATUS_IN_MEMORY: &str = "/run/shoal/status.txt";
/// Names that file to the agent.
const STATUS_VARIABLE: &str = "SHOAL_BOARD_STATUS";

/// What init must know of the agent that it starts.
#[derive(Debug, Clone, Copy)]
pub struct Agent {
    /// Name of the file that marks a folder as a drive of a grid.
    pub label_file: &'static str,
    /// Port that S3 listens on unless configured.
    pub s3_port: u16,
    /// Does this ticket let a board take blank disks into service?
    pub ticket_takes_blank: fn(&str) -> bool,
}

/// Acts as init of a board, or as the program that the DHCP client calls, where this process is one of these; returns
/// nothing where it is neither. As init it never returns but to a kernel that then panics and restarts.
#[must_use]
pub fn run_if_called(agent: Agent) -> Option<ExitCode> {
    if std::process::id() == 1 && Path::new(FACTS_FILE).exists() {
        return Some(supervise::run(agent));
    }
    let called = std::env::args_os().next()?;
    if Path::new(&called).file_name()? == network::EVENT_PROGRAM {
        return Some(network::event());
    }
    None
}

/// What init says of the board, a line each; nothing where the agent runs on another system. Blocks shortly.
#[must_use]
pub fn status_lines() -> Vec<String> {
    let text = std::env::var_os(STATUS_VARIABLE).and_then(|path| std::fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

//! `shoal`: server and command line in one executable.

mod access_log;
mod admin_node;
mod backup;
mod certificate;
mod client;
mod command;
mod config;
mod drives;
mod founding;
mod grid;
mod identity;
mod incarnation;
mod logging;
mod node;
mod process;
mod records;
mod root_keys;
mod timekeeping;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}

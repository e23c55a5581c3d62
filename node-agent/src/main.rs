//! `shoal`: server, command line, and init of a board in one executable.

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

use membership::{DrivePolicy, Ticket};

fn main() -> ExitCode {
    let agent = board::Agent {
        label_file: chunk_store::label::LABEL_FILE,
        s3_port: config::S3_PORT_DEFAULT,
        ticket_takes_blank: |text| {
            text.parse::<Ticket>().is_ok_and(|ticket| ticket.drive_policy == DrivePolicy::BlankToo)
        },
    };
    board::run_if_called(agent).unwrap_or_else(command::run)
}

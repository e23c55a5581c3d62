//! The command line, a file a command.

mod admin_options;
mod backup;
mod clock;
mod config;
mod demo;
mod doctor;
mod drain;
mod drive;
mod flash;
mod folders;
mod grid;
mod init;
mod job;
mod join;
mod key;
mod locate;
mod node;
mod offline;
mod pair;
mod quarantine;
mod rebuild_metadata;
mod restore;
mod serve;
mod status;
mod ticket;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// What a command fails with: a sentence for the user.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Configuration files that are looked for where none is named.
const CONFIG_FILES: [&str; 3] = ["shoal.toml", "/etc/shoal.toml", "/etc/shoal/shoal.toml"];

/// Turns drives of any Linux machine into one S3 object store.
#[derive(Parser)]
#[command(name = "shoal", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Founds a grid on this host: makes folders its drives, prints the first keys once
    Init(init::Init),
    /// Makes this host a member of a grid that exists, with a ticket
    Join(join::Join),
    /// Serves with a configuration file
    Serve(serve::Serve),
    /// Starts a local grid to try things with: four drive folders, keys, a line to copy
    Demo(demo::Demo),
    /// Looks at the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// The node at a glance
    Status(status::StatusCommand),
    /// Members of the grid: list, remove; and nodes that may join by their key: key, enrol, enrolled, withdraw
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Tickets, with which new nodes join: create, list, delete
    #[command(subcommand)]
    Ticket(ticket::TicketCommand),
    /// Pairing with a node that has no ticket: show, confirm, refuse
    #[command(subcommand)]
    Pair(pair::PairCommand),
    /// The grid as a whole: continue-without
    #[command(subcommand)]
    Grid(grid::GridCommand),
    /// Which time a node has, and by whose word: show, set
    #[command(subcommand)]
    Clock(clock::ClockCommand),
    /// Lets the chunks of drives move away; then the drives leave
    Drain(drain::Drain),
    /// Where the chunks of an object are
    Locate(locate::LocateCommand),
    /// Drives: list, add, replace, lock, unlock, verify
    #[command(subcommand)]
    Drive(drive::DriveCommand),
    /// Access keys: create, list, enable, disable, delete; the operator key; the root key: rotate, status
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Background workers: list, pause, resume, run
    #[command(subcommand)]
    Job(job::JobCommand),
    /// What `rebuild-metadata` could not place: list, release, delete
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Puts an image onto a card, with configuration and ticket; without a disk it lists what could be flashed
    Flash(flash::Flash),
    /// Looks for the commonest troubles and says what to do; changes nothing, works whether the node runs or not
    Doctor(doctor::Doctor),
    /// Copies metadata and keys (not the objects' bytes) to a file or to any S3; `verify` looks whether one is whole
    Backup(backup::Backup),
    /// Makes lost metadata anew from a backup
    Restore(restore::Restore),
    /// Makes lost metadata anew from what the drives know
    RebuildMetadata(rebuild_metadata::RebuildMetadata),
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Serve(_) | Command::Demo(_)) {
        crate::process::restart_with_frugal_allocator();
        crate::process::raise_open_files();
    }
    crate::process::forbid_core_dumps();
    let result = match crate::process::runtime("shoal") {
        Ok(runtime) => {
            let result = runtime.block_on(dispatch(arguments.command));
            // A hanging disk must not keep the process: what is acknowledged is synced already.
            runtime.shutdown_timeout(Duration::from_secs(1));
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shoal: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(command) => command.run().await,
        Command::Join(command) => command.run().await,
        Command::Node(command) => command.run().await,
        Command::Pair(command) => command.run().await,
        Command::Grid(command) => command.run().await,
        Command::Clock(command) => command.run().await,
        Command::Drain(command) => command.run().await,
        Command::Locate(command) => command.run().await,
        Command::Ticket(command) => command.run().await,
        Command::Serve(command) => command.run().await,
        Command::Demo(command) => command.run().await,
        Command::Config(command) => command.run(),
        Command::Flash(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Drive(command) => command.run().await,
        Command::Key(command) => command.run().await,
        Command::Job(command) => command.run().await,
        Command::Quarantine(command) => command.run().await,
        Command::Doctor(command) => command.run().await,
        Command::Backup(command) => command.run().await,
        Command::Restore(command) => command.run().await,
        Command::RebuildMetadata(command) => command.run().await,
    }
}

/// The configuration file named, else the first one there is.
fn config_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    CONFIG_FILES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        let looked = CONFIG_FILES.join(", ");
        format!("no configuration file: looked for {looked}; `shoal init` writes one, --config names one")
            .into()
    })
}

/// Catches SIGTERM and SIGINT from now on; waits for one when polled. Made before anybody is told that the node is ready:
/// who stops it at once must find it listening.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Prints one JSON line to standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, value)?;
    output.write_all(b"\n")?;
    output.flush()?;
    Ok(())
}

/// 1.5 GiB and the like.
fn human_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

//! `shoal-image`: makes bootable card images out of pinned Debian packages and a cross-built agent. No root, no loop devices,
//! and the same input gives the same bytes.

mod agent;
mod board;
mod build;
mod cpio;
mod deb;
mod documents;
mod grub;
mod initramfs;
mod keys;
mod lock;
mod modules;
mod oci;
mod packages;
mod tarball;
mod uboot;

#[cfg(test)]
mod board_tests;
#[cfg(test)]
mod cpio_tests;
#[cfg(test)]
mod deb_tests;
#[cfg(test)]
mod grub_tests;
#[cfg(test)]
mod modules_tests;
#[cfg(test)]
mod oci_tests;
#[cfg(test)]
mod packages_tests;
#[cfg(test)]
mod tarball_tests;
#[cfg(test)]
mod uboot_tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command fails with: a sentence for the user.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes bootable card images of Shoal.
#[derive(Parser)]
#[command(name = "shoal-image", version, about, disable_help_subcommand = true)]
struct Arguments {
    /// The folder of board configurations
    #[arg(long, default_value = "board-configs", global = true)]
    boards: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the image of a board
    Build(build::Build),
    /// Lists the boards; `--markdown` writes the table of docs/boards.md
    List(documents::List),
    /// Pins the newest packages of the configured Debian release: rewrites packages.lock.toml
    Lock(lock::Lock),
    /// Says as JSON how an emulator runs the board's image; fetches its firmware
    Emulator(packages::EmulatorCommand),
    /// Makes a Debian package of an agent
    Deb(deb::Deb),
    /// Makes a container image of agents, without a container engine
    Oci(oci::Oci),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Build(build) => build.run(&arguments.boards),
        Command::List(list) => list.run(&arguments.boards),
        Command::Lock(lock) => lock.run(&arguments.boards),
        Command::Emulator(emulator) => emulator.run(&arguments.boards),
        Command::Deb(deb) => deb.run(),
        Command::Oci(oci) => oci.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

//! `shoal config check`: explains mistakes by line, then looks whether what is named is there.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::Config;
use crate::drives::discover;

/// Looks at the configuration.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Explains mistakes by line, then looks at the drives; changes nothing
    Check(Check),
}

/// Explains mistakes by line.
#[derive(Args)]
pub struct Check {
    /// Configuration file [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigCommand {
    /// Reads only.
    pub fn run(self) -> Result<(), Failure> {
        let Self::Check(check) = self;
        let path = super::config_path(check.config.as_deref())?;
        let config = Config::load(&path)?;
        println!("{}: no mistakes", path.display());
        println!("  s3     {} region {}", config.s3.listen, config.s3.region);
        println!("  admin  {}", config.admin.listen);
        match discover(&config.drives) {
            Ok(found) => {
                println!("  node   {} of grid {}", found.identity.node, found.identity.grid);
                for drive in &found.drives {
                    println!("  drive  {} {}", drive.label.drive, drive.path.display());
                }
                for problem in &found.problems {
                    println!("  drive  {}: {}", problem.path.display(), problem.reason);
                }
                for warning in &found.warnings {
                    println!("  note   {warning}");
                }
            }
            Err(error) => println!("  note   {error}"),
        }
        Ok(())
    }
}

//! `shoal init`: founds a grid on this host.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use sys::{RealClock, RealRandom};

use super::Failure;
use crate::config;
use crate::founding::{Founding, ROOT_KEY_FILE, found};

/// Founds a grid on this host.
#[derive(Args)]
pub struct Init {
    /// An existing, empty folder that becomes a drive; one a disk
    #[arg(long = "drive", value_name = "PATH", required = true)]
    drives: Vec<PathBuf>,
    /// Where the configuration is written; must not exist yet
    #[arg(long, value_name = "FILE", default_value = "shoal.toml")]
    config: PathBuf,
    /// Where the root key is written [default: shoal-root.key in each drive]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Use folders that hold other files; those stay
    #[arg(long)]
    allow_not_empty: bool,
    /// Use folders that share a file system; they count as one failure domain
    #[arg(long)]
    same_file_system_ok: bool,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl Init {
    /// Runs to completion.
    pub async fn run(self) -> Result<(), Failure> {
        crate::logging::start("warn", config::LogFormat::Text);
        // Made before anything else: a founding whose configuration cannot be written would print its keys to nobody.
        let config_path = std::path::absolute(&self.config)?;
        let mut config_file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&config_path).map_err(
                |error| format!("{}: {error}; name another one with --config FILE", config_path.display()),
            )?;
        let absolute = |path: &PathBuf| std::path::absolute(path);
        let order = Founding {
            drives: self.drives.iter().map(absolute).collect::<Result<_, _>>()?,
            key_file: self.key_file.as_ref().map(absolute).transpose()?,
            allow_not_empty: self.allow_not_empty,
            same_file_system_ok: self.same_file_system_ok,
        };
        let founded = match found(&order, Arc::new(RealClock), Arc::new(RealRandom)).await {
            Ok(founded) => founded,
            Err(error) => {
                // Nothing was founded with it; a leftover would stand in the way of the next try.
                let _ = std::fs::remove_file(&config_path);
                return Err(error.into());
            }
        };
        let text = config::template(&order.drives, order.key_file.as_deref(), None);
        config_file.write_all(text.as_bytes())?;
        config_file.sync_all()?;
        if self.json {
            return super::print_json(&json!({
                "grid": founded.grid,
                "node": founded.node,
                "config": config_path,
                "key_files": founded.key_files,
                "access_key": founded.access_key,
                "secret_key": founded.secret_key,
                "admin_key": founded.operator_key,
                "warnings": founded.warnings,
            }));
        }
        for warning in &founded.warnings {
            println!("note: {warning}");
        }
        println!("Founded grid {} with {} drives.", founded.grid, order.drives.len());
        println!();
        println!("  access key    {}", founded.access_key);
        println!("  secret key    {}", founded.secret_key);
        println!("  operator key  {}", founded.operator_key);
        println!();
        println!("These are shown once. The root key, without which nothing can be read, lies in");
        for path in &founded.key_files {
            println!("  {}", path.display());
        }
        if order.key_file.is_none() {
            println!("({ROOT_KEY_FILE} beside the data does not protect against theft: docs/security.md)");
        }
        println!();
        println!("Start it:  shoal serve --config {}", config_path.display());
        Ok(())
    }
}

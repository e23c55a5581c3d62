//! `shoal init`: founds a grid on this host.

use std::sync::Arc;

use clap::Args;
use serde_json::json;
use sys::{RealClock, RealRandom};

use super::Failure;
use super::folders::Folders;
use crate::config;
use crate::founding::{ROOT_KEY_FILE, found};

/// Founds a grid on this host.
#[derive(Args)]
pub struct Init {
    #[command(flatten)]
    folders: Folders,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl Init {
    /// Runs to completion.
    pub async fn run(self) -> Result<(), Failure> {
        crate::logging::start("warn", config::LogFormat::Text);
        let mut config = self.folders.new_config()?;
        let order = self.folders.founding()?;
        let founded = found(&order, Arc::new(RealClock), Arc::new(RealRandom)).await?;
        config.write(&order, None)?;
        if self.json {
            return super::print_json(&json!({
                "grid": founded.grid,
                "node": founded.node,
                "config": config.path(),
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
        println!("Start it:  shoal serve --config {}", config.path().display());
        Ok(())
    }
}

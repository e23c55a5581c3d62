//! `shoal rebuild-metadata`: makes lost metadata anew from what the drives know. The node must not run.

use std::path::PathBuf;

use clap::Args;

use super::Failure;

/// Makes lost metadata anew from what the drives know.
#[derive(Args)]
pub struct RebuildMetadata {
    /// Configuration file [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl RebuildMetadata {
    /// Runs to completion.
    pub async fn run(self) -> Result<(), Failure> {
        let path = super::config_path(self.config.as_deref())?;
        let _ = (crate::config::Config::load(&path)?, self.json);
        Err("rebuilding metadata is not built into this release yet".into())
    }
}

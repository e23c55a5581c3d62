//! The folders that become this host's first drives, and what is written beside them: `init` and `join` take the same.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::config;
use crate::founding::Founding;

/// Folders that become drives.
#[derive(Args)]
pub struct Folders {
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
}

impl Folders {
    /// With absolute paths.
    pub fn founding(&self) -> Result<Founding, Failure> {
        let absolute = |path: &PathBuf| std::path::absolute(path);
        Ok(Founding {
            drives: self.drives.iter().map(absolute).collect::<Result<_, _>>()?,
            key_file: self.key_file.as_ref().map(absolute).transpose()?,
            allow_not_empty: self.allow_not_empty,
            same_file_system_ok: self.same_file_system_ok,
        })
    }

    /// Makes the configuration file, empty, before anything else is: keys whose configuration cannot be written would be
    /// printed to nobody.
    pub fn new_config(&self) -> Result<NewConfig, Failure> {
        let path = std::path::absolute(&self.config)?;
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made
            .map_err(|error| format!("{}: {error}; name another one with --config FILE", path.display()))?;
        Ok(NewConfig { path, file, written: false })
    }
}

/// A configuration file that is being made. Dropped before it is written, it goes: a leftover would stand in the way of
/// the next try.
pub struct NewConfig {
    path: PathBuf,
    file: File,
    written: bool,
}

impl NewConfig {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the configuration of these folders, durably.
    pub fn write(&mut self, founding: &Founding, rpc_listen: Option<SocketAddr>) -> Result<(), Failure> {
        let text = config::template(&founding.drives, founding.key_file.as_deref(), rpc_listen);
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        self.written = true;
        Ok(())
    }
}

impl Drop for NewConfig {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

//! How a command reaches the operator's door.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use crate::client::{AdminAddress, AdminClient};
use crate::config::Config;
use crate::node::SOCKET_FILE;

/// The operator key, where no option gives it: an argument is seen by every user of the host.
const OPERATOR_KEY_VARIABLE: &str = "SHOAL_OPERATOR_KEY";

/// How a command reaches the operator's door.
#[derive(Args)]
pub struct AdminOptions {
    /// Print one JSON line instead of text
    #[arg(long)]
    pub json: bool,
    /// Configuration file of the node, to find its socket [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The node's Unix socket
    #[arg(long, value_name = "PATH", conflicts_with = "admin")]
    socket: Option<PathBuf>,
    /// The node's admin port instead of its socket: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Operator key, with --admin [default: $SHOAL_OPERATOR_KEY]
    #[arg(long, value_name = "KEY", requires = "admin")]
    operator_key: Option<String>,
    /// Authority to trust over HTTPS, PEM
    #[arg(long, value_name = "FILE", requires = "admin")]
    ca: Option<PathBuf>,
}

impl AdminOptions {
    /// The client for these options.
    pub fn client(&self) -> Result<AdminClient, Failure> {
        Ok(AdminClient::new(&self.address()?)?)
    }

    fn address(&self) -> Result<AdminAddress, Failure> {
        if let Some(url) = &self.admin {
            let from_environment = || std::env::var(OPERATOR_KEY_VARIABLE).ok();
            return Ok(AdminAddress::Url {
                url: url.clone(),
                operator_key: self.operator_key.clone().or_else(from_environment),
                authority: self.ca.clone(),
            });
        }
        if let Some(socket) = &self.socket {
            return Ok(AdminAddress::Socket(socket.clone()));
        }
        let path = super::config_path(self.config.as_deref()).map_err(|failure| {
            format!("{failure}; or name --socket PATH, or --admin URL --operator-key KEY")
        })?;
        let config = Config::load(&path)?;
        if let Some(socket) = config.socket {
            return Ok(AdminAddress::Socket(socket));
        }
        let sockets = config.drives.iter().map(|drive| drive.join(SOCKET_FILE));
        first_existing(sockets).map(AdminAddress::Socket).ok_or_else(|| {
            format!("no {SOCKET_FILE} in any drive of {}: `shoal serve` does not run", path.display()).into()
        })
    }
}

fn first_existing(mut paths: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    paths.find(|path| Path::exists(path))
}

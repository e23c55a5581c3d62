//! `shoal serve`: runs a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use sys::{RealClock, RealRandom};

use super::Failure;
use crate::config::Config;
use crate::node::Node;

/// Serves with a configuration file.
#[derive(Args)]
pub struct Serve {
    /// Configuration file [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port of S3, instead of the configured one [or $SHOAL_S3_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    s3_listen: Option<SocketAddr>,
    /// Address and port of the operator's door, instead of the configured one [or $SHOAL_ADMIN_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr>,
    /// Address and port for other nodes, instead of the configured one [or $SHOAL_RPC_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    rpc_listen: Option<SocketAddr>,
}

impl Serve {
    /// Until SIGTERM or SIGINT.
    pub async fn run(self) -> Result<(), Failure> {
        let path = super::config_path(self.config.as_deref())?;
        let mut config = Config::load(&path)?;
        if let Some(listen) = chosen(self.s3_listen, "SHOAL_S3_LISTEN")? {
            config.s3.listen = listen;
        }
        if let Some(listen) = chosen(self.admin_listen, "SHOAL_ADMIN_LISTEN")? {
            config.admin.listen = listen;
        }
        if let Some(listen) = chosen(self.rpc_listen, "SHOAL_RPC_LISTEN")? {
            config.rpc.listen = listen;
        }
        crate::logging::start(&config.log.level, config.log.format);
        crate::process::die_with_parent_if_told();
        let node = Node::start(&config, Arc::new(RealClock), Arc::new(RealRandom)).await?;
        for warning in &node.warnings {
            tracing::warn!("{warning}");
        }
        super::stop_signal()?.await;
        node.shutdown().await;
        Ok(())
    }
}

fn chosen(option: Option<SocketAddr>, variable: &str) -> Result<Option<SocketAddr>, Failure> {
    match (option, std::env::var(variable)) {
        (Some(address), _) => Ok(Some(address)),
        (None, Ok(text)) => match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(format!("${variable} is `{text}`: write ADDRESS:PORT").into()),
        },
        (None, Err(_)) => Ok(None),
    }
}

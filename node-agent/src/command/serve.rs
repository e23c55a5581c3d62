//! `shoal serve`: runs a node.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use membership::{GridPin, JoinError, NodePublicKey};
use sys::{RealClock, RealDisk, RealRandom};
use zeroize::Zeroizing;

use super::Failure;
use crate::config::Config;
use crate::drives::{DiscoveryError, discover};
use crate::founding::Founding;
use crate::grid::{JoinBy, Joining, JoiningError, join, multicast_of, reachable};
use crate::identity::PreparedKey;
use crate::node::{Node, StartError};

/// A board may be plugged in before its grid is.
const JOIN_PATIENCE: Duration = Duration::from_secs(365 * 86_400);
/// Between two questions whether this node's key is enrolled by now.
const ENROLMENT_PAUSE: Duration = Duration::from_secs(5);

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
        join_if_told(&config).await?;
        let node = match Node::start(&config, Arc::new(RealClock), Arc::new(RealRandom)).await {
            Err(StartError::Outdated) => return start_again(),
            started => started?,
        };
        for warning in &node.warnings {
            tracing::warn!("{warning}");
        }
        let outdated = tokio::select! {
            () = super::stop_signal()? => false,
            () = node.outdated() => true,
        };
        node.shutdown().await;
        if outdated { start_again() } else { Ok(()) }
    }
}

/// The same program in the place of this process, as it was called. Returns only where that fails.
fn start_again() -> Result<(), Failure> {
    tracing::warn!(
        "other members have newer metadata, which was restored: this node starts again, and fetches it"
    );
    // Also where the file was replaced by another release meanwhile.
    let error = Command::new("/proc/self/exe").args(std::env::args_os().skip(1)).exec();
    Err(format!("this node cannot start again by itself ({error}): start it").into())
}

/// Drives without a label, and a ticket beside them or the pin of a grid: this host becomes a member of that grid, however
/// long it takes, and forgets the ticket.
async fn join_if_told(config: &Config) -> Result<(), Failure> {
    let (ticket_file, pin) = (&config.join.ticket_file, &config.join.enrolled);
    if ticket_file.is_none() && pin.is_none() {
        return Ok(());
    }
    let folders = config.drives.clone();
    let found = tokio::task::spawn_blocking(move || discover(&folders)).await?;
    if !matches!(found, Err(DiscoveryError::NotFounded(_))) {
        return Ok(());
    }
    let door = match (ticket_file, pin) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
            JoinBy::Ticket(text.trim().parse()?)
        }
        (None, pin) => {
            show_key(config)?;
            JoinBy::Enrolment(pin.as_deref().unwrap_or_default().parse::<GridPin>()?.0)
        }
    };
    let order = Joining {
        folders: Founding {
            drives: config.drives.clone(),
            key_file: config.key_file.clone(),
            allow_not_empty: false,
            same_file_system_ok: config.drives_are_domains,
        },
        door,
        peers: config.rpc.peers.clone(),
        multicast: config.rpc.multicast.then(|| multicast_of(config.rpc.listen)),
        addresses: if config.rpc.advertise.is_empty() {
            reachable(config.rpc.listen, &[])
        } else {
            config.rpc.advertise.clone()
        },
        name: crate::node::host_name(),
        patience: JOIN_PATIENCE,
    };
    let joined = loop {
        match join(&order, Arc::new(RealClock), Arc::new(RealRandom)).await {
            Err(JoiningError::Join(error @ JoinError::NotEnrolled(_))) => {
                tracing::warn!(%error, "waiting until the key of this node is enrolled");
                tokio::time::sleep(ENROLMENT_PAUSE).await;
            }
            joined => break joined?,
        }
    };
    tracing::info!(grid = %joined.grid, node = %joined.node, number = joined.number, "joined");
    // Its use is over; the grid would refuse this node a second one anyway.
    if let Some(path) = ticket_file
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(path = %path.display(), %error, "the ticket cannot be deleted: do it by hand");
    }
    Ok(())
}

/// Prints what an operator must enrol; drawn in the first folder where none holds a key yet.
fn show_key(config: &Config) -> Result<(), Failure> {
    let mut first = None;
    for folder in &config.drives {
        let failed = |error| format!("{}: {error}", folder.display());
        let disk = RealDisk::open(folder).map_err(failed)?;
        if let Some(key) = PreparedKey::read(&disk).map_err(failed)? {
            tracing::info!(key = %NodePublicKey(key.public_key()), "the key of this node: `shoal node enrol KEY` on a member");
            return Ok(());
        }
        first = first.or(Some(disk));
    }
    let Some(disk) = first else { return Ok(()) };
    let key = PreparedKey::read_or_draw(&disk)?;
    tracing::info!(key = %NodePublicKey(key.public_key()), "the key of this node: `shoal node enrol KEY` on a member");
    Ok(())
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

//! `shoal join`: makes this host a member of a grid that exists.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use membership::GridPin;
use serde_json::json;
use sys::{RealClock, RealRandom};
use zeroize::Zeroizing;

use super::Failure;
use super::folders::Folders;
use crate::config::{self, RPC_PORT_DEFAULT};

use crate::grid::{JoinBy, Joining, join, multicast_of, reachable};

/// Makes this host a member of a grid.
#[derive(Args)]
pub struct Join {
    #[command(flatten)]
    folders: Folders,
    /// The ticket; other users of this host can see it here: better --ticket-file
    #[arg(long, value_name = "TICKET", required_unless_present_any = ["ticket_file", "pair", "enrolled"])]
    ticket: Option<String>,
    /// Without a ticket: shows a code that a person compares with `shoal pair show` on a member
    #[arg(long, conflicts_with_all = ["ticket", "ticket_file", "enrolled"])]
    pair: bool,
    /// Without a ticket: the key that `shoal node key` printed was registered in the grid with this pin
    #[arg(long, value_name = "PIN", conflicts_with_all = ["ticket", "ticket_file"])]
    enrolled: Option<GridPin>,
    /// A file that holds the ticket
    #[arg(long, value_name = "FILE", conflicts_with = "ticket")]
    ticket_file: Option<PathBuf>,
    /// A member to ask, beside those that the ticket names and that multicast finds
    #[arg(long = "peer", value_name = "HOST:PORT")]
    peers: Vec<String>,
    /// Where this node will listen for the others
    #[arg(long, value_name = "ADDRESS:PORT")]
    rpc_listen: Option<SocketAddr>,
    /// What people call this node [default: the host's name]
    #[arg(long)]
    name: Option<String>,
    /// Seconds to go on asking where no member answers
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl Join {
    /// Runs to completion.
    pub async fn run(self) -> Result<(), Failure> {
        crate::logging::start("warn", config::LogFormat::Text);
        let text = match (&self.ticket, &self.ticket_file) {
            (Some(ticket), _) => Some(Zeroizing::new(ticket.clone())),
            (None, Some(path)) => {
                let read = std::fs::read_to_string(path);
                Some(Zeroizing::new(read.map_err(|error| format!("{}: {error}", path.display()))?))
            }
            (None, None) => None,
        };
        let door = match (text, self.enrolled) {
            (Some(text), _) => JoinBy::Ticket(text.trim().parse()?),
            (None, Some(GridPin(pin))) => JoinBy::Enrolment(pin),
            (None, None) => JoinBy::Pairing(Box::new(|code, grid| {
                println!("code  {code}\ngrid  {grid}");
                println!(
                    "Compare it with `shoal pair show` on a member, and confirm it there within five minutes."
                );
            })),
        };
        let listen = self.rpc_listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], RPC_PORT_DEFAULT)));
        let mut config = self.folders.new_config()?;
        let folders = self.folders.founding()?;
        let order = Joining {
            folders,
            door,
            peers: self.peers,
            multicast: Some(multicast_of(listen)),
            addresses: reachable(listen, &[]),
            name: self.name.unwrap_or_else(crate::node::host_name),
            patience: Duration::from_secs(self.patience),
        };
        let joined = join(&order, Arc::new(RealClock), Arc::new(RealRandom)).await?;
        config.write(&order.folders, self.rpc_listen)?;
        if self.json {
            return super::print_json(&json!({
                "grid": joined.grid,
                "node": joined.node,
                "number": joined.number,
                "config": config.path(),
                "key_files": joined.key_files,
                "warnings": joined.warnings,
            }));
        }
        for warning in &joined.warnings {
            println!("note: {warning}");
        }
        println!("Node {} joined grid {} as member {}.", joined.node, joined.grid, joined.number);
        println!();
        println!("Start it:  shoal serve --config {}", config.path().display());
        Ok(())
    }
}

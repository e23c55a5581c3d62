//! `shoal pair`: lets a node in that has no ticket, after a person has compared two codes.

use admin_api::types::{ConfirmPairing, Done, Pairing};
use clap::{Args, Subcommand};
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;

/// Pairing with a node that has no ticket.
#[derive(Subcommand)]
pub enum PairCommand {
    /// Shows the node that waits, and the code that it must show, too
    Show(Plain),
    /// The codes are the same: makes it a member
    Confirm(Confirm),
    /// Sends it away
    Refuse(Plain),
}

/// `show`, `refuse`
#[derive(Args)]
pub struct Plain {
    #[command(flatten)]
    admin: AdminOptions,
}

/// `confirm`
#[derive(Args)]
pub struct Confirm {
    /// Id of the node, as `show` shows it
    node: String,
    /// The code, as the node shows it
    code: String,
    #[command(flatten)]
    admin: AdminOptions,
}

impl PairCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(command) => {
                let pairing: Pairing = command.admin.client()?.call(Method::GET, "/v1/pairing").await?;
                if command.admin.json {
                    return super::print_json(&pairing);
                }
                match pairing.waiting {
                    None => println!(
                        "no node waits; on the new node: shoal join --pair --drive PATH --peer HOST:PORT"
                    ),
                    Some(node) => {
                        println!("node  {}  {}", node.node, node.name);
                        println!("code  {}", node.code.unwrap_or_else(|| "not known yet".to_owned()));
                        println!("Where it shows the same code:  shoal pair confirm {} CODE", node.node);
                    }
                }
                Ok(())
            }
            Self::Confirm(command) => {
                let order = ConfirmPairing { node: command.node.parse()?, code: command.code };
                let done: Done = command.admin.client()?.order("/v1/pairing/confirm", &order).await?;
                if command.admin.json { super::print_json(&done) } else { Ok(()) }
            }
            Self::Refuse(command) => {
                let done: Done = command.admin.client()?.call(Method::POST, "/v1/pairing/refuse").await?;
                if command.admin.json { super::print_json(&done) } else { Ok(()) }
            }
        }
    }
}

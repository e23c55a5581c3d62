//! `shoal node`.

use admin_api::types::{Done, MemberClock, NodeList};
use clap::{Args, Subcommand};
use http::Method;

use super::admin_options::AdminOptions;
use super::{Failure, human_bytes};
use crate::client::segment;

/// Members of the grid.
#[derive(Subcommand)]
pub enum NodeCommand {
    /// Shows the members as the node asked sees them
    List(Plain),
    /// Takes a member out of the grid, for good
    Remove(One),
}

/// `list`
#[derive(Args)]
pub struct Plain {
    #[command(flatten)]
    admin: AdminOptions,
}

/// `remove`
#[derive(Args)]
pub struct One {
    /// Its id, as `list` shows it
    node: String,
    #[command(flatten)]
    admin: AdminOptions,
}

/// What there is to say of a member's clock.
fn clock(clock: &MemberClock) -> String {
    match clock.source.as_str() {
        "unproven" => "  its time is not proven".to_owned(),
        "grid" => "  grid time".to_owned(),
        _ if clock.apart => {
            let side = if clock.ahead_us > 0 { "ahead of" } else { "behind" };
            format!("  its clock is {} s {side} this one's", clock.ahead_us.unsigned_abs() / 1_000_000)
        }
        _ => String::new(),
    }
}

impl NodeCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(command) => {
                let list: NodeList = command.admin.client()?.call(Method::GET, "/v1/nodes").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                for node in list.nodes {
                    let role = match (node.leads, node.votes) {
                        (true, _) => "leads",
                        (false, true) => "votes",
                        (false, false) => "-",
                    };
                    println!(
                        "{:>3} {} {:<8} {:<6} {} drives, {} free of {}  {}  {}{}{}",
                        node.number,
                        node.node,
                        node.state,
                        role,
                        node.drives,
                        human_bytes(node.free_bytes),
                        human_bytes(node.total_bytes),
                        node.addresses.join(" "),
                        node.name,
                        if node.here { "  (this one)" } else { "" },
                        node.clock.as_ref().map(clock).unwrap_or_default()
                    );
                }
                Ok(())
            }
            Self::Remove(command) => {
                let path = format!("/v1/nodes/{}", segment(&command.node));
                let done: Done = command.admin.client()?.call(Method::DELETE, &path).await?;
                if command.admin.json { super::print_json(&done) } else { Ok(()) }
            }
        }
    }
}

//! `shoal node`.

use std::path::PathBuf;
use std::time::Duration;

use admin_api::types::{CreateEnrolment, Done, EnrolmentInfo, EnrolmentList, MemberClock, NodeList};
use clap::{Args, Subcommand};
use grid_types::Timestamp;
use http::Method;
use membership::{KeyTextError, NodePublicKey};
use serde_json::json;
use sys::RealDisk;

use super::admin_options::AdminOptions;
use super::ticket::duration;
use super::{Failure, human_bytes};
use crate::client::{amz_date, segment};
use crate::identity::{NodeFile, PreparedKey};

/// Members of the grid.
#[derive(Subcommand)]
pub enum NodeCommand {
    /// Shows the members as the node asked sees them
    List(Plain),
    /// Takes a member out of the grid, for good
    Remove(One),
    /// On a new board: prints its public key; draws one in its folder first, if need be
    Key(Key),
    /// Lets the node with this public key join without a ticket
    Enrol(Enrol),
    /// Shows the keys that were enrolled
    Enrolled(Plain),
    /// Ends an enrolment: the node with that key joins no more
    Withdraw(Withdraw),
}

/// `key`
#[derive(Args)]
pub struct Key {
    /// The folder, empty or a drive already; the first one that `shoal join` will be given
    #[arg(long = "drive", value_name = "PATH")]
    drive: PathBuf,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// `enrol`
#[derive(Args)]
pub struct Enrol {
    /// What `shoal node key` printed on the new board
    public_key: NodePublicKey,
    /// What people shall call the node [default: what it calls itself]
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Drives that the board takes: image-data, blank-too or ask
    #[arg(long, default_value = "image-data")]
    drives: String,
    /// How long it may join: 30m, 24h, 7d [default: until it is withdrawn]
    #[arg(long, value_parser = duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    admin: AdminOptions,
}

/// `withdraw`
#[derive(Args)]
pub struct Withdraw {
    /// The key, or the node's id, as `enrolled` shows them
    node: String,
    #[command(flatten)]
    admin: AdminOptions,
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
                println!(" no. node                             state    root   drives");
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
            Self::Key(command) => command.run(),
            Self::Enrol(command) => {
                let order = CreateEnrolment {
                    public_key: command.public_key.to_string(),
                    name: command.name,
                    drives: command.drives,
                    valid_seconds: command.expires.map(|valid| valid.as_secs()),
                };
                let made: EnrolmentInfo = command.admin.client()?.order("/v1/enrolments", &order).await?;
                if command.admin.json {
                    return super::print_json(&made);
                }
                println!("Node {} may join{}. On it:", made.node, until(made.expires));
                println!("  shoal join --drive PATH --enrolled {}", made.grid_pin);
                Ok(())
            }
            Self::Enrolled(command) => {
                let list: EnrolmentList = command.admin.client()?.call(Method::GET, "/v1/enrolments").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                if list.enrolments.is_empty() {
                    println!("No key is enrolled.");
                }
                for one in list.enrolments {
                    println!(
                        "{}  {:<8}{}  {}  {}",
                        one.node,
                        one.state,
                        until(one.expires),
                        one.name,
                        one.public_key
                    );
                }
                Ok(())
            }
            Self::Withdraw(command) => {
                let node = match command.node.parse::<NodePublicKey>() {
                    Ok(key) => key.node().to_string(),
                    Err(error @ KeyTextError::Mistyped(_)) => return Err(error.into()),
                    Err(KeyTextError::Other { .. }) => command.node,
                };
                let path = format!("/v1/enrolments/{}", segment(&node));
                let done: Done = command.admin.client()?.call(Method::DELETE, &path).await?;
                if command.admin.json { super::print_json(&done) } else { Ok(()) }
            }
            Self::Remove(command) => {
                let path = format!("/v1/nodes/{}", segment(&command.node));
                let done: Done = command.admin.client()?.call(Method::DELETE, &path).await?;
                if command.admin.json { super::print_json(&done) } else { Ok(()) }
            }
        }
    }
}

impl Key {
    fn run(self) -> Result<(), Failure> {
        let shown = self.drive.display();
        let failed = |error| format!("{shown}: {error}");
        let disk = RealDisk::open(&self.drive).map_err(failed)?;
        let bytes = match NodeFile::read(&disk).map_err(failed)? {
            Some(file) => file.public_key().as_slice().try_into()?,
            None => PreparedKey::read_or_draw(&disk).map_err(failed)?.public_key(),
        };
        let key = NodePublicKey(bytes);
        if self.json {
            return super::print_json(&json!({ "public_key": key.to_string(), "node": key.node() }));
        }
        println!("{key}");
        eprintln!("On a member:  shoal node enrol {key}");
        Ok(())
    }
}

fn until(expires: Option<Timestamp>) -> String {
    expires.map_or_else(String::new, |expires| format!(" until {}", amz_date(expires)))
}

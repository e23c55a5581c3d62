//! `shoal key`.

use admin_api::types::{CreateKey, Done, KeyList, NewKey, NewOperatorKey, RootKeyInfo};
use clap::{Args, Subcommand};
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;
use crate::client::segment;
use crate::founding::FIRST_USER;

/// Access keys, the operator key, and the root key.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Makes an access key; its secret is shown once
    Create(Create),
    /// Shows access keys without their secrets
    List(Plain),
    /// Refuses a key
    Disable(One),
    /// Accepts a key again
    Enable(One),
    /// Deletes a key
    Delete(One),
    /// Makes a new operator key; the old one ends
    Operator(Plain),
    /// Makes a new root key and seals anew all that the old one sealed; goes on by itself, see `status`
    Rotate(Plain),
    /// Shows the generations of the root key, and how far a rotation is
    Status(Plain),
}

/// `create`
#[derive(Args)]
pub struct Create {
    /// The user it acts for
    #[arg(long, default_value = FIRST_USER)]
    user: String,
    /// A given public id instead of a drawn one
    #[arg(long, requires = "secret")]
    id: Option<String>,
    /// A given secret instead of a drawn one
    #[arg(long, requires = "id")]
    secret: Option<String>,
    #[command(flatten)]
    admin: AdminOptions,
}

/// `list`, `operator`, `rotate`, `status`
#[derive(Args)]
pub struct Plain {
    #[command(flatten)]
    admin: AdminOptions,
}

/// `disable`, `enable`, `delete`
#[derive(Args)]
pub struct One {
    /// The public id
    id: String,
    #[command(flatten)]
    admin: AdminOptions,
}

impl KeyCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(command) => {
                let order = CreateKey { user: command.user, id: command.id, secret: command.secret };
                let key: NewKey = command.admin.client()?.order("/v1/keys", &order).await?;
                if command.admin.json {
                    return super::print_json(&key);
                }
                println!("access key  {}\nsecret key  {}\nThe secret is shown once.", key.id, key.secret);
                Ok(())
            }
            Self::List(command) => {
                let list: KeyList = command.admin.client()?.call(Method::GET, "/v1/keys").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                for key in list.keys {
                    println!("{:<24} {:<9} {}", key.id, key.state, key.user);
                }
                Ok(())
            }
            Self::Disable(command) => change(command, Method::POST, "/disable").await,
            Self::Enable(command) => change(command, Method::POST, "/enable").await,
            Self::Delete(command) => change(command, Method::DELETE, "").await,
            Self::Rotate(command) => {
                let done: Done = command.admin.client()?.call(Method::POST, "/v1/root-key/rotate").await?;
                if command.admin.json {
                    return super::print_json(&done);
                }
                println!("Ordered. It goes on by itself: `shoal key status` shows how far it is.");
                Ok(())
            }
            Self::Status(command) => {
                let key: RootKeyInfo = command.admin.client()?.call(Method::GET, "/v1/root-key").await?;
                if command.admin.json {
                    return super::print_json(&key);
                }
                show_root_key(&key);
                Ok(())
            }
            Self::Operator(command) => {
                let key: NewOperatorKey =
                    command.admin.client()?.call(Method::POST, "/v1/operator-key").await?;
                if command.admin.json {
                    return super::print_json(&key);
                }
                println!("operator key  {}\nIt is shown once; the old one ended.", key.operator_key);
                Ok(())
            }
        }
    }
}

fn show_root_key(key: &RootKeyInfo) {
    println!("root key {} seals{}", key.active, if key.rotating { "; a rotation goes on" } else { "" });
    println!("  {} records sealed, {} of them with another root key", key.records, key.records_of_older);
    if key.records_stuck > 0 {
        println!("  {} cannot be opened: the log of the root's leader names them", key.records_stuck);
    }
    if key.rotating {
        println!("  waits for {}", key.waits_for);
        for member in &key.members {
            let has: Vec<String> = member.generations.iter().map(u32::to_string).collect();
            let has =
                if has.is_empty() { "not heard yet".to_owned() } else { format!("has {}", has.join(", ")) };
            println!("  {} {}  {has}", member.node, member.name);
        }
    }
    if let Some(trouble) = &key.trouble {
        println!("  trouble on this node: {trouble}");
    }
}

async fn change(command: One, method: Method, verb: &str) -> Result<(), Failure> {
    let path = format!("/v1/keys/{}{verb}", segment(&command.id));
    let done: Done = command.admin.client()?.call(method, &path).await?;
    if command.admin.json { super::print_json(&done) } else { Ok(()) }
}

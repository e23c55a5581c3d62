//! `shoal key`.

use admin_api::types::{CreateKey, Done, KeyList, NewKey, NewOperatorKey};
use clap::{Args, Subcommand};
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;
use crate::client::segment;
use crate::founding::FIRST_USER;

/// Access keys and the operator key.
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

/// `list`, `operator`
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

async fn change(command: One, method: Method, verb: &str) -> Result<(), Failure> {
    let path = format!("/v1/keys/{}{verb}", segment(&command.id));
    let done: Done = command.admin.client()?.call(method, &path).await?;
    if command.admin.json { super::print_json(&done) } else { Ok(()) }
}

//! `shoal grid`.

use admin_api::types::Done;
use clap::{Args, Subcommand};
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;
use crate::client::segment;

/// The grid as a whole.
#[derive(Subcommand)]
pub enum GridCommand {
    /// Goes on without the other one of two nodes, which is lost for good
    ContinueWithout(ContinueWithout),
}

/// `continue-without`
#[derive(Args)]
pub struct ContinueWithout {
    /// Id of the lost node, as `shoal node list` shows it
    node: String,
    /// It will never serve again: two nodes that each go on alone could not be joined again
    #[arg(long, required = true)]
    it_is_lost: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

impl GridCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        let Self::ContinueWithout(command) = self;
        let path = format!("/v1/nodes/{}/continue-without", segment(&command.node));
        let done: Done = command.admin.client()?.call(Method::POST, &path).await?;
        if command.admin.json { super::print_json(&done) } else { Ok(()) }
    }
}

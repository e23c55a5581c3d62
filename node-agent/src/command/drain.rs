//! `shoal drain`: lets chunks move away from drives that are to leave.

use admin_api::types::{DriveInfo, DriveList};
use clap::Args;
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;

/// Lets the chunks of drives move away; then the drives leave.
#[derive(Args)]
pub struct Drain {
    /// Ids of drives of the node asked [default: all of them, before `shoal node remove`]
    drives: Vec<String>,
    #[command(flatten)]
    admin: AdminOptions,
}

impl Drain {
    /// The orders are durable when it returns; `shoal job list` shows how far the moving is.
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.admin.client()?;
        let mut ids = self.drives;
        if ids.is_empty() {
            let list: DriveList = client.call(Method::GET, "/v1/drives").await?;
            let here = list.drives.iter().filter(|drive| drive.problem.is_none());
            ids = here.filter_map(|drive| drive.id).map(|id| id.to_string()).collect();
        }
        let mut drained: Vec<DriveInfo> = Vec::new();
        for id in ids {
            let path = format!("/v1/drives/{}/drain", crate::client::segment(&id));
            drained.push(client.call(Method::POST, &path).await?);
        }
        if self.admin.json {
            return super::print_json(&DriveList { drives: drained });
        }
        for drive in drained {
            println!("{} is being emptied", drive.path);
        }
        println!(
            "Nodes that lead metadata do that (`shoal node list`): `shoal job list` on one of them shows how far it is, and what \
             keeps it from going on, as where no other node has room for a chunk."
        );
        Ok(())
    }
}

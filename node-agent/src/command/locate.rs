//! `shoal locate`: where the chunks of an object are.

use admin_api::types::{Locate, Located};
use clap::Args;

use super::admin_options::AdminOptions;
use super::{Failure, human_bytes};

/// Shows where the chunks of an object are.
#[derive(Args)]
pub struct LocateCommand {
    /// s3://BUCKET/KEY
    object: String,
    #[command(flatten)]
    admin: AdminOptions,
}

impl LocateCommand {
    /// Reads only.
    pub async fn run(self) -> Result<(), Failure> {
        let path = self.object.strip_prefix("s3://").unwrap_or(&self.object);
        let (bucket, key) = path.split_once('/').ok_or("name an object as s3://BUCKET/KEY")?;
        let order = Locate { bucket: bucket.to_owned(), key: key.to_owned() };
        let located: Located = self.admin.client()?.order("/v1/locate", &order).await?;
        if self.admin.json {
            return super::print_json(&located);
        }
        println!("version {}, {}", located.version, human_bytes(located.size));
        if located.inline {
            println!("in its metadata row, on every node that replicates the shard");
        }
        for segment in located.segments {
            println!("segment {} {} {}", segment.segment, segment.profile, human_bytes(segment.bytes));
            for (index, chunk) in segment.chunks.iter().enumerate() {
                let drive =
                    chunk.drive.map_or_else(|| "nowhere, to be rebuilt".to_owned(), |id| id.to_string());
                let node = chunk.node.map_or_else(String::new, |node| format!("  node {node}"));
                let state = if chunk.readable || chunk.drive.is_none() { "" } else { "  not readable now" };
                println!("  {index}  {drive}{node}{state}");
            }
        }
        Ok(())
    }
}

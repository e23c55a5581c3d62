//! `shoal quarantine`.

use admin_api::types::{
    QuarantineChoice, QuarantineDone, QuarantineList, QuarantinedInfo, ReleaseQuarantined,
};
use clap::{Args, Subcommand};
use grid_types::{SegmentId, VersionId};
use http::Method;

use super::admin_options::AdminOptions;
use super::{Failure, human_bytes};

/// What `rebuild-metadata` found and could not place.
#[derive(Subcommand)]
pub enum QuarantineCommand {
    /// Shows quarantined segments and where they came from
    List(List),
    /// Makes quarantined segments an object under a name that is free
    Release(Release),
    /// Deletes quarantined segments for good
    Delete(Delete),
}

/// `list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    admin: AdminOptions,
}

/// Which ones.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Choice {
    /// All segments of this version, in the order of its parts
    #[arg(long)]
    version: Option<VersionId>,
    /// This segment; several are taken in the order given
    #[arg(long = "segment", value_name = "SEGMENT")]
    segments: Vec<SegmentId>,
}

/// `release`
#[derive(Args)]
pub struct Release {
    #[command(flatten)]
    choice: Choice,
    /// The object to make: BUCKET/KEY
    #[arg(long, value_name = "BUCKET/KEY")]
    to: String,
    #[command(flatten)]
    admin: AdminOptions,
}

/// `delete`
#[derive(Args)]
pub struct Delete {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    admin: AdminOptions,
}

impl Choice {
    fn order(self) -> QuarantineChoice {
        QuarantineChoice { version: self.version, segments: self.segments }
    }
}

impl QuarantineCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(command) => {
                let list: QuarantineList =
                    command.admin.client()?.call(Method::GET, "/v1/quarantine").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                list.segments.iter().for_each(show);
                Ok(())
            }
            Self::Release(command) => {
                let (bucket, key) = command.to.split_once('/').ok_or("write the new name as BUCKET/KEY")?;
                let order = ReleaseQuarantined {
                    choice: command.choice.order(),
                    bucket: bucket.to_owned(),
                    key: key.to_owned(),
                };
                let done: QuarantineDone =
                    command.admin.client()?.order("/v1/quarantine/release", &order).await?;
                if command.admin.json {
                    return super::print_json(&done);
                }
                println!("{} segments became {} ({})", done.segments, command.to, human_bytes(done.bytes));
                Ok(())
            }
            Self::Delete(command) => {
                let client = command.admin.client()?;
                let done: QuarantineDone =
                    client.order("/v1/quarantine/delete", &command.choice.order()).await?;
                if command.admin.json {
                    return super::print_json(&done);
                }
                println!("{} segments deleted", done.segments);
                Ok(())
            }
        }
    }
}

fn show(one: &QuarantinedInfo) {
    match &one.origin {
        Some(origin) => println!(
            "{}  {:>10}  {}/{}  version {} part {} segment {}",
            one.segment,
            human_bytes(one.bytes),
            origin.bucket,
            origin.key,
            origin.version,
            origin.part,
            origin.number
        ),
        None => println!("{}  {:>10}  no key opens it", one.segment, human_bytes(one.bytes)),
    }
}

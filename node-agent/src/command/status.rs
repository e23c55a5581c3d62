//! `shoal status`.

use admin_api::types::Status;
use clap::Args;
use http::Method;

use super::admin_options::AdminOptions;
use super::{Failure, human_bytes};

/// The node at a glance.
#[derive(Args)]
pub struct StatusCommand {
    #[command(flatten)]
    admin: AdminOptions,
}

impl StatusCommand {
    /// Reads only.
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.admin.client()?;
        let status: Status = client.call(Method::GET, "/v1/status").await?;
        if self.admin.json {
            return super::print_json(&status);
        }
        let ready = if status.readiness.ready { "ready" } else { "NOT READY" };
        println!(
            "shoal {} {ready}, up {} s, start {}",
            status.version, status.uptime_seconds, status.incarnation
        );
        for reason in &status.readiness.reasons {
            println!("  {reason}");
        }
        println!("grid     {}", status.grid);
        println!("node     {}", status.node);
        println!("s3       {} region {}", status.s3.join(" "), status.region);
        println!("admin    {}", status.admin.join(" "));
        println!("drives   {} of {} in service", status.drives_in_service, status.drives_known);
        println!("room     {} free of {}", human_bytes(status.free_bytes), human_bytes(status.total_bytes));
        if let Some(clock) = &status.clock {
            println!("time     {}", super::clock::line(clock));
        }
        println!("promise  {}", status.promise);
        println!(
            "repair   {} segments incomplete, {} beyond repair",
            status.segments_incomplete, status.segments_unrecoverable
        );
        for line in &status.board {
            println!("board    {line}");
        }
        for warning in &status.warnings {
            println!("warning  {warning}");
        }
        Ok(())
    }
}

//! `shoal job`.

use admin_api::types::{JobInfo, JobList};
use clap::{Args, Subcommand};
use http::Method;

use super::Failure;
use super::admin_options::AdminOptions;
use crate::client::segment;

/// Background workers.
#[derive(Subcommand)]
pub enum JobCommand {
    /// Shows what runs in the background
    List(List),
    /// Finishes the item at hand, then waits
    Pause(One),
    /// Goes on
    Resume(One),
    /// Begins a round now
    Run(One),
}

/// `list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    admin: AdminOptions,
}

/// `pause`, `resume`, `run`
#[derive(Args)]
pub struct One {
    /// Its name, as `list` shows it
    name: String,
    #[command(flatten)]
    admin: AdminOptions,
}

impl JobCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(command) => {
                let list: JobList = command.admin.client()?.call(Method::GET, "/v1/jobs").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                list.jobs.iter().for_each(show);
                Ok(())
            }
            Self::Pause(command) => order(command, "pause").await,
            Self::Resume(command) => order(command, "resume").await,
            Self::Run(command) => order(command, "run").await,
        }
    }
}

async fn order(command: One, verb: &str) -> Result<(), Failure> {
    let path = format!("/v1/jobs/{}/{verb}", segment(&command.name));
    let job: JobInfo = command.admin.client()?.call(Method::POST, &path).await?;
    if command.admin.json {
        return super::print_json(&job);
    }
    show(&job);
    Ok(())
}

fn show(job: &JobInfo) {
    println!(
        "{:<14} {:<8} done {:>8} failed {:>5} waiting {:>7}  {}",
        job.name, job.state, job.done, job.failed, job.waiting, job.detail
    );
    if let Some(error) = &job.last_error {
        println!("    last failure: {error}");
    }
}

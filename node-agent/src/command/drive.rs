//! `shoal drive`.

use std::path::PathBuf;

use admin_api::types::{AddDrive, DriveInfo, DriveList, ReplaceDrive, VerifyReport};
use clap::{Args, Subcommand};
use http::Method;

use super::admin_options::AdminOptions;
use super::{Failure, human_bytes};
use crate::client::{AdminClient, segment};

/// Drives.
#[derive(Subcommand)]
pub enum DriveCommand {
    /// Shows each drive's state, room and errors
    List(List),
    /// Makes an existing, empty folder a drive of this node, or takes one of its drives back
    Add(Add),
    /// Takes over a drive of a node that is gone, with what lies on it
    Adopt(Add),
    /// Retires a drive and puts another folder in its place
    Replace(Replace),
    /// Puts no new chunks onto a drive
    Lock(One),
    /// Ends a lock
    Unlock(One),
    /// Reads every chunk of a drive and checks it
    Verify(One),
}

/// `list`
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    admin: AdminOptions,
}

/// What a new drive needs.
#[derive(Args)]
pub struct NewFolder {
    /// The folder
    path: PathBuf,
    /// Use a folder that holds other files; those stay
    #[arg(long)]
    allow_not_empty: bool,
    /// Use a folder on the file system of another drive; they count as one failure domain
    #[arg(long)]
    same_file_system_ok: bool,
}

/// `add`
#[derive(Args)]
pub struct Add {
    #[command(flatten)]
    folder: NewFolder,
    #[command(flatten)]
    admin: AdminOptions,
}

/// `replace`
#[derive(Args)]
pub struct Replace {
    /// Id or folder of the drive that leaves
    drive: String,
    #[command(flatten)]
    folder: NewFolder,
    #[command(flatten)]
    admin: AdminOptions,
}

/// `lock`, `unlock`, `verify`
#[derive(Args)]
pub struct One {
    /// Its id or its folder
    drive: String,
    #[command(flatten)]
    admin: AdminOptions,
}

impl DriveCommand {
    /// Orders run to completion on the node.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(command) => {
                let list: DriveList = command.admin.client()?.call(Method::GET, "/v1/drives").await?;
                if command.admin.json {
                    return super::print_json(&list);
                }
                list.drives.iter().for_each(show);
                Ok(())
            }
            Self::Adopt(command) => {
                let order = AddDrive {
                    path: absolute(&command.folder.path)?,
                    allow_not_empty: true,
                    same_file_system_ok: command.folder.same_file_system_ok,
                };
                let drive: DriveInfo = command.admin.client()?.order("/v1/drives/adopt", &order).await?;
                answer(&command.admin, &drive)
            }
            Self::Add(command) => {
                let order = AddDrive {
                    path: absolute(&command.folder.path)?,
                    allow_not_empty: command.folder.allow_not_empty,
                    same_file_system_ok: command.folder.same_file_system_ok,
                };
                let drive: DriveInfo = command.admin.client()?.order("/v1/drives", &order).await?;
                answer(&command.admin, &drive)
            }
            Self::Replace(command) => {
                let client = command.admin.client()?;
                let id = id_of(&client, &command.drive).await?;
                let order = ReplaceDrive {
                    path: absolute(&command.folder.path)?,
                    allow_not_empty: command.folder.allow_not_empty,
                    same_file_system_ok: command.folder.same_file_system_ok,
                };
                let drive: DriveInfo = client.order(&format!("/v1/drives/{id}/replace"), &order).await?;
                answer(&command.admin, &drive)
            }
            Self::Lock(command) => order(command, "lock").await,
            Self::Unlock(command) => order(command, "unlock").await,
            Self::Verify(command) => {
                let client = command.admin.client()?;
                let id = id_of(&client, &command.drive).await?;
                let report: VerifyReport =
                    client.call(Method::POST, &format!("/v1/drives/{id}/verify")).await?;
                if command.admin.json {
                    return super::print_json(&report);
                }
                println!(
                    "{} chunks checked, {} damaged, {} damaged that nothing names any more",
                    report.checked, report.damaged, report.damaged_garbage
                );
                report.first_damaged.iter().for_each(|chunk| println!("  {chunk}"));
                Ok(())
            }
        }
    }
}

async fn order(command: One, verb: &str) -> Result<(), Failure> {
    let client = command.admin.client()?;
    let id = id_of(&client, &command.drive).await?;
    let drive: DriveInfo = client.call(Method::POST, &format!("/v1/drives/{id}/{verb}")).await?;
    answer(&command.admin, &drive)
}

/// An id as it is; a folder is looked up in the list.
async fn id_of(client: &AdminClient, named: &str) -> Result<String, Failure> {
    if !named.contains('/') {
        return Ok(segment(named));
    }
    let path = absolute(&PathBuf::from(named))?;
    let list: DriveList = client.call(Method::GET, "/v1/drives").await?;
    list.drives
        .iter()
        .find(|drive| drive.path == path)
        .and_then(|drive| drive.id)
        .map(|id| id.to_string())
        .ok_or_else(|| format!("{path} is no drive of this node; `shoal drive list` shows them").into())
}

fn absolute(path: &PathBuf) -> Result<String, Failure> {
    // The same folder under another name must be found again: links are resolved where the folder is there.
    let path = path.canonicalize().or_else(|_| std::path::absolute(path))?;
    path.to_str().map(str::to_owned).ok_or_else(|| "the name of a drive's folder must be UTF-8".into())
}

fn answer(admin: &AdminOptions, drive: &DriveInfo) -> Result<(), Failure> {
    if admin.json {
        return super::print_json(drive);
    }
    show(drive);
    Ok(())
}

fn show(drive: &DriveInfo) {
    let id = drive.id.map_or_else(|| "-".repeat(32), |id| id.to_string());
    let state = format!("{:?}{}", drive.state, if drive.locked { ", locked" } else { "" }).to_lowercase();
    println!(
        "{id}  {state:<16} {:>10} free of {:>10}  read {:>3} write {:>3}  {}",
        human_bytes(drive.free_bytes),
        human_bytes(drive.total_bytes),
        drive.read_score,
        drive.write_score,
        drive.path
    );
    if let Some(problem) = &drive.problem {
        println!("    {problem}");
    }
    if drive.corruptions > 0 {
        println!("    {} corruptions found since start", drive.corruptions);
    }
}

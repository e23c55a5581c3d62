//! What is done to a folder: looking, opening again, making it a drive. All of it blocks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunk_store::{Drive, DriveConfig, DriveLabel, DriveSummary, label};
use grid_types::{DriveId, NodeId};
use sys::{Clock, Disk, Random, RealDisk};

use super::DriveLock;
use crate::identity::NodeFile;

/// What a look at a drive found.
pub enum Look {
    /// As it should be.
    Present(DriveSummary),
    /// It was away and is open again.
    Reopened(Drive, DriveSummary, DriveLock),
    /// Not there, or something else is there.
    Gone(String),
    /// There, and broken.
    Broken(String),
}

/// Looks by path, so that a vanished or replaced mount is seen although open handles still work.
pub fn look(
    path: &Path,
    id: DriveId,
    open: Option<&Drive>,
    clock: Arc<dyn Clock>,
    config: DriveConfig,
) -> Look {
    let disk = match RealDisk::open(path) {
        Ok(disk) => Arc::new(disk),
        Err(error) => return Look::Gone(format!("cannot be opened: {error}")),
    };
    match label::read(&*disk) {
        Ok(Some(label)) if label.drive == id => {}
        Ok(Some(label)) => return Look::Gone(format!("drive {} lies in its folder now", label.drive)),
        Ok(None) => return Look::Gone("its folder has no label: not mounted, or another drive".to_owned()),
        Err(error) => return Look::Gone(format!("its label cannot be read: {error}")),
    }
    match open {
        Some(drive) if drive.disk().local_path(label::LABEL_FILE).is_some() => {
            let summary = drive.summary();
            match summary.out_of_service.clone() {
                Some(reason) => Look::Broken(reason),
                None => Look::Present(summary),
            }
        }
        // The handle leads to a file system that was unmounted since.
        Some(_) => Look::Gone("its file system was mounted anew".to_owned()),
        None => {
            let lock = match DriveLock::take(path) {
                Ok(lock) => lock,
                Err(error) => return Look::Gone(error.to_string()),
            };
            match Drive::open(disk, clock, config) {
                Ok(drive) => {
                    let summary = drive.summary();
                    Look::Reopened(drive, summary, lock)
                }
                Err(error) => Look::Broken(error.to_string()),
            }
        }
    }
}

/// An order to take a folder.
#[derive(Debug, Clone)]
pub struct Take {
    /// The folder, absolute.
    pub path: PathBuf,
    /// A node that is gone, whose drive it may be: then it and its chunks become this node's.
    pub adopt_from: Option<NodeId>,
    /// Other files in it may stay.
    pub allow_not_empty: bool,
    /// It may share its file system with another drive.
    pub same_file_system_ok: bool,
    /// File systems of the other drives.
    pub file_systems: Vec<String>,
    /// Drives in service, which this must not be a copy of.
    pub in_service: Vec<DriveId>,
}

/// Makes a folder a drive of this node, or opens one again that is.
pub fn take(
    order: &Take,
    identity: &NodeFile,
    clock: Arc<dyn Clock>,
    random: &dyn Random,
    config: DriveConfig,
) -> Result<(Drive, DriveSummary, DriveLock), String> {
    let path = order.path.display();
    let disk =
        Arc::new(RealDisk::open(&order.path).map_err(|error| format!("{path} cannot be opened: {error}"))?);
    let mut found =
        label::read(&*disk).map_err(|error| format!("{path}: its label cannot be read: {error}"))?;
    let mut adopted = None;
    if let Some(label) = &mut found {
        if label.grid == identity.grid && order.adopt_from == Some(label.node) {
            adopted = Some(label.clone());
            label.node = identity.node;
        }
        if (label.grid, label.node) != (identity.grid, identity.node) {
            return Err(format!(
                "{path} belongs to another {}; nothing here takes or erases it",
                if label.grid == identity.grid { "node of this grid" } else { "grid" }
            ));
        }
        if order.in_service.contains(&label.drive) {
            return Err(format!(
                "{path} is drive {}, or a copy of it, and that one is in service",
                label.drive
            ));
        }
    }
    let file_system = disk.file_system().map_err(|error| format!("{path}: {error}"))?;
    if !order.same_file_system_ok && order.file_systems.contains(&file_system) {
        return Err(format!(
            "{path} lies on the file system of another drive: both would be lost together and count as one; say \
             --same-file-system-ok to take it all the same"
        ));
    }
    let lock = DriveLock::take(&order.path).map_err(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "{path}: {error}; where it is writable for others, the service's sandbox lacks it: `systemctl edit shoal`, \
             [Service], ReadWritePaths={path}"
        ),
        _ => format!("{path}: {error}"),
    })?;
    if let (Some(before), Some(now)) = (adopted, &found) {
        adopt(&order.path, &*disk, &before, now).map_err(|error| format!("{path}: adopting it: {error}"))?;
    }
    if found.is_none() {
        let label = DriveLabel {
            grid: identity.grid,
            node: identity.node,
            drive: DriveId::from(random.id()),
            generation: 1,
            created: clock.now(),
        };
        label::create(&*disk, &label, order.allow_not_empty).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{path} is not empty: say --allow-not-empty to keep what is there and take it all the same")
            }
            _ => format!("{path}: {error}"),
        })?;
    }
    identity.write(&*disk).map_err(|error| format!("{path}: writing the node file: {error}"))?;
    let drive = Drive::open(disk, clock, config).map_err(|error| error.to_string())?;
    let summary = drive.summary();
    Ok((drive, summary, lock))
}

/// Makes a drive of a node that is gone this node's. What it knew of the metadata belonged to that node's votes: it is
/// put aside, not deleted.
fn adopt(path: &Path, disk: &dyn Disk, before: &DriveLabel, now: &DriveLabel) -> io::Result<()> {
    let (metadata, aside) = (path.join("meta"), path.join(format!("meta-of-{}", before.node)));
    match std::fs::rename(&metadata, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    disk.sync_dir("", "adopt: metadata put aside")?;
    label::replace(disk, before, now)?;
    tracing::info!(drive = %now.drive, path = %path.display(), from = %before.node, "drive adopted");
    Ok(())
}

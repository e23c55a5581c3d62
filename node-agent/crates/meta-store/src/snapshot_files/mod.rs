//! Snapshots of groups as files on every mirror of the metadata home. docs/formats/metadata-snapshot.md has the bytes.
//!
//! Invariants: a snapshot counts once it is synced and named on *all* drives of the home, since the log is purged on the
//! strength of it; all drives hold the same bytes, so that a reader takes each chunk from whichever drive has it whole;
//! one chunk is in memory at a time. All calls block.

mod format;
mod reader;
mod writer;

#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod torture_tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use grid_types::ShardId;
use parking_lot::Mutex;

pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

use self::format::{SNAPSHOT_DIR, file_path, parse_name};
use crate::MetaError;
use crate::home::HomeDrive;

/// Snapshots kept of each group.
pub const SNAPSHOTS_KEPT: usize = 2;
/// Bytes of one chunk at most; larger pieces are cut.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// What a snapshot says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The group.
    pub group: ShardId,
    /// Index of the last entry that it contains.
    pub index: u64,
    /// Log id of that entry (and what else the Raft group wants to keep with it), opaque.
    pub log_id: Bytes,
}

/// The snapshots on the drives of the metadata home. Cheap to clone.
#[derive(Clone)]
pub struct SnapshotFiles {
    home: Arc<Mutex<Vec<HomeDrive>>>,
}

impl SnapshotFiles {
    /// Snapshots on these drives: the mirrors of the log (`SharedLog::mirrors`). Makes their directory.
    pub fn open(drives: Vec<HomeDrive>) -> Result<Self, MetaError> {
        for drive in &drives {
            prepare(drive).map_err(failed("prepare the directory of snapshots"))?;
        }
        let this = Self { home: Arc::new(Mutex::new(drives)) };
        this.spread();
        Ok(this)
    }

    /// A crash may have left a snapshot on some drives alone; whoever finds it may rely on it, so all get it.
    fn spread(&self) {
        let drives = self.home();
        for group in groups(&drives) {
            for info in self.list(group).into_iter().take(SNAPSHOTS_KEPT) {
                let has =
                    |drive: &HomeDrive| parse_names(std::slice::from_ref(drive), group).contains(&info.index);
                let (with, without): (Vec<_>, Vec<_>) = drives.iter().cloned().partition(has);
                if without.is_empty() {
                    continue;
                }
                if let Err(error) = copy_to_newcomers(&info, &with, &without) {
                    tracing::warn!(%group, index = info.index, %error, "a metadata snapshot lacks a copy");
                }
            }
        }
    }

    /// The drives now.
    pub fn home(&self) -> Vec<HomeDrive> {
        self.home.lock().clone()
    }

    /// Moves to other drives: what newcomers lack is copied to them first. Call it before a drive becomes a mirror of
    /// the log (`SharedLog::set_home`), and again with fewer drives after one has left.
    pub fn set_home(&self, drives: Vec<HomeDrive>) -> Result<(), MetaError> {
        let before = self.home();
        let is_new = |drive: &&HomeDrive| !before.iter().any(|old| old.id == drive.id);
        for drive in drives.iter().filter(is_new) {
            prepare(drive).map_err(failed("prepare the directory of snapshots"))?;
        }
        // From here on new snapshots go to the newcomers, too; one that was begun before is copied when it ends.
        *self.home.lock() = drives.clone();
        for group in groups(&before) {
            for info in self.list_on(&before, group).into_iter().take(SNAPSHOTS_KEPT) {
                copy_to_newcomers(&info, &before, &drives)?;
            }
        }
        Ok(())
    }

    /// Begins a snapshot. Nothing counts before `SnapshotWriter::finish`; a writer that is dropped leaves nothing.
    pub fn begin(&self, group: ShardId, index: u64, log_id: Bytes) -> Result<SnapshotWriter, MetaError> {
        SnapshotWriter::begin(self.clone(), SnapshotInfo { group, index, log_id })
    }

    /// Snapshots of a group that some drive names, newest first. Whether one is whole shows in reading.
    pub fn list(&self, group: ShardId) -> Vec<SnapshotInfo> {
        self.list_on(&self.home(), group)
    }

    /// Groups of which there is a snapshot.
    pub fn groups(&self) -> Vec<ShardId> {
        groups(&self.home()).into_iter().collect()
    }

    /// Opens a snapshot for reading from its start.
    pub fn read(&self, info: &SnapshotInfo) -> Result<SnapshotReader, MetaError> {
        SnapshotReader::open(&self.home(), info)
    }

    /// The newest snapshot of a group that can be read to its end, on one drive or put together from several: it is read
    /// through to find out. `None` where the group has none at all; `Damaged` where none of them is whole.
    pub fn newest(&self, group: ShardId) -> Result<Option<SnapshotInfo>, MetaError> {
        let all = self.list(group);
        let mut last = None;
        for info in &all {
            match self.read(info).and_then(SnapshotReader::verify) {
                Ok(()) => return Ok(Some(info.clone())),
                Err(error) => {
                    tracing::error!(%group, index = info.index, %error, "a metadata snapshot is damaged");
                    last = Some(error);
                }
            }
        }
        let named = parse_names(&self.home(), group);
        match last {
            None if named.is_empty() => Ok(None),
            None => {
                Err(MetaError::Damaged(format!("no snapshot of metadata shard {group} has a sound header")))
            }
            Some(error) => Err(error),
        }
    }

    /// Removes all snapshots of a group.
    pub fn remove_group(&self, group: ShardId) -> Result<(), MetaError> {
        for drive in self.home() {
            remove_if(&drive, |found, _| found == group).map_err(failed("remove snapshots"))?;
        }
        Ok(())
    }

    fn list_on(&self, drives: &[HomeDrive], group: ShardId) -> Vec<SnapshotInfo> {
        parse_names(drives, group)
            .into_iter()
            .rev()
            .filter_map(|index| reader::info(drives, group, index))
            .collect()
    }

    /// A snapshot is whole on the drives where it was begun: drives that joined meanwhile get it, older ones go.
    fn finished(&self, info: &SnapshotInfo, written_to: &[HomeDrive]) -> Result<(), MetaError> {
        let drives = self.home();
        copy_to_newcomers(info, written_to, &drives)?;
        for drive in &drives {
            let indexes = parse_names(std::slice::from_ref(drive), info.group);
            let Some(oldest_kept) = indexes.iter().rev().nth(SNAPSHOTS_KEPT - 1) else { continue };
            let old = |group, index| group == info.group && index < *oldest_kept;
            if let Err(error) = remove_if(drive, old) {
                tracing::warn!(drive = %drive.id, %error, "an old metadata snapshot cannot be removed");
            }
        }
        Ok(())
    }
}

/// Makes the directory and its names durable, and removes what a crash left half-written.
fn prepare(drive: &HomeDrive) -> io::Result<()> {
    let disk = &drive.disk;
    disk.create_dir_all(SNAPSHOT_DIR)?;
    disk.sync_dir("", "snapshot: root directory")?;
    disk.sync_dir("meta", "snapshot: meta directory")?;
    // A process that died may have left names in the cache alone; they count from here on.
    disk.sync_dir(SNAPSHOT_DIR, "snapshot: reopened directory")?;
    for entry in disk.list(SNAPSHOT_DIR)? {
        if entry.name.ends_with(format::TEMPORARY) {
            disk.remove(&format!("{SNAPSHOT_DIR}/{}", entry.name))?;
        }
    }
    Ok(())
}

fn copy_to_newcomers(info: &SnapshotInfo, from: &[HomeDrive], to: &[HomeDrive]) -> Result<(), MetaError> {
    let lacks = |drive: &&HomeDrive| !from.iter().any(|old| old.id == drive.id);
    let newcomers: Vec<HomeDrive> = to.iter().filter(lacks).cloned().collect();
    if newcomers.is_empty() {
        return Ok(());
    }
    let mut reader = SnapshotReader::open(from, info)?;
    let mut writer = writer::Files::create(newcomers, info.clone())?;
    while let Some(chunk) = reader.next_chunk()? {
        writer.write(&chunk)?;
    }
    writer.finish()
}

/// Groups that any of the drives names.
fn groups(drives: &[HomeDrive]) -> BTreeSet<ShardId> {
    names(drives).map(|(group, _)| group).collect()
}

/// Indexes of a group's snapshots that any of the drives names.
fn parse_names(drives: &[HomeDrive], group: ShardId) -> BTreeSet<u64> {
    names(drives).filter(|(found, _)| *found == group).map(|(_, index)| index).collect()
}

fn names(drives: &[HomeDrive]) -> impl Iterator<Item = (ShardId, u64)> {
    let entries = drives.iter().filter_map(|drive| match drive.disk.list(SNAPSHOT_DIR) {
        Ok(entries) => Some(entries),
        Err(error) => {
            tracing::error!(drive = %drive.id, %error, "the snapshots of a drive cannot be listed");
            None
        }
    });
    entries.flatten().filter_map(|entry| parse_name(&entry.name))
}

fn remove_if(drive: &HomeDrive, gone: impl Fn(ShardId, u64) -> bool) -> io::Result<()> {
    for entry in drive.disk.list(SNAPSHOT_DIR)? {
        if let Some((group, index)) = parse_name(&entry.name)
            && gone(group, index)
        {
            drive.disk.remove(&file_path(group, index))?;
        }
    }
    Ok(())
}

/// Names the operation of an I/O error.
fn failed(operation: &'static str) -> impl Fn(io::Error) -> MetaError {
    move |source| MetaError::Io { operation, source }
}

//! Where files of shards lie on the drives of this node: SQLite on one, snapshot copies on all mirrors.

use std::sync::Arc;

use grid_types::{DriveId, ShardId};
use parking_lot::RwLock;
use sys::Disk;

use super::snapshots::{SnapshotHead, SnapshotReader, write_copy};
use crate::home::{HomeDrive, MIRRORS_WANTED};
use crate::state::{ChildFiles, Durable, ImageChunks, Limits, ShardFile, ShardRange, StateError, Storage, Writer};
use crate::{MetaConfig, MetaError};

/// Folder of the SQLite files.
const SQLITE_FOLDER: &str = "meta/sqlite";
/// Page cache of one connection: never below what a listing needs.
const CACHE_BYTES_MIN: u64 = 256 << 10;
/// Connections that share the budget of page caches, guessed: 4 shards with a writer and 3 readers each.
const CONNECTIONS_GUESSED: u64 = 16;

/// The drives that carry metadata.
pub(super) struct Homes {
    drives: RwLock<Vec<HomeDrive>>,
    cache_bytes: u64,
}

impl Homes {
    pub(super) fn new(drives: Vec<HomeDrive>, config: &MetaConfig) -> Self {
        let cache_bytes = (config.page_cache_bytes / CONNECTIONS_GUESSED).max(CACHE_BYTES_MIN);
        Self { drives: RwLock::new(drives), cache_bytes }
    }

    pub(super) fn set(&self, drives: Vec<HomeDrive>) {
        *self.drives.write() = drives;
    }

    pub(super) fn drives(&self) -> Vec<HomeDrive> {
        self.drives.read().clone()
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    /// Drive and storage of a shard's SQLite file: where it lies already, else the first drive.
    pub(super) fn storage(&self, shard: ShardId) -> Result<(Option<DriveId>, Storage), MetaError> {
        let path = format!("{SQLITE_FOLDER}/shard-{shard}.db");
        let drives = self.drives();
        let local: Vec<&HomeDrive> =
            drives.iter().filter(|drive| drive.disk.local_path(&path).is_some()).collect();
        let there = local.iter().find(|drive| drive.disk.open_read(&path).is_ok());
        match there.or(local.first()) {
            Some(drive) => {
                let io = |source| MetaError::Io { operation: "create the folder of shards", source };
                drive.disk.create_dir_all(SQLITE_FOLDER).map_err(io)?;
                Ok((Some(drive.id), Storage::File { disk: drive.disk.clone(), path }))
            }
            None => Ok((None, Storage::Memory)),
        }
    }

    /// Drives for snapshot copies.
    fn copies(&self) -> Vec<HomeDrive> {
        self.drives().into_iter().take(MIRRORS_WANTED).collect()
    }

    /// Writes an image to every mirror at once; older copies of the shard go afterwards. Blocks. Fails unless every
    /// mirror took it.
    pub(super) fn write_snapshot(&self, shard: ShardId, mut image: ImageChunks) -> Result<Durable, MetaError> {
        let durable = image.durable.clone();
        let io = |source| MetaError::Io { operation: "write a snapshot copy", source };
        let disks: Vec<Arc<dyn Disk>> = self.copies().into_iter().map(|drive| drive.disk).collect();
        write_copy(&disks, shard, &durable, || image.next_chunk()).map_err(io)?;
        for drive in self.drives() {
            super::snapshots::remove_older(drive.disk.as_ref(), shard, durable.applied.index).map_err(io)?;
        }
        Ok(durable)
    }

    /// Heads of all copies of a shard that can be read, newest first.
    pub(super) fn snapshots(&self, shard: ShardId) -> Vec<(Arc<dyn Disk>, SnapshotHead)> {
        let mut found: Vec<(Arc<dyn Disk>, SnapshotHead)> = Vec::new();
        for drive in self.drives() {
            for head in super::snapshots::heads(drive.disk.as_ref(), shard) {
                found.push((drive.disk.clone(), head));
            }
        }
        found.sort_by_key(|(_, head)| std::cmp::Reverse(head.durable.applied.index));
        found
    }

    /// Makes the shard's file from a copy.
    pub(super) fn restore(
        self: &Arc<Self>,
        shard: ShardId,
        storage: Storage,
        disk: &dyn Disk,
        head: &SnapshotHead,
    ) -> Result<ShardFile, StateError> {
        let mut reader = SnapshotReader::open(disk, head)
            .map_err(|source| StateError::Io { operation: "open a snapshot copy", source })?;
        ShardFile::restore(shard, storage, || reader.next_chunk(), self.cache_bytes, self.clone())
    }
}

impl ChildFiles for Homes {
    fn born(&self, child: ShardId) -> bool {
        !self.snapshots(child).is_empty()
    }

    fn create(self: Arc<Self>, child: ShardId, limits: Limits) -> Result<Writer, StateError> {
        let (_, storage) = self.storage(child).map_err(|error| StateError::Io {
            operation: "place the child's file",
            source: std::io::Error::other(error),
        })?;
        let cache_bytes = self.cache_bytes;
        ShardFile::create_writer(&storage, &ShardRange::default(), limits, cache_bytes, self)
    }
}

//! Where files of shards lie on the drives of this node: SQLite on one, snapshots on all mirrors of the log.

use std::sync::Arc;

use bytes::Bytes;
use grid_types::{DriveId, ShardId};
use parking_lot::RwLock;
use tokio::sync::mpsc;

use crate::home::{HomeDrive, MIRRORS_WANTED};
use crate::snapshot_files::{SnapshotFiles, SnapshotInfo};
use crate::state::{
    Applied, ChildFiles, Durable, ImageChunks, Limits, ShardFile, ShardRange, StateError, Storage, Writer,
};
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
    snapshots: SnapshotFiles,
    cache_bytes: u64,
}

/// What a snapshot's head keeps in its opaque field: index, log id and members of the applied state.
type StoredHead = (Option<u64>, Vec<u8>, Option<Vec<u8>>);

fn encode_head(durable: &Durable) -> Bytes {
    let head: StoredHead =
        (durable.applied.index, durable.applied.log_id.clone(), durable.membership.clone());
    postcard::to_allocvec(&head).expect("numbers and bytes encode").into()
}

/// What a snapshot of another node covers, as it travels before its pieces: length, then the head.
#[derive(Debug, Clone)]
pub(super) struct ReceivedHead {
    durable: Durable,
}

/// Bytes of a head at most: a log id and a few dozen members.
const HEAD_BYTES_MAX: usize = 64 << 10;

impl ReceivedHead {
    pub(super) fn of(durable: &Durable) -> Self {
        Self { durable: durable.clone() }
    }

    pub(super) fn encode(&self) -> Bytes {
        let head = encode_head(&self.durable);
        // Far below the limit.
        let mut bytes = (head.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&head);
        bytes.into()
    }

    /// The head and the bytes that it took; `None` where more must come first.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, MetaError> {
        let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > HEAD_BYTES_MAX {
            return Err(MetaError::Damaged("a snapshot of another node begins with no head".to_owned()));
        }
        let Some(head) = rest.get(..len) else { return Ok(None) };
        Ok(Some((Self { durable: decode_stored_head(head)? }, 4 + len)))
    }

    pub(super) fn durable(&self) -> Durable {
        self.durable.clone()
    }

    pub(super) fn index(&self) -> Option<u64> {
        self.durable.applied.index
    }

    pub(super) fn log_id(&self) -> Bytes {
        Bytes::copy_from_slice(&self.durable.applied.log_id)
    }
}

/// Snapshots are numbered by how many entries they contain, so that a shard's first one, which contains none, is 0.
fn entries_in(durable: &Durable) -> u64 {
    durable.applied.index.map_or(0, |index| index + 1)
}

/// What a snapshot covers.
pub(super) fn decode_head(info: &SnapshotInfo) -> Result<Durable, MetaError> {
    decode_stored_head(&info.log_id)
}

fn decode_stored_head(bytes: &[u8]) -> Result<Durable, MetaError> {
    let (index, log_id, membership): StoredHead = postcard::from_bytes(bytes)
        .map_err(|_| MetaError::Damaged("a snapshot's head does not decode".to_owned()))?;
    Ok(Durable { applied: Applied { index, log_id, ..Applied::default() }, membership })
}

impl Homes {
    /// `drives`: all in service; `mirrors`: those of the log.
    pub(super) fn new(
        drives: Vec<HomeDrive>,
        mirrors: Vec<HomeDrive>,
        config: &MetaConfig,
    ) -> Result<Self, MetaError> {
        let cache_bytes = (config.page_cache_bytes / CONNECTIONS_GUESSED).max(CACHE_BYTES_MIN);
        Ok(Self { drives: RwLock::new(drives), snapshots: SnapshotFiles::open(mirrors)?, cache_bytes })
    }

    /// The drives in service changed. Snapshots are copied to the drives that the log will choose as mirrors, so that a
    /// mirror never lacks what the log was purged for. Blocks.
    pub(super) fn set(&self, drives: &[HomeDrive]) -> Result<(), MetaError> {
        *self.drives.write() = drives.to_vec();
        let mirrors = self.snapshots.home();
        let kept = mirrors.into_iter().filter(|mirror| drives.iter().any(|drive| drive.id == mirror.id));
        let mut wanted: Vec<HomeDrive> = kept.collect();
        for drive in drives {
            if wanted.len() < MIRRORS_WANTED && !wanted.iter().any(|mirror| mirror.id == drive.id) {
                wanted.push(drive.clone());
            }
        }
        self.snapshots.set_home(wanted)
    }

    /// The log has these mirrors now. Blocks.
    pub(super) fn follow(&self, mirrors: Vec<HomeDrive>) -> Result<(), MetaError> {
        self.snapshots.set_home(mirrors)
    }

    /// The drives that metadata is written to: the mirrors, and where SQLite files are made.
    pub(super) fn metadata_drives(&self) -> Vec<HomeDrive> {
        let mut found = self.snapshots.home();
        let drives = self.drives.read();
        let sqlite = drives.iter().find(|drive| drive.disk.local_path(SQLITE_FOLDER).is_some());
        if let Some(drive) = sqlite.filter(|drive| found.iter().all(|mirror| mirror.id != drive.id)) {
            found.push(drive.clone());
        }
        found
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    /// Drive and storage of a shard's SQLite file: where it lies already, else the first drive.
    pub(super) fn storage(&self, shard: ShardId) -> Result<(Option<DriveId>, Storage), MetaError> {
        let path = format!("{SQLITE_FOLDER}/shard-{shard}.db");
        let drives = self.drives.read().clone();
        let local: Vec<&HomeDrive> =
            drives.iter().filter(|drive| drive.disk.local_path(&path).is_some()).collect();
        let there = local.iter().find(|drive| drive.disk.open_read(&path).is_ok());
        match there.or(local.first()) {
            Some(drive) => {
                let io = |source| MetaError::Io { operation: "create the folder of shards", source };
                drive.disk.create_dir_all(SQLITE_FOLDER).map_err(io)?;
                drive.disk.sync_dir("meta", "shard: folder").map_err(io)?;
                Ok((Some(drive.id), Storage::File { disk: drive.disk.clone(), path }))
            }
            None => Ok((None, Storage::Memory)),
        }
    }

    /// Drops the snapshots of a shard, which were fetched in vain.
    pub(super) fn forget(&self, shard: ShardId) -> Result<(), MetaError> {
        self.snapshots.remove_group(shard)
    }

    /// Is there a replica of this shard here? `ran`: the log knows it. A file by itself is none: a split makes it before
    /// the child has its range.
    pub(super) fn holds(&self, shard: ShardId, ran: bool) -> bool {
        let is_file = || self.storage(shard).is_ok_and(|(_, storage)| storage.exists().unwrap_or(false));
        !self.snapshots(shard).is_empty() || ran && is_file()
    }

    /// Writes an image as a snapshot on every mirror. Blocks.
    pub(super) fn write_snapshot(
        &self,
        shard: ShardId,
        mut image: ImageChunks,
    ) -> Result<Durable, MetaError> {
        let durable = image.durable.clone();
        let mut writer = self.snapshots.begin(shard, entries_in(&durable), encode_head(&durable))?;
        let io = |source| MetaError::Io { operation: "read the file for a snapshot", source };
        while let Some(chunk) = image.next_chunk().map_err(io)? {
            writer.write(&chunk)?;
        }
        writer.finish()?;
        Ok(durable)
    }

    /// Keeps a snapshot that comes from another node on every mirror. Blocks.
    pub(super) fn receive_snapshot(
        &self,
        shard: ShardId,
        durable: &Durable,
        mut pieces: mpsc::Receiver<Result<Bytes, MetaError>>,
    ) -> Result<(), MetaError> {
        let mut writer = self.snapshots.begin(shard, entries_in(durable), encode_head(durable))?;
        while let Some(piece) = pieces.blocking_recv() {
            writer.write(&piece?)?;
        }
        writer.finish().map(|_| ())
    }

    /// Snapshots of a shard, newest first. Whether one is whole shows in reading.
    pub(super) fn snapshots(&self, shard: ShardId) -> Vec<SnapshotInfo> {
        self.snapshots.list(shard)
    }

    /// Makes the shard's file from a snapshot.
    pub(super) fn restore(
        self: &Arc<Self>,
        shard: ShardId,
        storage: Storage,
        info: &SnapshotInfo,
    ) -> Result<ShardFile, MetaError> {
        let mut reader = self.snapshots.read(info)?;
        let next = || reader.next_chunk().map_err(std::io::Error::other);
        ShardFile::restore(storage, next, self.cache_bytes, self.clone())
            .map_err(|error| error.of_shard(shard))
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

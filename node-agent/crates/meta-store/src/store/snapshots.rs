//! Snapshot copies: `meta/snapshots/shard-S/INDEX` on each mirror. docs/formats/metadata.md.
//!
//! Head: magic, version, shard, length and CRC-32C of the encoded `Durable`; then chunks, each with its length and
//! CRC-32C; a chunk of length 0 ends the file, so that a copy that was cut short is told from a whole one.

use std::io;
use std::sync::Arc;

use grid_types::ShardId;
use serde::{Deserialize, Serialize};
use sys::{Disk, DiskFile};

use crate::state::{Applied, Durable};

/// "SHLSNAP" and the version.
const MAGIC: [u8; 8] = *b"SHLSNAP\x01";
/// Bytes of magic, shard, length, CRC.
const HEAD_BYTES: usize = 24;
/// Length and CRC of a chunk.
const CHUNK_HEAD_BYTES: usize = 8;
/// A larger head or chunk is damage.
const CHUNK_BYTES_MAX: u32 = 1 << 20;

/// A copy that was found.
#[derive(Debug, Clone)]
pub(super) struct SnapshotHead {
    path: String,
    pub durable: Durable,
    /// Offset of the first chunk.
    body: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredDurable {
    applied: Applied,
    membership: Option<Vec<u8>>,
}

fn folder(shard: ShardId) -> String {
    format!("meta/snapshots/shard-{shard}")
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot copy {what}"))
}

/// The name orders by applied index; a shard that applied nothing yet comes first.
fn name(index: Option<u64>) -> String {
    index.map_or_else(|| "0".repeat(20), |index| format!("{:020}", index + 1))
}

/// Writes the same copy to all disks; each is synced and renamed into place.
pub(super) fn write_copy(
    disks: &[Arc<dyn Disk>],
    shard: ShardId,
    durable: &Durable,
    mut next: impl FnMut() -> io::Result<Option<Vec<u8>>>,
) -> io::Result<()> {
    let stored = StoredDurable { applied: durable.applied.clone(), membership: durable.membership.clone() };
    let encoded = postcard::to_allocvec(&stored).map_err(io::Error::other)?;
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&shard.0.to_le_bytes());
    head.extend_from_slice(&u32::try_from(encoded.len()).map_err(io::Error::other)?.to_le_bytes());
    head.extend_from_slice(&crc32c::crc32c(&encoded).to_le_bytes());
    head.extend_from_slice(&encoded);
    let folder = folder(shard);
    let path = format!("{folder}/{}", name(durable.applied.index));
    let temporary = format!("{path}.new");
    let mut files: Vec<Arc<dyn DiskFile>> = Vec::with_capacity(disks.len());
    for disk in disks {
        disk.create_dir_all(&folder)?;
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create_new(&temporary)?;
        file.write_all_at(0, &head)?;
        files.push(file);
    }
    let mut offset = head.len() as u64;
    loop {
        let chunk = next()?.unwrap_or_default();
        let len = u32::try_from(chunk.len()).map_err(io::Error::other)?.to_le_bytes();
        let sum = crc32c::crc32c(&chunk).to_le_bytes();
        for file in &files {
            file.write_all_vectored_at(offset, &[&len, &sum, &chunk])?;
        }
        offset += (CHUNK_HEAD_BYTES + chunk.len()) as u64;
        if chunk.is_empty() {
            break;
        }
    }
    for (disk, file) in disks.iter().zip(&files) {
        file.sync_data()?;
        disk.rename(&temporary, &path)?;
        disk.sync_dir(&folder)?;
        // The folder itself may be new.
        disk.sync_dir("meta/snapshots")?;
        disk.sync_dir("meta")?;
        disk.sync_dir("")?;
    }
    Ok(())
}

/// Removes copies of a shard that are older than `index`, and what broken writes left.
pub(super) fn remove_older(disk: &dyn Disk, shard: ShardId, index: Option<u64>) -> io::Result<()> {
    let folder = folder(shard);
    let newest = name(index);
    let entries = match disk.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        if entry.name < newest || entry.name.ends_with(".new") {
            disk.remove(&format!("{folder}/{}", entry.name))?;
        }
    }
    Ok(())
}

/// Removes all copies of a shard.
pub(super) fn remove_all(disk: &dyn Disk, shard: ShardId) -> io::Result<()> {
    remove_older(disk, shard, Some(u64::MAX - 1))?;
    disk.sync_dir(&folder(shard)).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// Heads of the copies on a disk that verify.
pub(super) fn heads(disk: &dyn Disk, shard: ShardId) -> Vec<SnapshotHead> {
    let folder = folder(shard);
    let entries = disk.list(&folder).unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| !entry.is_dir && !entry.name.ends_with(".new"))
        .filter_map(|entry| {
            let path = format!("{folder}/{}", entry.name);
            match read_head(disk, shard, &path) {
                Ok(head) => Some(head),
                Err(error) => {
                    tracing::warn!(path, %error, "a snapshot copy is passed over");
                    None
                }
            }
        })
        .collect()
}

fn read_head(disk: &dyn Disk, shard: ShardId, path: &str) -> io::Result<SnapshotHead> {
    let file = disk.open_read(path)?;
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(0, &mut head)?;
    if head[..8] != MAGIC || head[8..16] != shard.0.to_le_bytes() {
        return Err(damaged("has a wrong head"));
    }
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (len, sum) = (number(16), number(20));
    if len > CHUNK_BYTES_MAX {
        return Err(damaged("has a wrong head"));
    }
    let mut encoded = vec![0; len as usize];
    file.read_exact_at(HEAD_BYTES as u64, &mut encoded)?;
    if crc32c::crc32c(&encoded) != sum {
        return Err(damaged("has a head that fails its checksum"));
    }
    let stored: StoredDurable = postcard::from_bytes(&encoded).map_err(|_| damaged("has a wrong head"))?;
    let durable = Durable { applied: stored.applied, membership: stored.membership };
    Ok(SnapshotHead { path: path.to_owned(), durable, body: (HEAD_BYTES + encoded.len()) as u64 })
}

/// Reads a copy chunk by chunk and verifies each.
pub(super) struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl SnapshotReader {
    pub(super) fn open(disk: &dyn Disk, head: &SnapshotHead) -> io::Result<Self> {
        Ok(Self { file: disk.open_read(&head.path)?, offset: head.body })
    }

    /// The next chunk; `None` at the end mark.
    pub(super) fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; CHUNK_HEAD_BYTES];
        self.file.read_exact_at(self.offset, &mut head)?;
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (len, sum) = (number(0), number(4));
        if len > CHUNK_BYTES_MAX {
            return Err(damaged("has a chunk of a wrong length"));
        }
        let mut chunk = vec![0; len as usize];
        self.file.read_exact_at(self.offset + CHUNK_HEAD_BYTES as u64, &mut chunk)?;
        if crc32c::crc32c(&chunk) != sum {
            return Err(damaged("has a chunk that fails its checksum"));
        }
        self.offset += CHUNK_HEAD_BYTES as u64 + u64::from(len);
        Ok((len > 0).then_some(chunk))
    }
}

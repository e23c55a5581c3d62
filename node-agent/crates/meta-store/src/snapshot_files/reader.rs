//! Reading one snapshot, chunk by chunk, from whichever drive has the chunk whole.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use grid_types::{DriveId, ShardId};
use sys::DiskFile;

use super::format::{
    CHUNK_HEADER, ChunkSeal, FOOTER, HEADER_BYTES_MAX, chunk_len, decode_header, encode_header, file_path,
};
use super::{CHUNK_BYTES_MAX, SnapshotInfo};
use crate::MetaError;
use crate::home::HomeDrive;

/// A snapshot being read.
pub struct SnapshotReader {
    info: SnapshotInfo,
    copies: Vec<(DriveId, Arc<dyn DiskFile>)>,
    seal: ChunkSeal,
    at: u64,
    chunks: u64,
    bytes: u64,
    ended: bool,
}

/// The header of a snapshot, from the first drive where it verifies.
pub(super) fn info(drives: &[HomeDrive], group: ShardId, index: u64) -> Option<SnapshotInfo> {
    drives.iter().find_map(|drive| {
        let file = drive.disk.open_read(&file_path(group, index)).ok()?;
        let mut header = vec![0; HEADER_BYTES_MAX];
        let len = file.read_at(0, &mut header).ok()?;
        let (info, _) = decode_header(&header[..len])?;
        (info.group == group && info.index == index).then_some(info)
    })
}

impl SnapshotReader {
    pub(super) fn open(drives: &[HomeDrive], info: &SnapshotInfo) -> Result<Self, MetaError> {
        let path = file_path(info.group, info.index);
        let open = |drive: &HomeDrive| Some((drive.id, drive.disk.open_read(&path).ok()?));
        let copies: Vec<_> = drives.iter().filter_map(open).collect();
        if copies.is_empty() {
            return Err(MetaError::Damaged(format!("no drive has the metadata snapshot `{path}`")));
        }
        Ok(Self {
            info: info.clone(),
            copies,
            seal: ChunkSeal::new(info),
            at: encode_header(info).len() as u64,
            chunks: 0,
            bytes: 0,
            ended: false,
        })
    }

    /// What is read.
    pub fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// The next chunk; `None` after the last one, whose footer has been checked then. `Damaged` where no drive has it
    /// whole.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, MetaError> {
        if self.ended {
            return Ok(None);
        }
        let mut tried = Vec::new();
        for (drive, file) in &self.copies {
            match self.read_from(&**file) {
                Ok(Some(chunk)) => {
                    self.at += (CHUNK_HEADER + chunk.len()) as u64;
                    self.chunks += 1;
                    self.bytes += chunk.len() as u64;
                    self.report(&tried);
                    return Ok(Some(chunk.into()));
                }
                Ok(None) => {
                    self.ended = true;
                    self.report(&tried);
                    return Ok(None);
                }
                Err(error) => tried.push(format!("{drive}: {error}")),
            }
        }
        Err(MetaError::Damaged(format!(
            "the snapshot of shard {} at {} cannot be read at byte {}: {}",
            self.info.group,
            self.info.index,
            self.at,
            tried.join(", ")
        )))
    }

    /// Reads through to the end.
    pub(super) fn verify(mut self) -> Result<(), MetaError> {
        while self.next_chunk()?.is_some() {}
        Ok(())
    }

    fn report(&self, tried: &[String]) {
        if !tried.is_empty() {
            let (group, index) = (self.info.group, self.info.index);
            tracing::error!(%group, index, ?tried, "part of a snapshot had to be read from another drive");
        }
    }

    fn read_from(&self, file: &dyn DiskFile) -> io::Result<Option<Vec<u8>>> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let mut header = [0; CHUNK_HEADER];
        file.read_exact_at(self.at, &mut header)?;
        let Some(len) = chunk_len(&header) else {
            let mut footer = [0; FOOTER];
            file.read_exact_at(self.at, &mut footer)?;
            let sound = footer == self.seal.footer(self.chunks, self.bytes);
            return if sound { Ok(None) } else { Err(damaged()) };
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= CHUNK_BYTES_MAX).ok_or_else(damaged)?;
        let mut chunk = vec![0; len];
        file.read_exact_at(self.at + CHUNK_HEADER as u64, &mut chunk)?;
        if self.seal.verifies(&header, self.chunks, &chunk) { Ok(Some(chunk)) } else { Err(damaged()) }
    }
}

//! Writing one snapshot to all drives.

use std::io;
use std::sync::Arc;

use sys::DiskFile;

use super::format::{ChunkSeal, SNAPSHOT_DIR, TEMPORARY, encode_header, file_path};
use super::{CHUNK_BYTES_MAX, SnapshotFiles, SnapshotInfo, failed};
use crate::MetaError;
use crate::home::HomeDrive;
use crate::log::OPAQUE_BYTES_MAX;

/// A snapshot under construction. Dropped before `finish` it leaves nothing.
pub struct SnapshotWriter {
    store: SnapshotFiles,
    files: Files,
}

impl SnapshotWriter {
    pub(super) fn begin(store: SnapshotFiles, info: SnapshotInfo) -> Result<Self, MetaError> {
        if info.log_id.len() > OPAQUE_BYTES_MAX {
            return Err(failed("begin a snapshot")(io::ErrorKind::InvalidInput.into()));
        }
        let files = Files::create(store.home(), info)?;
        Ok(Self { store, files })
    }

    /// Appends bytes. The cuts between calls are not kept where a piece is larger than `CHUNK_BYTES_MAX`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), MetaError> {
        self.files.write(bytes)
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.files.bytes
    }

    /// Nothing so far?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Syncs and names the snapshot on all drives, then removes those that are not among the newest. After an error it
    /// may be there on some drives and must not be relied on.
    pub fn finish(mut self) -> Result<SnapshotInfo, MetaError> {
        self.files.finish()?;
        self.store.finished(&self.files.info, &self.files.drives())?;
        Ok(self.files.info.clone())
    }
}

/// One snapshot's files, a drive each.
pub(super) struct Files {
    pub(super) info: SnapshotInfo,
    files: Vec<(HomeDrive, Arc<dyn DiskFile>)>,
    seal: ChunkSeal,
    at: u64,
    chunks: u64,
    pub(super) bytes: u64,
    named: bool,
}

impl Files {
    pub(super) fn create(drives: Vec<HomeDrive>, info: SnapshotInfo) -> Result<Self, MetaError> {
        let seal = ChunkSeal::new(&info);
        let files = Vec::new();
        let mut this = Self { info, files, seal, at: 0, chunks: 0, bytes: 0, named: false };
        let path = this.temporary();
        for drive in drives {
            match drive.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("begin a snapshot")(error));
                }
                _ => {}
            }
            let file = drive.disk.create_new(&path).map_err(failed("begin a snapshot"))?;
            this.files.push((drive, file));
        }
        let header = encode_header(&this.info);
        this.put(&[&header])?;
        Ok(this)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), MetaError> {
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            let header = self.seal.chunk_header(self.chunks, chunk);
            self.put(&[&header, chunk])?;
            self.chunks += 1;
            self.bytes += chunk.len() as u64;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), MetaError> {
        let footer = self.seal.footer(self.chunks, self.bytes);
        self.put(&[&footer])?;
        let (temporary, path) = (self.temporary(), file_path(self.info.group, self.info.index));
        for (drive, file) in &self.files {
            file.sync_data("snapshot: file").map_err(failed("sync a snapshot"))?;
            drive.disk.rename(&temporary, &path).map_err(failed("name a snapshot"))?;
            drive.disk.sync_dir(SNAPSHOT_DIR, "snapshot: name").map_err(failed("name a snapshot"))?;
        }
        self.named = true;
        Ok(())
    }

    fn drives(&self) -> Vec<HomeDrive> {
        self.files.iter().map(|(drive, _)| drive.clone()).collect()
    }

    fn temporary(&self) -> String {
        format!("{}{TEMPORARY}", file_path(self.info.group, self.info.index))
    }

    fn put(&mut self, slices: &[&[u8]]) -> Result<(), MetaError> {
        let len = slices.iter().map(|slice| slice.len() as u64).sum();
        for (_, file) in &self.files {
            file.write_all_vectored_at(self.at, slices).map_err(failed("write a snapshot"))?;
            file.start_writeback(self.at, len);
        }
        self.at += len;
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.named {
            for (drive, _) in &self.files {
                // Where this fails too, the next open removes it.
                let _ = drive.disk.remove(&self.temporary());
            }
        }
    }
}

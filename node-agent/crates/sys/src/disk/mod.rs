//! One directory on one file system, as chunk-store and the Raft log see it.

mod fault;
mod mutant;
mod real;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod fault_tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use fault::{FaultDisk, PowerSupply};
pub use mutant::{MutantDisk, SyncSite};
pub use real::RealDisk;

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What unprivileged processes have written, or may write: the size of the file system less what it keeps back.
    pub total: u64,
    /// What an unprivileged process may still write.
    pub free: u64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Name within the directory.
    pub name: String,
    /// Bytes; 0 for a directory.
    pub len: u64,
    /// Is it a directory?
    pub is_dir: bool,
}

/// A directory tree. Paths are relative, `/`-separated, without `.` and `..`; "" is the root.
///
/// Durability as on Linux: bytes are durable after `DiskFile::sync_data`, names (create, rename, remove) after
/// `sync_dir` of the directory that holds them, and nothing before. A new directory is a name in its parent, too.
///
/// Each sync call names its site with a literal, unique in its crate (`"pack: batch mark"`). `MutantDisk` turns the
/// syncs of one site into no-ops, so that a test can show that each of them matters.
pub trait Disk: Send + Sync + 'static {
    /// Creates a file for reading and writing; `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading alone.
    fn open_read(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames within the tree, replacing what `to` names.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; `NotFound` if there is none.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Creates a directory and its parents; no error if it is there.
    fn create_dir_all(&self, path: &str) -> io::Result<()>;
    /// Makes the entries of a directory durable. `site` names this call for `MutantDisk`.
    fn sync_dir(&self, path: &str, site: &'static str) -> io::Result<()>;
    /// Entries of a directory, in no order.
    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>>;
    /// Room on the file system.
    fn space(&self) -> io::Result<Space>;
    /// Names the file system, so that two drives on one are seen (`st_dev` on Linux).
    fn file_system(&self) -> io::Result<String>;
    /// The real path, for SQLite; `None` in the simulation, and where the path no longer leads to the directory that
    /// was opened (its mount vanished).
    fn local_path(&self, path: &str) -> Option<PathBuf>;

    /// Reads a whole small file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Replaces a small file so that after a power cut either the old or the new bytes are there:
    /// temporary name (`path` with `.new`), write, sync, rename, directory sync.
    fn write_atomic(&self, path: &str, bytes: &[u8], site: &'static str) -> io::Result<()> {
        let temporary = format!("{path}.new");
        match self.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.create_new(&temporary)?;
        file.write_all_at(0, bytes)?;
        file.sync_data(site)?;
        self.rename(&temporary, path)?;
        self.sync_dir(path.rsplit_once('/').map_or("", |(parent, _)| parent), site)
    }
}

/// An open file. Positional, so that handles are shared freely.
#[expect(clippy::len_without_is_empty, reason = "a file is no collection, and its length can fail")]
pub trait DiskFile: Send + Sync {
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes all slices one after the other from `offset`.
    fn write_all_vectored_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        let mut at = offset;
        for slice in slices {
            self.write_all_at(at, slice)?;
            at += slice.len() as u64;
        }
        Ok(())
    }
    /// Makes the bytes and the length durable (`fdatasync`). A failed sync is final: the caller takes the drive out.
    /// `site` names this call for `MutantDisk`.
    fn sync_data(&self, site: &'static str) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for `len` bytes in all; `StorageFull` now instead of later. The length does not change.
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// A hint: begin to write these bytes back now, so that the sync at the end is short. Promises nothing.
    fn start_writeback(&self, offset: u64, len: u64);

    /// Fills `buf` whole; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(offset + done as u64, &mut buf[done..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

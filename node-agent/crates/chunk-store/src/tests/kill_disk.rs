//! A disk under a process that is killed: after so many changes every operation fails, but what was done stays visible
//! to the next process, synced or not.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sys::{DirEntry, Disk, DiskFile, Space};

#[derive(Clone)]
pub(super) struct KillDisk {
    inner: Arc<dyn Disk>,
    /// Changes left.
    left: Arc<AtomicI64>,
}

impl KillDisk {
    pub fn new(inner: Arc<dyn Disk>, changes: u64) -> Self {
        Self { inner, left: Arc::new(AtomicI64::new(i64::try_from(changes).unwrap_or(i64::MAX))) }
    }

    fn change(&self) -> io::Result<()> {
        spend(&self.left)
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(KillFile { inner: file, left: self.left.clone() })
    }
}

fn spend(left: &AtomicI64) -> io::Result<()> {
    if left.fetch_sub(1, Ordering::SeqCst) > 0 {
        Ok(())
    } else {
        Err(io::Error::other("the process is dead"))
    }
}

impl Disk for KillDisk {
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.change()?;
        self.inner.create_new(path).map(|file| self.wrap(file))
    }
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open(path).map(|file| self.wrap(file))
    }
    fn open_read(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open_read(path).map(|file| self.wrap(file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change()?;
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.change()?;
        self.inner.remove(path)
    }
    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.change()?;
        self.inner.create_dir_all(path)
    }
    fn sync_dir(&self, path: &str, site: &'static str) -> io::Result<()> {
        self.change()?;
        self.inner.sync_dir(path, site)
    }
    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
    fn file_system(&self) -> io::Result<String> {
        self.inner.file_system()
    }
    fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.inner.local_path(path)
    }
}

struct KillFile {
    inner: Arc<dyn DiskFile>,
    left: Arc<AtomicI64>,
}

impl DiskFile for KillFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.write_all_at(offset, bytes)
    }
    fn write_all_vectored_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.write_all_vectored_at(offset, slices)
    }
    fn sync_data(&self, site: &'static str) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.sync_data(site)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        spend(&self.left)?;
        self.inner.set_len(len)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.inner.reserve(len)
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }
}

//! A disk with one sync call deleted: the proof that the sync matters.
//!
//! A test runs its durability check over `MutantDisk::new(disk, None)` first and asserts that `sites()` equals the
//! crate's committed list of sync sites; then, for each site, it asserts that over `MutantDisk::new(disk, Some(site))`
//! some seed *fails* the check. A sync without which nothing ever fails is either superfluous or untested.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, Space};

/// One sync call of the source: what it syncs, and the label that it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncSite {
    /// `DiskFile::sync_data(label)`.
    File(&'static str),
    /// `Disk::sync_dir(_, label)`.
    Dir(&'static str),
}

/// Passes everything on to another disk, but for the syncs of one site, which succeed and do nothing.
#[derive(Clone)]
pub struct MutantDisk {
    inner: Arc<dyn Disk>,
    mutation: Arc<Mutation>,
}

struct Mutation {
    skipped: Option<SyncSite>,
    seen: Mutex<BTreeSet<SyncSite>>,
}

impl Mutation {
    /// Notes the site; true where its sync is to be left out.
    fn skips(&self, site: SyncSite) -> bool {
        self.seen.lock().insert(site);
        self.skipped == Some(site)
    }
}

impl MutantDisk {
    /// `inner` without the syncs of `skipped`; with `None` it only takes down which sites sync.
    pub fn new(inner: Arc<dyn Disk>, skipped: Option<SyncSite>) -> Self {
        Self { inner, mutation: Arc::new(Mutation { skipped, seen: Mutex::default() }) }
    }

    /// The same mutation over another disk (the next boot's, or another mirror's); `sites` is shared.
    pub fn over(&self, inner: Arc<dyn Disk>) -> Self {
        Self { inner, mutation: self.mutation.clone() }
    }

    /// The sites that synced so far.
    pub fn sites(&self) -> BTreeSet<SyncSite> {
        self.mutation.seen.lock().clone()
    }

    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(MutantFile { inner: file, mutation: self.mutation.clone() })
    }
}

impl Disk for MutantDisk {
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create_new(path).map(|file| self.wrap(file))
    }
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open(path).map(|file| self.wrap(file))
    }
    fn open_read(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open_read(path).map(|file| self.wrap(file))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }
    fn sync_dir(&self, path: &str, site: &'static str) -> io::Result<()> {
        if self.mutation.skips(SyncSite::Dir(site)) { Ok(()) } else { self.inner.sync_dir(path, site) }
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

struct MutantFile {
    inner: Arc<dyn DiskFile>,
    mutation: Arc<Mutation>,
}

impl DiskFile for MutantFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all_at(offset, bytes)
    }
    fn write_all_vectored_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        self.inner.write_all_vectored_at(offset, slices)
    }
    fn sync_data(&self, site: &'static str) -> io::Result<()> {
        if self.mutation.skips(SyncSite::File(site)) { Ok(()) } else { self.inner.sync_data(site) }
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.inner.reserve(len)
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }
}

//! A directory of the real file system.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DirEntry, Disk, DiskFile, Space};

/// A directory of the real file system.
pub struct RealDisk {}

impl RealDisk {
    /// Opens an existing directory. Never creates it: a vanished mount must stay an error.
    pub fn open(_root: &Path) -> io::Result<Self> {
        todo!()
    }
}

impl Disk for RealDisk {
    fn create_new(&self, _path: &str) -> io::Result<Arc<dyn DiskFile>> {
        todo!()
    }
    fn open(&self, _path: &str) -> io::Result<Arc<dyn DiskFile>> {
        todo!()
    }
    fn open_read(&self, _path: &str) -> io::Result<Arc<dyn DiskFile>> {
        todo!()
    }
    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        todo!()
    }
    fn remove(&self, _path: &str) -> io::Result<()> {
        todo!()
    }
    fn create_dir_all(&self, _path: &str) -> io::Result<()> {
        todo!()
    }
    fn sync_dir(&self, _path: &str) -> io::Result<()> {
        todo!()
    }
    fn list(&self, _path: &str) -> io::Result<Vec<DirEntry>> {
        todo!()
    }
    fn space(&self) -> io::Result<Space> {
        todo!()
    }
    fn file_system(&self) -> io::Result<String> {
        todo!()
    }
    fn local_path(&self, _path: &str) -> Option<PathBuf> {
        todo!()
    }
}

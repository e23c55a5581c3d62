//! A simulated directory that keeps unsynced writes apart and, at a power cut, drops, reorders or tears any subset of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{DirEntry, Disk, DiskFile, Space};

/// A simulated directory that keeps unsynced writes apart and, at a power cut, drops, reorders or tears any subset of them.
pub struct FaultDisk {}

impl FaultDisk {
    /// An empty disk whose faults are drawn from `seed`.
    pub fn new(_seed: u64) -> Self {
        todo!()
    }

    /// Cuts the power: what was not synced survives, vanishes or tears sector by sector, as the seed says; open handles
    /// fail from now on. Returns the disk as the next boot finds it.
    pub fn power_cut(&self) -> Self {
        todo!()
    }
}

impl Disk for FaultDisk {
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

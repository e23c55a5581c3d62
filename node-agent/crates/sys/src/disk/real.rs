//! A directory of the real file system.
//!
//! Invariant: the directory is opened once; everything goes through that handle, so that a vanished mount gives errors
//! and never turns into its empty mount point.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{DirEntry, Disk, DiskFile, Space};

/// Slices of one `pwritev` (Linux's IOV_MAX).
const SLICES_PER_WRITE: usize = 1_024;

/// A directory of the real file system.
pub struct RealDisk {
    root: OwnedFd,
    path: PathBuf,
}

/// What a file system keeps back, for root or for itself, is nobody's room: as `df` counts.
fn space_of(stat: &fs::StatVfs) -> Space {
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Space { total: bytes(used.saturating_add(stat.f_bavail)), free: bytes(stat.f_bavail) }
}

impl RealDisk {
    /// Opens an existing directory. Never creates it: a vanished mount must stay an error.
    pub fn open(root: &Path) -> io::Result<Self> {
        let path = root.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = retry_on_intr(|| fs::open(&path, flags, Mode::empty()))?;
        Ok(Self { root, path })
    }

    fn open_file(&self, path: &str, flags: OFlags) -> io::Result<Arc<dyn DiskFile>> {
        check_file_path(path)?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = retry_on_intr(|| fs::openat(&self.root, path, flags, Mode::from_raw_mode(0o600)))?;
        if FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` is not a file")));
        }
        Ok(Arc::new(RealFile { fd }))
    }

    fn open_dir(&self, path: &str) -> io::Result<OwnedFd> {
        check_path(path)?;
        let name = if path.is_empty() { "." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(retry_on_intr(|| fs::openat(&self.root, name, flags, Mode::empty()))?)
    }
}

/// Paths come from our own formats; one that could leave the directory is a bug or an attack, never a wish.
pub(super) fn check_path(path: &str) -> io::Result<()> {
    let sound = path.is_empty()
        || path.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'));
    if sound {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{path}` is not a path within a disk")))
    }
}

/// As `check_path`, and not the root.
pub(super) fn check_file_path(path: &str) -> io::Result<()> {
    check_path(path)?;
    if path.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the root of a disk is not a file"));
    }
    Ok(())
}

impl Disk for RealDisk {
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(path, OFlags::RDWR)
    }

    fn open_read(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(path, OFlags::RDONLY)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_file_path(from)?;
        check_file_path(to)?;
        Ok(retry_on_intr(|| fs::renameat(&self.root, from, &self.root, to))?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check_file_path(path)?;
        Ok(retry_on_intr(|| fs::unlinkat(&self.root, path, AtFlags::empty()))?)
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            match fs::mkdirat(&self.root, &path[..end], Mode::from_raw_mode(0o750)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.open_dir(path).map(drop)
    }

    fn sync_dir(&self, path: &str, _site: &'static str) -> io::Result<()> {
        let dir = self.open_dir(path)?;
        // A sync is not retried: after a failed one the kernel may call the lost pages clean.
        Ok(fs::fsync(&dir)?)
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let fd = self.open_dir(path)?;
        let mut entries = Vec::new();
        for entry in fs::Dir::read_from(&fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            let stat = match fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Removed since the directory was read.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let len = if is_dir { 0 } else { u64::try_from(stat.st_size).unwrap_or(0) };
            entries.push(DirEntry { name: name.to_owned(), len, is_dir });
        }
        Ok(entries)
    }

    fn space(&self) -> io::Result<Space> {
        Ok(space_of(&fs::fstatvfs(&self.root)?))
    }

    fn file_system(&self) -> io::Result<String> {
        let device = fs::fstat(&self.root)?.st_dev;
        Ok(format!("dev:{}:{}", fs::major(device), fs::minor(device)))
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        check_path(path).ok()?;
        let (opened, named) = (fs::fstat(&self.root).ok()?, fs::stat(&self.path).ok()?);
        let same = (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino);
        same.then(|| if path.is_empty() { self.path.clone() } else { self.path.join(path) })
    }
}

struct RealFile {
    fd: OwnedFd,
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match retry_on_intr(|| rustix::io::pread(&self.fd, &mut buf[done..], offset + done as u64))? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match retry_on_intr(|| rustix::io::pwrite(&self.fd, &bytes[done..], offset + done as u64))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    fn write_all_vectored_at(&self, offset: u64, slices: &[&[u8]]) -> io::Result<()> {
        let mut at = offset;
        for group in slices.chunks(SLICES_PER_WRITE) {
            let mut slices: Vec<IoSlice> = group.iter().map(|slice| IoSlice::new(slice)).collect();
            let mut rest = slices.as_mut_slice();
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match retry_on_intr(|| rustix::io::pwritev(&self.fd, rest, at))? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    n => {
                        at += n as u64;
                        IoSlice::advance_slices(&mut rest, n);
                    }
                }
            }
        }
        Ok(())
    }

    fn sync_data(&self, _site: &'static str) -> io::Result<()> {
        // Not retried, not even after EINTR: see `sync_dir`.
        Ok(fs::fdatasync(&self.fd)?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(fs::fstat(&self.fd)?.st_size).unwrap_or(0))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::ftruncate(&self.fd, len))?)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match retry_on_intr(|| fs::fallocate(&self.fd, FallocateFlags::KEEP_SIZE, 0, len)) {
            // A file system that cannot reserve says so; the writes will tell.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        // Linux begins to write the dirty pages of the range back before it looks for clean ones to drop; the pages on
        // their way out stay cached. This is `sync_file_range(SYNC_FILE_RANGE_WRITE)` without unsafe code. Its
        // failure is no failure: the sync at the end does the work.
        if let Some(len) = std::num::NonZeroU64::new(len) {
            let _ = fs::fadvise(&self.fd, offset, Some(len), fs::Advice::DontNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_system_keeps_back_is_no_room() {
        let here = fs::statvfs("/").unwrap();
        let stat = fs::StatVfs { f_frsize: 4_096, f_blocks: 1_000, f_bfree: 700, f_bavail: 100, ..here };
        assert_eq!(space_of(&stat), Space { total: 400 * 4_096, free: 100 * 4_096 });
    }
}

//! One process serves from a drive: an advisory lock on its folder, which ends with the process.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// The lock of one drive's folder; free again when dropped.
#[derive(Debug)]
pub struct DriveLock {
    _folder: File,
}

impl DriveLock {
    /// Takes it, or fails with `ResourceBusy` where another process has it.
    pub fn take(folder: &Path) -> io::Result<Self> {
        let open = File::open(folder)?;
        match open.try_lock() {
            Ok(()) => Ok(Self { _folder: open }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another process serves from this drive; only one may",
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

//! Making a drive a mirror: copying the log to it.

use std::io;
use std::sync::Arc;

use super::format::{FileSeal, LOG_DIR, file_number, file_path, parse_batch};
use super::mirror::{Mirror, SPARE_PATH, write_zeros};
use super::shared::Shared;
use crate::home::HomeDrive;

/// Sees to it that the log's directory is there, durably named, and holds no file of an earlier log.
pub(crate) fn clear(drive: &HomeDrive) -> io::Result<()> {
    let disk = &drive.disk;
    disk.create_dir_all(LOG_DIR)?;
    disk.sync_dir("", "log: root directory")?;
    disk.sync_dir("meta", "log: meta directory")?;
    for entry in disk.list(LOG_DIR)? {
        let path = format!("{LOG_DIR}/{}", entry.name);
        if file_number(&entry.name).is_some() || path == SPARE_PATH {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

/// Copies files (number, end) to a drive and syncs them. Their names become durable with the mirror set.
pub(crate) fn fill(
    drive: &HomeDrive,
    from: &[Arc<Mirror>],
    shared: &Shared,
    files: &[(u64, u64)],
    current: u64,
) -> io::Result<Arc<Mirror>> {
    clear(drive)?;
    for (file, end) in files {
        let bytes = sound_copy(from, &shared.log, *file, *end)?;
        let copy = drive.disk.create_new(&file_path(*file))?;
        copy.reserve(shared.config.file_bytes)?;
        write_zeros(&*copy, shared.config.file_bytes)?;
        copy.write_all_at(0, &bytes)?;
        copy.sync_data("log: filled file")?;
    }
    let mirror = Mirror::new(drive.clone());
    mirror.resume(current)?;
    Ok(mirror)
}

/// A file's bytes from the first mirror where all of them verify.
fn sound_copy(from: &[Arc<Mirror>], log: &[u8; 16], file: u64, end: u64) -> io::Result<Vec<u8>> {
    let seal = FileSeal::new(log, file);
    let end = usize::try_from(end).map_err(io::Error::other)?;
    for mirror in from {
        let Ok(mut bytes) = mirror.drive.disk.read(&file_path(file)) else { continue };
        bytes.truncate(end);
        let mut at = 0;
        while let Some(view) = parse_batch(seal, &bytes, at) {
            at += view.len;
        }
        if at == end {
            return Ok(bytes);
        }
        tracing::error!(drive = %mirror.drive.id, file, at, "a log file does not verify");
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("no mirror has log file {file:016x} whole")))
}

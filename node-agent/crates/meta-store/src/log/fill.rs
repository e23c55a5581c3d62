//! Making a drive a mirror: copying the log to it, most of it while the log goes on.

use std::collections::BTreeMap;
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

/// Files of the log: number → where its batches end.
pub(crate) type Ends = BTreeMap<u64, u64>;

/// A drive that holds most of the log, and is no mirror yet.
pub(crate) struct Copied {
    pub drive: HomeDrive,
    files: Ends,
}

/// Copies what there is. The log goes on meanwhile, so a file may go before it is read; the rest is for `complete`.
pub(crate) fn copy(
    drive: &HomeDrive,
    from: &[Arc<Mirror>],
    shared: &Shared,
    files: &Ends,
) -> io::Result<Copied> {
    clear(drive)?;
    let mut copied = Ends::new();
    for (file, end) in files {
        match sound_copy(from, &shared.log, *file, *end) {
            Ok(bytes) => {
                copy_file(drive, shared, *file, &bytes)?;
                copied.insert(*file, *end);
            }
            Err(error) => tracing::debug!(file, %error, "a log file went before it was copied"),
        }
    }
    Ok(Copied { drive: drive.clone(), files: copied })
}

/// Brings the copy to where the log is now; the writer does this between two batches. Names become durable with the
/// mirror set.
pub(crate) fn complete(
    copied: &Copied,
    from: &[Arc<Mirror>],
    shared: &Shared,
    files: &Ends,
    current: u64,
) -> io::Result<Arc<Mirror>> {
    let drive = &copied.drive;
    for gone in copied.files.keys().filter(|file| !files.contains_key(file)) {
        drive.disk.remove(&file_path(*gone))?;
    }
    for (file, end) in files {
        match copied.files.get(file) {
            Some(there) if there == end => {}
            Some(there) => {
                let bytes = sound_copy(from, &shared.log, *file, *end)?;
                let copy = drive.disk.open(&file_path(*file))?;
                copy.write_all_at(*there, &bytes[usize::try_from(*there).map_err(io::Error::other)?..])?;
                copy.sync_data("log: filled end of file")?;
            }
            None => copy_file(drive, shared, *file, &sound_copy(from, &shared.log, *file, *end)?)?,
        }
    }
    let mirror = Mirror::new(drive.clone());
    mirror.resume(current)?;
    Ok(mirror)
}

fn copy_file(drive: &HomeDrive, shared: &Shared, file: u64, bytes: &[u8]) -> io::Result<()> {
    let copy = drive.disk.create_new(&file_path(file))?;
    copy.reserve(shared.config.file_bytes)?;
    write_zeros(&*copy, shared.config.file_bytes)?;
    copy.write_all_at(0, bytes)?;
    copy.sync_data("log: filled file")
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
        tracing::warn!(drive = %mirror.drive.id, file, at, "a log file does not verify");
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("no mirror has log file {file:016x} whole")))
}

//! The file that the root key lives in at first; the layout is in docs/formats/key-file.md.
//!
//! Uses `std::fs`: the file lies where `--key-file` says, often outside every drive, and is written once.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::secret::{KEY_BYTES, Secret};
use crate::{KeyringError, ROOT_KEYS_MAX};

const MAGIC: &[u8; 8] = b"SHOALKEY";
const VERSION: u16 = 1;
const MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;
const CHECKED_BYTES: usize = 48;
/// Bytes of one key in a key file: magic 8, version 2, zero 2, generation 4, key 32, SHA-256 of these 48.
pub const KEY_FILE_BYTES: usize = CHECKED_BYTES + 32;

const FILE_BYTES_MAX: usize = ROOT_KEYS_MAX * KEY_FILE_BYTES;

pub(crate) fn load(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let failed = |source| KeyringError::File { path: path.to_owned(), source };
    let wrong = |reason| KeyringError::Format { path: path.to_owned(), reason };
    let mut file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that nobody can swap it between the look and the read.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(wrong("is not a regular file"));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(wrong("is open to other users: run chmod 600 on it, and think of the key as seen"));
    }
    let bytes = usize::try_from(metadata.len()).ok().filter(|bytes| *bytes <= FILE_BYTES_MAX);
    let Some(bytes) = bytes else {
        return Err(wrong("does not have the 80 bytes of each of its keys: bring back a copy"));
    };
    let mut bytes = Zeroizing::new(vec![0; bytes]);
    file.read_exact(bytes.as_mut_slice()).map_err(failed)?;
    Ok(bytes)
}

pub(crate) fn save(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
    if path.symlink_metadata().is_ok() {
        return Err(KeyringError::File { path: path.to_owned(), source: ErrorKind::AlreadyExists.into() });
    }
    write(path, bytes, publish)
}

/// Puts these bytes in the place of whatever file is there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
    // Where the name is a link, the file that it points at.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    write(&path, bytes, |from, to| std::fs::rename(from, to))
}

fn write(
    path: &Path,
    bytes: &[u8],
    publish: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
) -> Result<(), KeyringError> {
    let failed = |source| KeyringError::File { path: path.to_owned(), source };
    let temporary = temporary_path(path);
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| publish(&temporary, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(failed(error));
    }
    sync_parent(path).map_err(failed)
}

/// Gives the finished file its name without replacing one. A link does that at once; file systems without links (a
/// stick with FAT) take the rename, after another look.
fn publish(temporary: &Path, path: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(temporary, path) {
        Ok(()) => std::fs::remove_file(temporary),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) if path.symlink_metadata().is_ok() => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => std::fs::rename(temporary, path),
    }
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

pub(crate) fn encode(generation: u32, secret: &Secret) -> Zeroizing<[u8; KEY_FILE_BYTES]> {
    let mut bytes = Zeroizing::new([0; KEY_FILE_BYTES]);
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
    bytes[12..16].copy_from_slice(&generation.to_be_bytes());
    bytes[16..CHECKED_BYTES].copy_from_slice(secret.expose());
    let checksum = ring::digest::digest(&ring::digest::SHA256, &bytes[..CHECKED_BYTES]);
    bytes[CHECKED_BYTES..].copy_from_slice(checksum.as_ref());
    bytes
}

pub(crate) fn decode(bytes: &[u8; KEY_FILE_BYTES]) -> Result<(u32, Secret), &'static str> {
    if &bytes[..8] != MAGIC {
        return Err("is not a root key file: point --key-file at the one that shoal init wrote");
    }
    if bytes[8..10] != VERSION.to_be_bytes() {
        return Err("was written by another release: use that release or a newer one");
    }
    let checksum = ring::digest::digest(&ring::digest::SHA256, &bytes[..CHECKED_BYTES]);
    if checksum.as_ref() != &bytes[CHECKED_BYTES..] || bytes[10..12] != [0, 0] {
        return Err("is damaged: bring back a copy");
    }
    let generation = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
    if generation == 0 {
        return Err("has generation 0, which no release writes");
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(&bytes[16..CHECKED_BYTES]);
    Ok((generation, Secret::copied(&key)))
}

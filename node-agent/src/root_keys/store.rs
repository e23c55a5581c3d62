//! Where the root keys lie: in the configured file, or beside the data, a copy on every drive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chunk_store::{ChunkStore, Drive};
use grid_types::DriveId;
use keyring::{KeyringError, RootKeys};

use crate::config::Config;
use crate::drives::OurDrive;
use crate::founding::ROOT_KEY_FILE;

/// From the configured file, else from all drives that have a copy: one that was away may lack the newest.
pub fn load(config: &Config, drives: &[OurDrive]) -> Result<RootKeys, KeyringError> {
    if let Some(path) = &config.key_file {
        return RootKeys::load(path);
    }
    let mut copies = Vec::new();
    let mut first_error = None;
    for path in drives.iter().map(|drive| drive.path.join(ROOT_KEY_FILE)) {
        match RootKeys::load(&path) {
            Ok(keys) => copies.push((path, keys)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    copies.sort_by_key(|(_, keys)| std::cmp::Reverse(keys.generation()));
    let mut copies = copies.into_iter();
    let Some((_, newest)) = copies.next() else {
        return Err(first_error.unwrap_or(KeyringError::File {
            path: ROOT_KEY_FILE.into(),
            source: std::io::ErrorKind::NotFound.into(),
        }));
    };
    for (path, keys) in copies {
        if let Err(error) = newest.merge(&keys) {
            tracing::warn!(path = %path.display(), %error, "a copy of the root key is not used");
        }
    }
    Ok(newest)
}

/// Puts the keys into a drive's folder, in the place of an older copy. One that seals with another grid's key stays, and is
/// an error. Blocks.
pub fn put_beside(keys: &RootKeys, folder: &Path) -> Result<PathBuf, KeyringError> {
    let path = folder.join(ROOT_KEY_FILE);
    match RootKeys::load(&path) {
        Ok(there) if *there.encode() == *keys.encode() => return Ok(path),
        Ok(there) => {
            let (sealing, held) = (there.current(), keys.get(there.generation()));
            if held.is_some_and(|held| held.check() != sealing.check()) {
                return Err(KeyringError::OtherKey(there.generation()));
            }
        }
        Err(_) => {}
    }
    keys.replace(&path)?;
    Ok(path)
}

/// Where this node's root keys lie, and which of these places have them as they are now.
pub struct KeyPlaces {
    /// `--key-file`.
    file: Option<PathBuf>,
    store: ChunkStore,
    /// The file has them, as it was read.
    in_file: bool,
    on: BTreeSet<DriveId>,
}

impl KeyPlaces {
    /// `store` has the drives; `file` is in their place where it is named, and has the keys.
    pub fn new(file: Option<PathBuf>, store: ChunkStore) -> Self {
        Self { file, store, in_file: true, on: BTreeSet::new() }
    }

    /// The keys changed.
    pub fn outdated(&mut self) {
        self.in_file = false;
        self.on.clear();
    }

    /// Writes them wherever they are not yet, durably.
    pub async fn write(&mut self, keys: &RootKeys) -> Result<(), KeyringError> {
        let keys = keys.snapshot();
        if let Some(file) = self.file.clone() {
            if !self.in_file {
                blocking(move || keys.replace(&file)).await?;
                self.in_file = true;
            }
            return Ok(());
        }
        let drives = self.store.drives();
        self.on.retain(|id| drives.iter().any(|drive| drive.id() == *id));
        let lacking =
            drives.iter().filter(|drive| drive.out_of_service().is_none() && !self.on.contains(&drive.id()));
        let mut written = Vec::new();
        for drive in lacking {
            let Some(folder) = folder_of(drive) else { continue };
            let keys = keys.clone();
            blocking(move || put_beside(&keys, &folder)).await?;
            written.push(drive.id());
        }
        self.on.extend(written);
        Ok(())
    }
}

fn folder_of(drive: &Drive) -> Option<PathBuf> {
    drive.disk().local_path(ROOT_KEY_FILE)?.parent().map(Path::to_owned)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            Err(KeyringError::File { path: ROOT_KEY_FILE.into(), source: std::io::Error::other(error) })
        }
    }
}

//! The frame of the small files that a rebuild begins with: magic, version, length, payload, SHA-256.
//!
//! The page is docs/formats/rebuild-files.md.

use std::io;
use std::sync::Arc;

use chunk_store::Drive;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sys::Disk;

/// The folder of these files on a drive.
pub(crate) const FOLDER: &str = "rebuild";
const VERSION: u16 = 1;
/// Magic, version, zeros, length.
const HEAD_BYTES: usize = 24;
const HASH_BYTES: usize = 32;

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveFile {
    /// Path on the drive.
    pub path: &'static str,
    pub(crate) magic: &'static [u8; 8],
    /// Names its sync for tests.
    pub(crate) site: &'static str,
}

impl DriveFile {
    pub(crate) fn encode<T: Serialize>(&self, value: &T) -> Vec<u8> {
        let payload = postcard::to_allocvec(value).expect("writing to memory does not fail");
        let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len() + HASH_BYTES);
        bytes.extend_from_slice(self.magic);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&payload);
        let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
        bytes.extend_from_slice(hash.as_ref());
        bytes
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, &'static str> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD_BYTES) else { return Err("too short") };
        if &head[..8] != self.magic {
            return Err("another kind of file");
        }
        if head[8..10] != VERSION.to_be_bytes() {
            return Err("written by another release");
        }
        let length = u64::from_be_bytes(head[16..].try_into().map_err(|_| "too short")?);
        if (rest.len() as u64).checked_sub(HASH_BYTES as u64) != Some(length) {
            return Err("cut short");
        }
        let (covered, hash) = bytes.split_at(bytes.len() - HASH_BYTES);
        if ring::digest::digest(&ring::digest::SHA256, covered).as_ref() != hash {
            return Err("rotten");
        }
        postcard::from_bytes(&covered[HEAD_BYTES..]).map_err(|_| "not decodable")
    }

    /// Replaces the file on a drive. Blocks.
    fn write(&self, disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
        disk.create_dir_all(FOLDER)?;
        disk.sync_dir("", self.site)?;
        disk.write_atomic(self.path, bytes, self.site)
    }

    /// Replaces the file on each of these drives; gives back those where that failed, with the reason.
    pub(crate) async fn write_all(&self, drives: &[Drive], bytes: Vec<u8>) -> Vec<(Drive, io::Error)> {
        let bytes = Arc::new(bytes);
        let writes = drives.iter().map(|drive| {
            let (file, disk, bytes) = (*self, drive.disk(), bytes.clone());
            async move {
                let written = tokio::task::spawn_blocking(move || file.write(&*disk, &bytes)).await;
                written.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        });
        let results = futures_util::future::join_all(writes).await;
        drives
            .iter()
            .zip(results)
            .filter_map(|(drive, result)| result.err().map(|error| (drive.clone(), error)))
            .collect()
    }

    /// Reads the file from every drive that has a whole one.
    pub(crate) async fn read_all<T: DeserializeOwned + Send + 'static>(&self, drives: &[Drive]) -> Vec<T> {
        let mut found = Vec::new();
        for drive in drives {
            let (file, disk, id) = (*self, drive.disk(), drive.id());
            let read = tokio::task::spawn_blocking(move || {
                let bytes = disk.read(file.path)?;
                file.decode(&bytes).map_err(io::Error::other)
            });
            match read.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Ok(value) => found.push(value),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(drive = %id, file = self.path, %error, "a rebuild file is of no use")
                }
            }
        }
        found
    }
}

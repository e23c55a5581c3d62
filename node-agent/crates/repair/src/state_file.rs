//! Small files in which a worker remembers, on the drive itself, how far it came; docs/formats/repair-state.md.

use std::io;
use std::sync::Arc;

use chunk_store::Drive;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::RepairError;

/// The only version so far.
const VERSION: u8 = 1;
/// No state is longer: 65,536 candidates of about 30 bytes.
const BYTES_MAX: u64 = 8 << 20;

/// Reads a state; `None` where there is none, or none that this release understands: the worker begins anew.
pub(crate) async fn load<T: DeserializeOwned + Send + 'static>(
    drive: &Drive,
    name: &'static str,
) -> Option<T> {
    let disk = drive.disk();
    let id = drive.id();
    let read = tokio::task::spawn_blocking(move || {
        let file = disk.open_read(name)?;
        if file.len()? > BYTES_MAX {
            return Err(io::Error::other("it is too long"));
        }
        drop(file);
        decode(&disk.read(name)?)
    });
    match read.await {
        Ok(Ok(state)) => Some(state),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(Err(error)) => {
            tracing::warn!(drive = %id, file = name, %error, "a worker's state cannot be read and begins anew");
            None
        }
        Err(_) => None,
    }
}

/// Replaces a state durably.
pub(crate) async fn save<T: Serialize>(
    drive: &Drive,
    name: &'static str,
    state: &T,
) -> Result<(), RepairError> {
    let failed = |source| RepairError::State { operation: "saving a worker's state", source };
    let mut bytes = vec![VERSION];
    bytes.extend(postcard::to_allocvec(state).map_err(|error| failed(io::Error::other(error)))?);
    let check = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&check.to_le_bytes());
    let disk: Arc<dyn sys::Disk> = drive.disk();
    let written = tokio::task::spawn_blocking(move || disk.write_atomic(name, &bytes, "repair state"));
    written.await.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let (body, check) = bytes.split_at_checked(bytes.len().saturating_sub(4)).unwrap_or_default();
    if check != crc32c::crc32c(body).to_le_bytes() {
        return Err(io::Error::other("it does not match its checksum"));
    }
    match body.split_first() {
        Some((&VERSION, state)) => postcard::from_bytes(state).map_err(io::Error::other),
        _ => Err(io::Error::other("it is of another version")),
    }
}

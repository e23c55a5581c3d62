//! The bytes of a row's value: version ‖ postcard ‖ CRC-32C over table number, version and postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StateError;

/// Version of row values that this release writes.
const ROW_VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// Which table a value belongs to; part of its checksum, so that a value in the wrong table fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    Object = 1,
    Segment = 2,
    Part = 3,
    Upload = 4,
    Bucket = 5,
    Garbage = 6,
    Operation = 7,
    Meta = 8,
    Place = 9,
    Record = 10,
}

fn crc(table: Table, body: &[u8]) -> [u8; CRC_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(&[table as u8]), body).to_le_bytes()
}

/// Encodes a value.
pub(super) fn encode<T: Serialize>(table: Table, value: &T) -> Vec<u8> {
    let mut bytes =
        postcard::to_extend(value, vec![ROW_VERSION]).expect("rows hold no type that postcard refuses");
    let sum = crc(table, &bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Decodes and verifies a value.
pub(super) fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StateError> {
    let damaged = |why: &str| StateError::Damaged(format!("a row of table {table:?} {why}"));
    let Some((body, sum)) = bytes.split_last_chunk::<CRC_BYTES>() else {
        return Err(damaged("is too short"));
    };
    if crc(table, body) != *sum {
        return Err(damaged("fails its checksum"));
    }
    match body.split_first() {
        Some((&ROW_VERSION, body)) => {
            postcard::from_bytes(body).map_err(|error| damaged(&format!("does not decode: {error}")))
        }
        Some((version, _)) => {
            Err(damaged(&format!("has version {version}, which this release does not know")))
        }
        None => Err(damaged("is empty")),
    }
}

/// A body of bytes: the bytes and their checksum, no encoding.
pub(super) fn encode_body(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + CRC_BYTES);
    out.extend_from_slice(bytes);
    out.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    out
}

/// Verifies what `encode_body` made and gives the bytes back.
pub(super) fn decode_body(mut bytes: Vec<u8>) -> Result<Vec<u8>, StateError> {
    match bytes.split_last_chunk::<CRC_BYTES>() {
        Some((body, sum)) if crc32c::crc32c(body).to_le_bytes() == *sum => {
            bytes.truncate(bytes.len() - CRC_BYTES);
            Ok(bytes)
        }
        _ => Err(StateError::Damaged("an inline body fails its checksum".to_owned())),
    }
}

/// 16 bytes of an id column.
pub(super) fn id16(bytes: &[u8]) -> Result<[u8; 16], StateError> {
    bytes.try_into().map_err(|_| StateError::Damaged(format!("an id of {} bytes", bytes.len())))
}

/// A count or offset that SQLite stores as a signed number.
pub(super) fn signed(value: u64) -> Result<i64, StateError> {
    i64::try_from(value).map_err(|_| StateError::Damaged(format!("{value} is out of range")))
}

/// Back from SQLite's signed number.
pub(super) fn unsigned(value: i64) -> Result<u64, StateError> {
    u64::try_from(value).map_err(|_| StateError::Damaged(format!("{value} is out of range")))
}

//! What the sealed part of a chunk header and a footer hold; the page is docs/formats/segment.md.
//!
//! Both are sealed under the bucket key and bound to the seal id, not to the segment id or the chunk: repair and
//! re-coding copy them without a key.

use grid_types::{BucketId, ObjectKey, SegmentId, SegmentOwner};
use keyring::{BucketKey, KeyringError, SealedValue};
use serde::{Deserialize, Serialize};
use sys::Random;

/// First byte of the plaintext of both, so that later releases can tell.
const VERSION: u8 = 1;
const IDENTITY_LABEL: &[u8] = b"shoal segment identity";
const RECORD_LABEL: &[u8] = b"shoal object record";

/// Which piece of which object this is: sealed into every chunk header, for rebuilds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentIdentity {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// Version, part and number.
    pub owner: SegmentOwner,
}

/// A sealed part could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum SealedPartError {
    /// Another bucket's key, another segment's part, or rot.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// Written by a newer release.
    #[error("version {0} of a sealed part is not known to this release")]
    Version(u8),
    /// Opens, but holds something else.
    #[error("a sealed part opens but does not decode")]
    Shape,
}

fn label(purpose: &[u8], seal_id: SegmentId) -> Vec<u8> {
    [purpose, seal_id.as_bytes()].concat()
}

/// Version byte and postcard, sealed.
pub fn seal_identity(
    key: &BucketKey,
    seal_id: SegmentId,
    identity: &SegmentIdentity,
    random: &dyn Random,
) -> Vec<u8> {
    let encoded = postcard::to_allocvec(identity).expect("ids, numbers and a string always encode");
    seal(key, &label(IDENTITY_LABEL, seal_id), &encoded, random)
}

/// Opens what `seal_identity` made. A chunk header does not name its bucket, so a rebuild tries the keys it has.
pub fn open_identity(
    key: &BucketKey,
    seal_id: SegmentId,
    sealed: &[u8],
) -> Result<SegmentIdentity, SealedPartError> {
    let plain = open(key, &label(IDENTITY_LABEL, seal_id), sealed)?;
    postcard::from_bytes(&plain).map_err(|_| SealedPartError::Shape)
}

/// Version byte and the object record as the engine encoded it, sealed.
pub fn seal_record(key: &BucketKey, seal_id: SegmentId, record: &[u8], random: &dyn Random) -> Vec<u8> {
    seal(key, &label(RECORD_LABEL, seal_id), record, random)
}

/// Opens what `seal_record` made: what the engine handed to `SegmentWriter::finish`. An empty footer has no record.
pub fn open_record(key: &BucketKey, seal_id: SegmentId, sealed: &[u8]) -> Result<Vec<u8>, SealedPartError> {
    open(key, &label(RECORD_LABEL, seal_id), sealed)
}

fn seal(key: &BucketKey, label: &[u8], plain: &[u8], random: &dyn Random) -> Vec<u8> {
    let mut versioned = Vec::with_capacity(plain.len() + 1);
    versioned.push(VERSION);
    versioned.extend_from_slice(plain);
    key.seal_value(label, &versioned, random).0
}

fn open(key: &BucketKey, label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealedPartError> {
    let mut plain = key.open_value(label, &SealedValue(sealed.to_vec()))?;
    match plain.first().copied() {
        Some(VERSION) => {
            plain.remove(0);
            Ok(plain)
        }
        Some(version) => Err(SealedPartError::Version(version)),
        None => Err(SealedPartError::Shape),
    }
}

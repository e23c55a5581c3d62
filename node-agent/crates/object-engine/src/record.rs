//! What the engine puts, opaque to others, into rows and chunk footers; the page is docs/formats/object-record.md.
//!
//! Each record is a version byte and the postcard encoding of a struct. Those in rows are sealed by the bucket key under
//! a label that names purpose, bucket and version: a record moved to another row does not open.

use grid_types::{BucketId, Timestamp, VersionId};
use keyring::BucketKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sys::Random;

use crate::{Attributes, Checksum, ChecksumKind, ChecksumType, EngineError};

/// First byte of every record.
const VERSION: u8 = 1;

/// What `VersionRow::attributes` holds, sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAttributes {
    pub(crate) attributes: Attributes,
    pub(crate) checksum: Option<Checksum>,
}

/// What `UploadRow::attributes` holds, sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredUpload {
    pub(crate) attributes: Attributes,
    pub(crate) checksum: Option<(ChecksumKind, ChecksumType)>,
}

/// What `Bucket::settings` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketSettings {
    /// The bucket key that new writes use.
    pub(crate) key_generation: u32,
}

impl BucketSettings {
    pub(crate) fn first() -> Self {
        Self { key_generation: 1 }
    }
}

/// The object record: what the footers of a part's last segment hold, for rebuilds. Sealed by the segment store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectRecord {
    /// A plain PUT: all there is to know of the version.
    Object {
        /// Bytes.
        size: u64,
        /// Without quotes.
        etag: String,
        /// About when it was written; the commit's stamp is later.
        written: Timestamp,
        /// Storage class.
        storage_class: String,
        /// Stored headers.
        attributes: Box<Attributes>,
        /// Stored checksum.
        checksum: Option<Checksum>,
    },
    /// A part of an upload. Whether the upload was completed is in the metadata alone.
    Part {
        /// Bytes of the part.
        size: u64,
        /// Its ETag, without quotes.
        etag: String,
        /// About when it was written.
        written: Timestamp,
        /// Its checksum.
        checksum: Option<Checksum>,
    },
}

impl ObjectRecord {
    /// As the footer's sealed bytes open.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

/// What a sealed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Attributes,
    Upload,
    Inline,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Attributes => b"shoal attributes v1",
            Self::Upload => b"shoal upload v1",
            Self::Inline => b"shoal inline v1",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Attributes => "the attributes of a version",
            Self::Upload => "the attributes of an upload",
            Self::Inline => "the inline body of a version",
        }
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("writing to memory does not fail")
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
        _ => None,
    }
}

fn label(purpose: Purpose, bucket: BucketId, version: VersionId) -> Vec<u8> {
    [purpose.label(), bucket.as_bytes(), version.as_bytes()].concat()
}

pub(crate) fn seal_bytes(
    key: &BucketKey,
    (purpose, bucket, version): (Purpose, BucketId, VersionId),
    plain: &[u8],
    random: &dyn Random,
) -> Vec<u8> {
    key.seal_value(&label(purpose, bucket, version), plain, random).0
}

pub(crate) fn open_bytes(
    key: &BucketKey,
    (purpose, bucket, version): (Purpose, BucketId, VersionId),
    sealed: &[u8],
) -> Result<Vec<u8>, EngineError> {
    Ok(key.open_bytes(&label(purpose, bucket, version), sealed)?)
}

pub(crate) fn seal<T: Serialize>(
    key: &BucketKey,
    place: (Purpose, BucketId, VersionId),
    value: &T,
    random: &dyn Random,
) -> Vec<u8> {
    seal_bytes(key, place, &encode(value), random)
}

pub(crate) fn open<T: DeserializeOwned>(
    key: &BucketKey,
    place: (Purpose, BucketId, VersionId),
    sealed: &[u8],
) -> Result<T, EngineError> {
    decode(&open_bytes(key, place, sealed)?).ok_or_else(|| EngineError::damaged(place.0.words()))
}

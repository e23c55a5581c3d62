//! Bucket keys: everything of a bucket is sealed under keys derived from one.

use std::fmt;

use grid_types::SegmentId;
use serde::{Deserialize, Serialize};
use sys::Random;

use crate::KeyringError;
use crate::secret::Secret;

const SEGMENT_LABEL: &[u8] = b"shoal segment v1";
const VALUE_LABEL: &str = "shoal bucket value v1";

/// A bucket key as the root shard stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// Generation of the bucket key, from 1.
    pub generation: u32,
    /// Generation of the root key that wrapped it.
    pub root_generation: u32,
    /// Nonce and ciphertext.
    pub bytes: Vec<u8>,
}

/// A small sealed value: nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedValue(pub Vec<u8>);

/// A bucket key in memory. Zeroised on drop; clones share it.
#[derive(Clone)]
pub struct BucketKey {
    generation: u32,
    secret: Secret,
    values: Secret,
}

impl BucketKey {
    pub(crate) fn new(generation: u32, secret: Secret) -> Self {
        let values = secret.child(VALUE_LABEL);
        Self { generation, secret, values }
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Its generation, stored with each segment.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// HKDF-SHA256(bucket key, "shoal segment v1" ‖ seal id): 32 bytes.
    pub fn segment_key(&self, seal_id: SegmentId) -> [u8; 32] {
        self.secret.derive(&[SEGMENT_LABEL, seal_id.as_bytes()])
    }

    /// Seals an inline body, user metadata or a chunk's sealed header; `label` (bytes: purpose ‖ owner ids) is bound to
    /// it, so that a value moved to another row does not open.
    pub fn seal_value(&self, label: &[u8], plain: &[u8], random: &dyn Random) -> SealedValue {
        self.values.seal(label, plain, random)
    }

    /// Opens what `seal_value` made with the same label.
    pub fn open_value(&self, label: &[u8], sealed: &SealedValue) -> Result<Vec<u8>, KeyringError> {
        self.open_bytes(label, &sealed.0)
    }

    /// `open_value` for callers that hold the bytes alone.
    pub fn open_bytes(&self, label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyringError> {
        self.values.open(label, sealed, "a value sealed by a bucket key")
    }
}

impl fmt::Debug for BucketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketKey").field("generation", &self.generation).finish_non_exhaustive()
    }
}

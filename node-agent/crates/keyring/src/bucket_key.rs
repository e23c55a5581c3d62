//! Bucket keys: everything of a bucket is sealed under keys derived from one.

use grid_types::SegmentId;
use serde::{Deserialize, Serialize};
use sys::Random;

use crate::KeyringError;

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

/// A small sealed value: nonce ‖ ciphertext ‖ tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedValue(pub Vec<u8>);

/// A bucket key in memory. Zeroised on drop; clones share it.
#[derive(Clone)]
pub struct BucketKey {}

impl BucketKey {
    /// Its generation, stored with each segment.
    pub fn generation(&self) -> u32 {
        todo!()
    }

    /// HKDF-SHA256(bucket key, "shoal segment v1" ‖ seal id): 32 bytes.
    pub fn segment_key(&self, _seal_id: SegmentId) -> [u8; 32] {
        todo!()
    }

    /// Seals an inline body, user metadata or a chunk's sealed header; `label` (bytes: purpose ‖ owner ids) is bound to it.
    pub fn seal_value(&self, _label: &[u8], _plain: &[u8], _random: &dyn Random) -> SealedValue {
        todo!()
    }

    /// Opens what `seal_value` made with the same label.
    pub fn open_value(&self, _label: &[u8], _sealed: &SealedValue) -> Result<Vec<u8>, KeyringError> {
        todo!()
    }
}

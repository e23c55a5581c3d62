//! The root key and the file it lives in at first: 0600, beside the data or wherever `--key-file` says.

use std::path::Path;

use grid_types::BucketId;
use sys::Random;

use crate::{BucketKey, KeyringError, SealedValue, WrappedKey};

/// The grid's root key. Zeroised on drop. Clones share it.
#[derive(Clone)]
pub struct RootKey {}

impl RootKey {
    /// A fresh key of generation 1.
    pub fn generate(_random: &dyn Random) -> Self {
        todo!()
    }

    /// Reads a key file; refuses one that others may read.
    pub fn load(_path: &Path) -> Result<Self, KeyringError> {
        todo!()
    }

    /// Writes a key file durably with mode 0600; refuses to replace one.
    pub fn save(&self, _path: &Path) -> Result<(), KeyringError> {
        todo!()
    }

    /// Grows with each rotation.
    pub fn generation(&self) -> u32 {
        todo!()
    }

    /// Draws a bucket key and wraps it (XChaCha20-Poly1305; bound to bucket, generation and root generation).
    pub fn new_bucket_key(
        &self,
        _bucket: BucketId,
        _generation: u32,
        _random: &dyn Random,
    ) -> (BucketKey, WrappedKey) {
        todo!()
    }

    /// Opens a wrapped bucket key.
    pub fn unwrap(&self, _bucket: BucketId, _wrapped: &WrappedKey) -> Result<BucketKey, KeyringError> {
        todo!()
    }

    /// Seals a small secret (an S3 secret key); `label` is bound to it.
    pub fn seal_value(&self, _label: &str, _plain: &[u8], _random: &dyn Random) -> SealedValue {
        todo!()
    }

    /// Opens what `seal_value` made with the same label.
    pub fn open_value(&self, _label: &str, _sealed: &SealedValue) -> Result<Vec<u8>, KeyringError> {
        todo!()
    }
}

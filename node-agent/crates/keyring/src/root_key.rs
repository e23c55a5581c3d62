//! The root key: wraps bucket keys, seals the few secrets of the root shard.

use std::fmt;

use grid_types::BucketId;
use serde::{Deserialize, Serialize};
use sys::Random;
use zeroize::Zeroizing;

use crate::secret::{KEY_BYTES, Secret};
use crate::{BucketKey, KeyringError, SealedValue, WrappedKey, key_file};

const WRAP_LABEL: &str = "shoal wrap v1";
const VALUE_LABEL: &str = "shoal root value v1";
const CHECK_LABEL: &[u8] = b"shoal root check v1";
const FIRST_GENERATION: u32 = 1;

/// Derived from a root key: the same for the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKeyCheck(pub [u8; 16]);

/// The grid's root key. Zeroised on drop. Clones share it.
#[derive(Clone)]
pub struct RootKey {
    generation: u32,
    secret: Secret,
    wrapping: Secret,
    values: Secret,
}

impl RootKey {
    pub(crate) fn new(generation: u32, secret: Secret) -> Self {
        let (wrapping, values) = (secret.child(WRAP_LABEL), secret.child(VALUE_LABEL));
        Self { generation, secret, wrapping, values }
    }

    /// A fresh key of generation 1.
    pub fn generate(random: &dyn Random) -> Self {
        Self::new(FIRST_GENERATION, Secret::generate(random))
    }

    /// The bytes of a key file that holds it alone, for a member over a connection that is sealed and proved.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(key_file::encode(self.generation, &self.secret).to_vec())
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyringError> {
        let wrong = |reason| KeyringError::Format { path: "the key that was sent".into(), reason };
        let bytes = bytes.try_into().map_err(|_| wrong("does not have the 80 bytes of a key file"))?;
        let (generation, secret) = key_file::decode(bytes).map_err(wrong)?;
        Ok(Self::new(generation, secret))
    }

    /// Grows with each rotation.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Tells this key from others, and tells nothing of it.
    pub fn check(&self) -> RootKeyCheck {
        let bytes = self.secret.derive(&[CHECK_LABEL]);
        let mut check = [0; 16];
        check.copy_from_slice(&bytes[..16]);
        RootKeyCheck(check)
    }

    /// Wraps a bucket key.
    pub(crate) fn wrap(&self, bucket: BucketId, key: &BucketKey, random: &dyn Random) -> WrappedKey {
        let associated = wrap_associated(bucket, key.generation(), self.generation);
        let SealedValue(bytes) = self.wrapping.seal(&associated, key.secret().expose(), random);
        WrappedKey { generation: key.generation(), root_generation: self.generation, bytes }
    }

    /// Draws a bucket key and wraps it (XChaCha20-Poly1305; bound to bucket, generation and root generation).
    pub fn new_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        random: &dyn Random,
    ) -> (BucketKey, WrappedKey) {
        let key = BucketKey::new(generation, Secret::generate(random));
        let wrapped = self.wrap(bucket, &key, random);
        (key, wrapped)
    }

    /// Opens a wrapped bucket key.
    pub fn unwrap(&self, bucket: BucketId, wrapped: &WrappedKey) -> Result<BucketKey, KeyringError> {
        const WHAT: &str = "a bucket key wrapped by the root key";
        let associated = wrap_associated(bucket, wrapped.generation, wrapped.root_generation);
        let plain = Zeroizing::new(self.wrapping.open(&associated, &wrapped.bytes, WHAT)?);
        let bytes: &[u8; KEY_BYTES] = plain.as_slice().try_into().map_err(|_| KeyringError::Unwrap(WHAT))?;
        Ok(BucketKey::new(wrapped.generation, Secret::copied(bytes)))
    }

    /// Seals a small secret (an S3 secret key); `label` is bound to it.
    pub fn seal_value(&self, label: &str, plain: &[u8], random: &dyn Random) -> SealedValue {
        self.values.seal(label.as_bytes(), plain, random)
    }

    /// Opens what `seal_value` made with the same label.
    pub fn open_value(&self, label: &str, sealed: &SealedValue) -> Result<Vec<u8>, KeyringError> {
        self.values.open(label.as_bytes(), &sealed.0, "a value sealed by the root key")
    }
}

/// What the tag of a wrapped key also covers: bucket id ‖ key generation ‖ root generation, big endian.
fn wrap_associated(bucket: BucketId, generation: u32, root_generation: u32) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(bucket.as_bytes());
    bytes[16..20].copy_from_slice(&generation.to_be_bytes());
    bytes[20..].copy_from_slice(&root_generation.to_be_bytes());
    bytes
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey").field("generation", &self.generation).finish_non_exhaustive()
    }
}

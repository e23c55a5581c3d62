//! Root key (generation) → bucket keys (random, wrapped) → segment keys (derived). See design/keys.md.
//!
//! Invariant: keys live in zeroised memory and appear in no log, error, Debug output or metric.

mod bucket_key;
mod error;
mod root_key;

pub use bucket_key::{BucketKey, SealedValue, WrappedKey};
pub use error::KeyringError;
pub use root_key::RootKey;

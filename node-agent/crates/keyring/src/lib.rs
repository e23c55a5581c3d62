//! Root key (generation) → bucket keys (random, wrapped) → segment keys (derived). And passphrase → key of one sealed stream.
//!
//! Invariants: keys live in zeroised memory, locked where the system allows it, and appear in no log, error, Debug output or metric. A key never does two
//! jobs: wrapping, sealing values and deriving segment keys each use a key of their own, derived with HKDF-SHA256. May
//! import `grid-types` and `sys`.

mod bucket_key;
mod error;
mod key_file;
mod passphrase;
mod root_key;
mod root_keys;
mod sealed_stream;
mod secret;

pub use bucket_key::{BucketKey, SealedValue, WrappedKey};
pub use error::KeyringError;
pub use key_file::KEY_FILE_BYTES;
pub use passphrase::{PASSPHRASE_BYTES_MIN, PassphraseCost, PassphraseError, PassphraseKey, SALT_BYTES};
pub use root_key::{RootKey, RootKeyCheck};
pub use root_keys::{ROOT_KEYS_MAX, RootKeys};
pub use sealed_stream::{PieceOpener, PieceSealer, SEALED_PIECE_OVERHEAD_BYTES};
pub use secret::SEALED_VALUE_OVERHEAD_BYTES;

#[cfg(test)]
mod tests;

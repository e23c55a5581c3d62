//! Who may do what. So far: access keys, each with everything allowed; policies come later, in `authorize`.
//!
//! Invariants: secrets are sealed by the root key in the root shard and zeroised in memory; an unknown key is confirmed
//! by a linearizable read before it is refused; caches are bounded and never older than a few seconds.

mod access_key;
mod cache;
mod error;
mod format;
mod store;

pub use access_key::{AccessKey, AccessKeyState, Caller};
pub use error::IamError;
pub use store::{Action, Iam, resealed_record};

#[cfg(test)]
mod store_tests;

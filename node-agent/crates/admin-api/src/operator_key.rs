//! The bearer token of the operator: 256 random bits, so that a plain SHA-256 of it is safe to store.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What every operator key begins with, so that secret scanners find a lost one.
pub const OPERATOR_KEY_PREFIX: &str = "shoal-operator-";

/// An operator key in the clear. Exists between its making and its printing.
pub struct OperatorKey(String);

impl OperatorKey {
    /// From 32 fresh random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(format!("{OPERATOR_KEY_PREFIX}{}", data_encoding::HEXLOWER.encode(&bytes)))
    }

    /// What the operator is shown, once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored.
    pub fn hash(&self) -> OperatorKeyHash {
        OperatorKeyHash::of(&self.0)
    }
}

/// SHA-256 of an operator key, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorKeyHash(pub [u8; 32]);

impl OperatorKeyHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Is this the key? Takes the same time whatever the token holds.
    pub fn matches(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

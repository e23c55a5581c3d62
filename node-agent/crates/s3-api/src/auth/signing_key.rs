//! Signing keys: derived from a secret for one day, region and service, and kept for a while.

use std::collections::HashMap;

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use ring::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq;

use crate::auth::CredentialScope;

/// Signing keys that are kept: a few keys, days and regions. A full cache is emptied; deriving takes microseconds.
const CACHED_KEYS_MAX: usize = 256;

/// HMAC key of one scope.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives the key of a scope from the secret.
    pub fn derive(secret: &str, scope: &CredentialScope) -> Self {
        let first = hmac::Key::new(HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        let last = [scope.date.as_str(), &scope.region, "s3", "aws4_request"]
            .iter()
            .fold(first, |key, part| hmac::Key::new(HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()));
        Self(last)
    }

    /// The signature of a string, in lower-case hex.
    pub fn sign(&self, string_to_sign: &[u8]) -> String {
        HEXLOWER.encode(hmac::sign(&self.0, string_to_sign).as_ref())
    }

    /// Compares a signature in constant time.
    pub fn verify(&self, string_to_sign: &[u8], signature: &str) -> bool {
        self.sign(string_to_sign).as_bytes().ct_eq(signature.as_bytes()).into()
    }
}

/// Signing keys that proved right lately. Bounded.
#[derive(Default)]
pub struct SigningKeyCache {
    keys: Mutex<HashMap<CacheKey, (String, SigningKey)>>,
}

type CacheKey = (String, String, String);

impl SigningKeyCache {
    fn key(scope: &CredentialScope) -> CacheKey {
        (scope.key_id.clone(), scope.date.clone(), scope.region.clone())
    }

    /// The kept key of a scope, or a fresh one. A key kept for another secret is not used.
    pub fn get(&self, secret: &str, scope: &CredentialScope) -> SigningKey {
        let kept = {
            let keys = self.keys.lock();
            keys.get(&Self::key(scope))
                .filter(|(known, _)| bool::from(known.as_bytes().ct_eq(secret.as_bytes())))
                .map(|(_, key)| key.clone())
        };
        kept.unwrap_or_else(|| SigningKey::derive(secret, scope))
    }

    /// Keeps a key whose signature was right.
    pub fn keep(&self, secret: &str, scope: &CredentialScope, key: &SigningKey) {
        let mut keys = self.keys.lock();
        let place = Self::key(scope);
        if keys.get(&place).is_some_and(|(known, _)| known == secret) {
            return;
        }
        if keys.len() >= CACHED_KEYS_MAX {
            keys.clear();
        }
        keys.insert(place, (secret.to_owned(), key.clone()));
    }

    /// Keys kept now.
    pub fn len(&self) -> usize {
        self.keys.lock().len()
    }

    /// True where none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

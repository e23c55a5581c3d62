//! Bucket names and object keys, checked once at the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::KEY_BYTES_MAX;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Bucket names follow the S3 rules for general-purpose buckets.
    #[error(
        "bucket name `{0}`: 3 to 63 of a-z, 0-9, `-` and `.`; first and last a letter or digit; no `..`, not an IP address"
    )]
    Bucket(String),
    /// Keys are 1 to 1,024 bytes of UTF-8.
    #[error("object key of {0} bytes: 1 to {max} bytes are allowed", max = KEY_BYTES_MAX)]
    KeyLength(usize),
}

/// A bucket's name: 3 to 63 bytes, as S3 restricts general-purpose buckets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BucketName(String);

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BucketName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let ok = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|&b| edge(b) || b == b'-' || b == b'.')
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && !text.contains("..")
            && !text.contains(".-")
            && !text.contains("-.")
            && text.parse::<std::net::Ipv4Addr>().is_err();
        if ok { Ok(Self(text.to_owned())) } else { Err(NameError::Bucket(text.to_owned())) }
    }
}

/// An object's key: 1 to 1,024 bytes of UTF-8, ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Checks the length; every UTF-8 text of an allowed length is a key.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if (1..=KEY_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(NameError::KeyLength(text.len()))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;

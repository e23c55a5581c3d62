//! The body of a write as the front door hands it down.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;

use crate::Checksum;

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection closed or the announced length was not reached.
    #[error("the body ended before its announced length")]
    Incomplete,
    /// The front door refused it (a chunk signature, a malformed chunk header); the words are for its own error answer.
    #[error("{0}")]
    Refused(Box<dyn std::error::Error + Send + Sync>),
}

/// Decoded plaintext bytes.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Digests the body must have. Trailers fill them when the stream ends, so they are read after its end. Clones share.
#[derive(Debug, Clone, Default)]
pub struct ExpectedDigests {
    shared: Arc<Mutex<Expected>>,
}

#[derive(Debug, Default)]
struct Expected {
    md5: Option<[u8; 16]>,
    checksum: Option<Checksum>,
}

impl ExpectedDigests {
    /// `Content-MD5`.
    pub fn set_md5(&self, md5: [u8; 16]) {
        self.shared.lock().md5 = Some(md5);
    }

    /// `x-amz-checksum-*`, from a header or a trailer.
    pub fn set_checksum(&self, checksum: Checksum) {
        self.shared.lock().checksum = Some(checksum);
    }

    /// The MD5 the body must have.
    pub fn md5(&self) -> Option<[u8; 16]> {
        self.shared.lock().md5
    }

    /// The checksum the body must have.
    pub fn checksum(&self) -> Option<Checksum> {
        self.shared.lock().checksum.clone()
    }
}

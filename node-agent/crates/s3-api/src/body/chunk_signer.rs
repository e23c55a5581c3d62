//! Signatures of chunks and trailers: each covers the one before, the first the request's.

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256, digest};

use crate::auth::SigningKey;

/// SHA-256 of nothing, which stands where a chunk's headers would.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Follows the chain of signatures of one body.
#[derive(Clone)]
pub struct ChunkSigner {
    key: SigningKey,
    date: String,
    scope: String,
    previous: String,
    chunk: Context,
}

impl ChunkSigner {
    /// `date` as `yyyymmddThhmmssZ`, `scope` without key id, `seed` the request's own signature.
    pub fn new(key: SigningKey, date: String, scope: String, seed: String) -> Self {
        Self { key, date, scope, previous: seed, chunk: Context::new(&SHA256) }
    }

    /// More bytes of the current chunk.
    pub fn update(&mut self, data: &[u8]) {
        self.chunk.update(data);
    }

    /// Ends the chunk: true where its signature is right. The next one continues from it.
    #[must_use]
    pub fn end_chunk(&mut self, signature: &str) -> bool {
        let chunk = std::mem::replace(&mut self.chunk, Context::new(&SHA256)).finish();
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{EMPTY_SHA256}\n{}",
            self.date,
            self.scope,
            self.previous,
            HEXLOWER.encode(chunk.as_ref())
        );
        self.advance(&text, signature)
    }

    /// True where the signature over the trailers (`name:value\n` each) is right.
    #[must_use]
    pub fn end_trailers(&mut self, trailers: &[u8], signature: &str) -> bool {
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.date,
            self.scope,
            self.previous,
            HEXLOWER.encode(digest(&SHA256, trailers).as_ref())
        );
        self.advance(&text, signature)
    }

    fn advance(&mut self, text: &str, signature: &str) -> bool {
        let right = self.key.verify(text.as_bytes(), signature);
        signature.clone_into(&mut self.previous);
        right
    }
}

//! The hash on every frame: HighwayHash-256 with key = format constant ⊕ (segment id ‖ chunk index), over the frame
//! number (u64, little endian) followed by the block. A frame in the wrong place fails. Finds rot, not malice.
//!
//! HighwayHash: Alakuijala, Cox, Wassenberg, "Fast keyed hash/pseudo-random function using SIMD multiply and
//! permute" (2016). The crate picks AVX2, SSE4.1, NEON or portable code at run time, and `neon` that of 32-bit ARM; all give
//! the same bytes.

use grid_types::ChunkKey;
use highway::Key;

#[cfg(target_arch = "arm")]
mod neon;

#[cfg(not(target_arch = "arm"))]
use highway::{HighwayHash as _, HighwayHasher as Hasher};
#[cfg(target_arch = "arm")]
use neon::Hasher;

/// Bytes of a frame's hash; it stands before its block.
pub const FRAME_HASH_BYTES: usize = 32;

/// The format constant: the 32 ASCII bytes of this text. Changing it changes every stored hash.
const FORMAT_CONSTANT: &[u8; 32] = b"shoal frame hash, format one ...";

/// Hashes the frames of one chunk.
#[derive(Clone)]
pub struct FrameHasher {
    /// The keyed state before the first byte; hashing a frame starts from a copy.
    keyed: Hasher,
}

impl FrameHasher {
    /// The hasher of this chunk.
    pub fn new(chunk: ChunkKey) -> Self {
        let mut bytes = *FORMAT_CONSTANT;
        for (byte, id) in bytes.iter_mut().zip(chunk.segment.as_bytes()) {
            *byte ^= id;
        }
        bytes[16] ^= chunk.index;
        Self { keyed: Hasher::new(highway_key(&bytes)) }
    }

    /// The hash of frame `number` with this block.
    pub fn hash(&self, number: u64, block: &[u8]) -> [u8; FRAME_HASH_BYTES] {
        self.hash_parts(number, [block])
    }

    /// The hash of frame `number` whose block comes in pieces; the same as for the pieces in one.
    pub fn hash_parts<'a>(
        &self,
        number: u64,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> [u8; FRAME_HASH_BYTES] {
        let mut hasher = self.keyed.clone();
        hasher.append(&number.to_le_bytes());
        for part in parts {
            hasher.append(part);
        }
        to_bytes(hasher.finalize256())
    }

    /// True when `hash` is the hash of this frame.
    pub fn verify(&self, number: u64, block: &[u8], hash: &[u8]) -> bool {
        self.hash(number, block) == hash
    }
}

/// HighwayHash-256 by the code that frames are hashed with.
pub(crate) fn highway_256(key: &[u8; 32], bytes: &[u8]) -> [u64; 4] {
    let mut hasher = Hasher::new(highway_key(key));
    hasher.append(bytes);
    hasher.finalize256()
}

/// Four little-endian words, as in Google's reference code.
pub(crate) fn highway_key(bytes: &[u8; 32]) -> Key {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    Key(words)
}

pub(crate) fn to_bytes(words: [u64; 4]) -> [u8; FRAME_HASH_BYTES] {
    let mut bytes = [0; FRAME_HASH_BYTES];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;

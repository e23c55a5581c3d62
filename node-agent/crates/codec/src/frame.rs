//! The hash on every frame: HighwayHash-256 with key = format constant ⊕ (segment id ‖ chunk index), over the frame
//! number (u64, little endian) followed by the block. A frame in the wrong place fails. Finds rot, not malice.

use grid_types::ChunkKey;

/// Bytes of a frame's hash; it stands before its block.
pub const FRAME_HASH_BYTES: usize = 32;

/// Hashes the frames of one chunk.
#[derive(Clone)]
pub struct FrameHasher {}

impl FrameHasher {
    /// The hasher of this chunk.
    pub fn new(_chunk: ChunkKey) -> Self {
        todo!()
    }

    /// The hash of frame `number` with this block.
    pub fn hash(&self, _number: u64, _block: &[u8]) -> [u8; FRAME_HASH_BYTES] {
        todo!()
    }

    /// True when `hash` is the hash of this frame.
    pub fn verify(&self, number: u64, block: &[u8], hash: &[u8]) -> bool {
        self.hash(number, block) == hash
    }
}

//! Bytes of chunks, packs and the drive index; the page is docs/formats/chunk.md.

use grid_types::{ChunkKey, Cipher, Compression, Profile, SegmentId};

/// The header of a chunk, as its writer gives it. Stored clear but for `sealed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Segment id and index.
    pub chunk: ChunkKey,
    /// The segment's seal id.
    pub seal_id: SegmentId,
    /// How the segment is spread.
    pub profile: Profile,
    /// The AEAD of the packets.
    pub cipher: Cipher,
    /// The compression before sealing.
    pub compression: Compression,
    /// Generation of the bucket key.
    pub key_generation: u32,
    /// Packets of a full block.
    pub block_packets: u8,
    /// Plaintext bytes of the segment. Known at the end of writing: 0 in the header that opens a chunk file, stored
    /// in the footer.
    pub plain_len: u64,
    /// Sealed by the segment store: bucket id, key, version id, part and segment number.
    pub sealed: Vec<u8>,
}

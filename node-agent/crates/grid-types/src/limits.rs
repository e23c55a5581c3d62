//! Limits that formats and several crates share. Each crate keeps its own limits in its own `config.rs`.

/// Plaintext bytes of a full packet.
pub const PACKET_PLAIN_BYTES: u64 = 65_536;
/// Bytes of an authentication tag (AES-256-GCM and ChaCha20-Poly1305 alike).
pub const PACKET_TAG_BYTES: u64 = 16;
/// Ciphertext bytes of a full packet: plaintext and tag.
pub const PACKET_SEALED_BYTES: u64 = PACKET_PLAIN_BYTES + PACKET_TAG_BYTES;
/// Packets of one full block (`p` of design/data.md); a chunk header stores the number really used.
pub const BLOCK_PACKETS_DEFAULT: u8 = 2;
/// Plaintext bytes of one segment at most: 64 MiB = 1,024 packets.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Chunks of one segment at most: `k + m` or `n`.
pub const CHUNKS_PER_SEGMENT_MAX: usize = 32;
/// Objects up to here are "small" in the table of `auto`.
pub const SMALL_BYTES_MAX: u64 = 128 << 10;
/// Objects up to here live, sealed, in their metadata row, unless configured otherwise.
pub const INLINE_BYTES_MAX_DEFAULT: u64 = 16 << 10;
/// Chunks with up to this payload go into packs, larger ones into files of their own: 1 MiB of plaintext, sealed.
pub const PACK_CHUNK_BYTES_MAX: u64 = 16 * PACKET_SEALED_BYTES;
/// Bytes of an object key (S3's limit).
pub const KEY_BYTES_MAX: usize = 1_024;
/// Parts of a multipart upload (S3's limit).
pub const PART_COUNT_MAX: u16 = 10_000;
/// Encoded bytes of one Raft command.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;

//! Packet sealing: the STREAM construction over AES-256-GCM or ChaCha20-Poly1305.
//!
//! Nonce = 56 zero bits ‖ last-packet flag (8 bits) ‖ packet number (32 bits, big endian). Associated data =
//! format version (1 byte) ‖ cipher (1) ‖ compression (1) ‖ seal id (16). Truncation and reordering fail to open.
//! Uniqueness rests on the segment key, which is derived from a seal id that is never used twice.

use grid_types::{Cipher, Compression, SegmentId};

/// A tag did not match: wrong key, wrong place, or rotten bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("packet {packet} of segment {seal_id} does not authenticate")]
pub struct SealError {
    /// Packet number within the segment.
    pub packet: u64,
    /// The segment's seal id.
    pub seal_id: SegmentId,
}

/// 256 bits that seal one segment; zeroised on drop, never printed.
pub struct SegmentKey(zeroize::Zeroizing<[u8; 32]>);

impl SegmentKey {
    /// Takes the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    /// The bytes, for the cipher alone.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What the tag of every packet also covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext {
    /// The AEAD.
    pub cipher: Cipher,
    /// The compression before it.
    pub compression: Compression,
    /// The seal id.
    pub seal_id: SegmentId,
}

/// Seals and opens the packets of one segment. Stateless per packet, so ranges open in any order.
pub struct Sealer {}

impl Sealer {
    /// Prepares the cipher.
    pub fn new(_key: &SegmentKey, _context: SealContext) -> Self {
        todo!()
    }

    /// Seals in place: `packet` holds plaintext followed by 16 spare bytes, which become the tag.
    pub fn seal(&self, _number: u64, _last: bool, _packet: &mut [u8]) {
        todo!()
    }

    /// Opens in place; returns the plaintext (a prefix of `packet`).
    pub fn open<'a>(
        &self,
        _number: u64,
        _last: bool,
        _packet: &'a mut [u8],
    ) -> Result<&'a mut [u8], SealError> {
        todo!()
    }
}

/// The cipher for new segments: AES-256-GCM when `all_have_aes`, unless overridden.
pub fn choose_cipher(all_have_aes: bool, override_with: Option<Cipher>) -> Cipher {
    override_with.unwrap_or(if all_have_aes { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 })
}

/// True when this CPU has AES (and carry-less multiply) instructions, detected at run time.
pub fn cpu_has_aes() -> bool {
    todo!()
}

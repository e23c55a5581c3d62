//! Packet sealing: the STREAM construction over AES-256-GCM or ChaCha20-Poly1305.
//!
//! Nonce = 56 zero bits ‖ last-packet flag (8 bits) ‖ packet number (32 bits, big endian). Associated data =
//! format version (1 byte) ‖ cipher (1) ‖ compression (1) ‖ seal id (16). Truncation and reordering fail to open.
//! Uniqueness rests on the segment key, which is derived from a seal id that is never used twice.
//!
//! STREAM: Hoang, Reyhanitabar, Rogaway, Vizár, "Online authenticated-encryption and its nonce-reuse
//! misuse-resistance" (2015). Ciphers: RFC 8439, NIST SP 800-38D.

use grid_types::{Cipher, Compression, PACKET_TAG_BYTES, SegmentId};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// First byte of the associated data.
pub const SEAL_FORMAT_VERSION: u8 = 1;

/// Bytes of a tag, as a slice length.
const TAG_LEN: usize = PACKET_TAG_BYTES as usize;
/// Bytes of the associated data.
const AAD_LEN: usize = 19;

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
pub struct Sealer {
    key: LessSafeKey,
    aad: [u8; AAD_LEN],
    seal_id: SegmentId,
}

impl Sealer {
    /// Prepares the cipher.
    pub fn new(key: &SegmentKey, context: SealContext) -> Self {
        Self {
            key: aead_key(context.cipher, key.expose()),
            aad: associated_data(context),
            seal_id: context.seal_id,
        }
    }

    /// Seals in place: `packet` holds plaintext followed by 16 spare bytes, which become the tag.
    ///
    /// # Panics
    /// When `packet` is shorter than a tag or `number` needs more than 32 bits: both are bugs of the caller, since a
    /// segment has at most 1,024 packets.
    pub fn seal(&self, number: u64, last: bool, packet: &mut [u8]) {
        let (plain, tag) = packet.split_at_mut(packet.len().checked_sub(TAG_LEN).expect("room for the tag"));
        seal_detached(&self.key, nonce(number, last), &self.aad, plain, tag);
    }

    /// Opens in place; returns the plaintext (a prefix of `packet`).
    ///
    /// On an error the bytes of `packet` are unspecified and must not be used.
    pub fn open<'a>(&self, number: u64, last: bool, packet: &'a mut [u8]) -> Result<&'a mut [u8], SealError> {
        self.key
            .open_in_place(Nonce::assume_unique_for_key(nonce(number, last)), Aad::from(&self.aad), packet)
            .map_err(|_| SealError { packet: number, seal_id: self.seal_id })
    }
}

/// The AEAD key; `ring` picks the kernel for this CPU at run time.
pub(crate) fn aead_key(cipher: Cipher, key: &[u8; 32]) -> LessSafeKey {
    let algorithm = match cipher {
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("both ciphers take keys of 32 bytes"))
}

/// Encrypts `plain` in place and writes its tag. Split from `Sealer::seal` so that published vectors can be checked.
pub(crate) fn seal_detached(
    key: &LessSafeKey,
    nonce: [u8; 12],
    aad: &[u8],
    plain: &mut [u8],
    tag: &mut [u8],
) {
    let made = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), plain)
        .expect("a packet is far below the ciphers' limit of 2^36 bytes");
    tag.copy_from_slice(made.as_ref());
}

pub(crate) fn nonce(number: u64, last: bool) -> [u8; 12] {
    let number = u32::try_from(number).expect("packet numbers have 32 bits");
    let mut nonce = [0; 12];
    nonce[7] = u8::from(last);
    nonce[8..].copy_from_slice(&number.to_be_bytes());
    nonce
}

pub(crate) fn associated_data(context: SealContext) -> [u8; AAD_LEN] {
    let mut aad = [0; AAD_LEN];
    aad[0] = SEAL_FORMAT_VERSION;
    aad[1] = context.cipher as u8;
    aad[2] = context.compression as u8;
    aad[3..].copy_from_slice(context.seal_id.as_bytes());
    aad
}

/// The cipher for new segments: AES-256-GCM when `all_have_aes`, unless overridden.
pub fn choose_cipher(all_have_aes: bool, override_with: Option<Cipher>) -> Cipher {
    override_with.unwrap_or(if all_have_aes { Cipher::Aes256Gcm } else { Cipher::ChaCha20Poly1305 })
}

/// True when AES-256-GCM runs on instructions of this CPU for AES and carry-less multiplication, detected at run time. Never on
/// 32-bit ARM: ring does not use them there, where they exist, and is several times slower than with ChaCha20-Poly1305.
pub fn cpu_has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull")
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;

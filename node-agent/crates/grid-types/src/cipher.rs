//! Which algorithm sealed or compressed the bytes of a segment.

use serde::{Deserialize, Serialize};

/// A stored number that names no cipher of this release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cipher {0} is not known to this release; a newer one wrote it")]
pub struct UnknownCipher(pub u8);

/// The AEAD that sealed a segment. The numbers are stored in chunk headers and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Cipher {
    /// AES-256-GCM: only where every member of the grid has AES instructions.
    Aes256Gcm = 1,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    /// The name that configuration and status use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }
}

impl TryFrom<u8> for Cipher {
    type Error = UnknownCipher;

    fn try_from(number: u8) -> Result<Self, UnknownCipher> {
        match number {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::ChaCha20Poly1305),
            other => Err(UnknownCipher(other)),
        }
    }
}

/// How a segment was compressed before sealing; 0 until compression exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Compression {
    /// Not compressed.
    #[default]
    None = 0,
}

//! A key from a passphrase: Argon2id, version 1.3 (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use crate::secret::{KEY_BYTES, Secret};

/// Bytes of the salt.
pub const SALT_BYTES: usize = 16;
/// A shorter passphrase is guessed, whatever a guess costs.
pub const PASSPHRASE_BYTES_MIN: usize = 8;
/// What a stranger's file may make us spend: a quarter of the memory of a board, and ten seconds on it.
const MEMORY_KIB_MAX: u32 = 256 << 10;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 8;

/// What one guess costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// The second recommendation of RFC 9106, in one lane: 64 MiB and 3 passes, about a second on a board.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// Too short.
    #[error("the passphrase must have at least {PASSPHRASE_BYTES_MIN} letters")]
    Short,
    /// Damage, or an attack on this host's memory.
    #[error("the cost of the passphrase is beyond what this release takes")]
    Cost,
}

/// A key that a passphrase gave. Clones share it.
#[derive(Clone)]
pub struct PassphraseKey(pub(crate) Secret);

impl PassphraseKey {
    /// Blocks for about a second, and takes `cost.memory_kib` meanwhile.
    pub fn derive(
        passphrase: &[u8],
        salt: &[u8; SALT_BYTES],
        cost: PassphraseCost,
    ) -> Result<Self, PassphraseError> {
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            return Err(PassphraseError::Short);
        }
        if cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX || cost.lanes > LANES_MAX {
            return Err(PassphraseError::Cost);
        }
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES))
            .map_err(|_| PassphraseError::Cost)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase, salt, key.as_mut_slice())
            .map_err(|_| PassphraseError::Cost)?;
        Ok(Self(Secret::copied(&key)))
    }

    /// For the node that seals with it.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }

    /// What `expose` gave; the caller wipes its own.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Secret::copied(bytes))
    }
}

impl std::fmt::Debug for PassphraseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PassphraseKey(..)")
    }
}

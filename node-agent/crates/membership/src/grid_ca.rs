//! The grid's own authority: one Ed25519 key pair that signs the member list, whose public half is the pin of tickets.
//!
//! Invariants: the seed is wiped from memory when the last holder goes and appears in no log or `Debug` output; what is
//! signed begins with a label, so that a signature of one kind never passes as another.

use std::fmt;

use grid_types::NodeId;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sys::Random;
use zeroize::Zeroizing;

/// Bytes of an Ed25519 public key, and of a seed.
pub const KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
/// DER of RFC 8410 before the 32 bytes of the seed.
const PKCS8_HEADING: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Public half of the grid CA.
pub type CaPublicKey = [u8; KEY_BYTES];

/// SHA-256 of a CA's public key: what a ticket carries, so that a joiner knows the grid before it proves anything.
pub type CaPin = [u8; 32];

/// Both halves of the grid CA.
pub struct GridCa {
    pair: Ed25519KeyPair,
    public: CaPublicKey,
    seed: Zeroizing<[u8; KEY_BYTES]>,
}

/// The stored bytes are no key pair.
#[derive(Debug, thiserror::Error)]
#[error("the key of the grid CA is damaged: bring back a copy of the metadata")]
pub struct CaKeyError;

impl GridCa {
    /// A fresh one, for a grid that is being founded.
    pub fn generate(random: &dyn Random) -> Result<Self, CaKeyError> {
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        random.fill(seed.as_mut_slice());
        Self::from_seed(&seed)
    }

    /// The one with this seed. The caller wipes its own copy.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> Result<Self, CaKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| CaKeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| CaKeyError)?;
        Ok(Self { pair, public, seed: Zeroizing::new(*seed) })
    }

    /// What is stored of it, wrapped by the root key.
    pub fn seed(&self) -> &[u8; KEY_BYTES] {
        &self.seed
    }

    /// The pair as PKCS#8 (RFC 8410), for whoever makes certificates.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([PKCS8_HEADING.as_slice(), self.seed.as_slice()].concat())
    }

    /// The public half.
    pub fn public_key(&self) -> CaPublicKey {
        self.public
    }

    /// The pin of this CA.
    pub fn pin(&self) -> CaPin {
        pin(&self.public)
    }

    /// Signs `label` ‖ `body`.
    pub(crate) fn sign(&self, label: &[u8], body: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.pair.sign(&[label, body].concat()).as_ref());
        signature
    }
}

impl fmt::Debug for GridCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GridCa")
            .field("public", &data_encoding::HEXLOWER.encode(&self.public))
            .finish_non_exhaustive()
    }
}

/// SHA-256 of a CA's public key.
pub fn pin(key: &CaPublicKey) -> CaPin {
    sha256(key)
}

/// The id of the node with this public key: the first 16 bytes of its SHA-256.
pub fn node_id(public_key: &[u8]) -> NodeId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&sha256(public_key)[..16]);
    NodeId::from_bytes(bytes)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Did `key` sign `label` ‖ `body`?
pub(crate) fn signed_by(key: &CaPublicKey, label: &[u8], body: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(&[label, body].concat(), signature).is_ok()
}

#[cfg(test)]
mod tests {
    use sys::SeededRandom;

    use super::*;

    #[test]
    fn the_seed_is_the_whole_key() {
        let ca = GridCa::generate(&SeededRandom::new(1)).unwrap();
        let again = GridCa::from_seed(ca.seed()).unwrap();
        assert_eq!(ca.public_key(), again.public_key());
        let signature = again.sign(b"label", b"body");
        assert!(signed_by(&ca.public_key(), b"label", b"body", &signature));
        assert!(!signed_by(&ca.public_key(), b"lebal", b"body", &signature));
        let other = GridCa::generate(&SeededRandom::new(2)).unwrap();
        assert!(!signed_by(&other.public_key(), b"label", b"body", &signature));
        assert_ne!(ca.pin(), other.pin());
    }

    #[test]
    fn pkcs8_is_what_others_read() {
        let ca = GridCa::generate(&SeededRandom::new(1)).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&ca.pkcs8()).unwrap();
        assert_eq!(pair.public_key().as_ref(), ca.public_key());
    }

    #[test]
    fn nothing_prints_the_seed() {
        let ca = GridCa::generate(&SeededRandom::new(1)).unwrap();
        let seed = data_encoding::HEXLOWER.encode(ca.seed());
        assert!(!format!("{ca:?}").contains(&seed[..8]));
    }
}

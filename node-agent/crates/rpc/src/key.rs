//! The key pair that a node proves itself with, and the id that follows from it.

use std::sync::Arc;

use grid_types::NodeId;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// What stands before an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeKeyError {
    /// Not PKCS#8 of an Ed25519 key pair.
    #[error("the node's key is no Ed25519 key pair in PKCS#8")]
    Invalid,
    /// The system gave no randomness.
    #[error("making a key pair: the system gave no randomness")]
    NoRandomness,
}

/// A node's Ed25519 key pair, ready for TLS. Cheap to clone; never printed.
#[derive(Clone)]
pub struct NodeKey {
    node: NodeId,
    public_key: [u8; PUBLIC_KEY_BYTES],
    pub(crate) certified: Arc<CertifiedKey>,
}

impl NodeKey {
    /// From PKCS#8, as the node file holds it.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, NodeKeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(document).map_err(|_| NodeKeyError::Invalid)?;
        let public_key: [u8; PUBLIC_KEY_BYTES] =
            pair.public_key().as_ref().try_into().map_err(|_| NodeKeyError::Invalid)?;
        let signing =
            any_eddsa_type(&PrivatePkcs8KeyDer::from(document)).map_err(|_| NodeKeyError::Invalid)?;
        // A raw public key travels where a certificate would: its SubjectPublicKeyInfo (RFC 7250, section 3).
        let spki = [SPKI_PREFIX.as_slice(), &public_key].concat();
        let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing));
        Ok(Self { node: node_of_key(&public_key), public_key, certified })
    }

    /// A new key pair and its PKCS#8 to keep.
    pub fn generate() -> Result<(Self, Vec<u8>), NodeKeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| NodeKeyError::NoRandomness)?;
        Ok((Self::from_pkcs8(document.as_ref())?, document.as_ref().to_vec()))
    }

    /// The node that this key pair is of.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The public half.
    pub fn public_key(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public_key
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeKey").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A node's id: the first 16 bytes of the SHA-256 of its public key.
pub fn node_of_key(public_key: &[u8]) -> NodeId {
    let hash = digest(&SHA256, public_key);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    NodeId::from_bytes(bytes)
}

/// The Ed25519 key in a SubjectPublicKeyInfo; `None` for any other form or algorithm.
pub(crate) fn key_in_spki(spki: &[u8]) -> Option<[u8; PUBLIC_KEY_BYTES]> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

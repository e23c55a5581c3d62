//! 256 secret bits in memory, and the two things done with them: deriving and sealing.
//!
//! Derivation is HKDF-SHA256 (RFC 5869) with an empty salt; sealing is XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha-03), whose 192-bit nonces may be drawn at random for as many values as a key ever seals.

use std::sync::{Arc, Once};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sys::Random;
use sys::locked_memory::PageLock;
use zeroize::Zeroizing;

use crate::{KeyringError, SealedValue};

/// Bytes of every key of this crate.
pub(crate) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// A sealed value is so much longer than its plaintext: nonce and tag.
pub const SEALED_VALUE_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// 256 bits that are wiped when the last clone goes, on a page that is not swapped out.
#[derive(Clone)]
pub(crate) struct Secret(Arc<Pinned>);

/// Fields are dropped in order: the bytes are wiped before their page is given up.
struct Pinned {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    /// `None` where the system lets us lock no more.
    page: Option<PageLock>,
}

/// Told once: the limit is the process's, not one key's.
static TOLD: Once = Once::new();

impl Secret {
    /// Drawn in place, so that no copy is left on the stack.
    pub(crate) fn generate(random: &dyn Random) -> Self {
        Self::filled(|bytes| random.fill(bytes))
    }

    /// A copy of `bytes`; the caller wipes its own.
    pub(crate) fn copied(bytes: &[u8; KEY_BYTES]) -> Self {
        Self::filled(|own| own.copy_from_slice(bytes))
    }

    fn filled(fill: impl FnOnce(&mut [u8])) -> Self {
        let mut shared = Arc::new(Pinned { bytes: Zeroizing::new([0; KEY_BYTES]), page: None });
        let pinned = Arc::get_mut(&mut shared).expect("nobody else has it yet");
        match PageLock::of(pinned.bytes.as_slice()) {
            Ok(page) => pinned.page = Some(page),
            Err(error) => TOLD.call_once(|| {
                tracing::warn!(
                    %error,
                    "keys cannot be kept out of swap: raise the limit of locked memory (LimitMEMLOCK=, ulimit -l)"
                );
            }),
        }
        fill(pinned.bytes.as_mut_slice());
        Self(shared)
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0.bytes
    }

    /// HKDF-SHA256 with this secret as input and `info` as context.
    pub(crate) fn derive(&self, info: &[&[u8]]) -> [u8; KEY_BYTES] {
        let prk = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(self.expose());
        let mut key = [0; KEY_BYTES];
        prk.expand(info, ring::hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes are within the 8,160 of HKDF-SHA256");
        key
    }

    /// A secret derived with `label`.
    pub(crate) fn child(&self, label: &str) -> Self {
        Self::copied(&Zeroizing::new(self.derive(&[label.as_bytes()])))
    }

    /// Seals `plain`, binding `associated` to it.
    pub(crate) fn seal(&self, associated: &[u8], plain: &[u8], random: &dyn Random) -> SealedValue {
        let mut nonce = XNonce::default();
        random.fill(&mut nonce);
        let sealed = XChaCha20Poly1305::new(self.expose().into())
            .encrypt(&nonce, Payload { msg: plain, aad: associated })
            .expect("values are far below the 256 GiB of one nonce");
        let mut bytes = Vec::with_capacity(NONCE_BYTES + sealed.len());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        SealedValue(bytes)
    }

    /// Opens what `seal` made with the same `associated`; `what` names it in the error.
    pub(crate) fn open(
        &self,
        associated: &[u8],
        sealed: &[u8],
        what: &'static str,
    ) -> Result<Vec<u8>, KeyringError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(KeyringError::Unwrap(what))?;
        XChaCha20Poly1305::new(self.expose().into())
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: associated })
            .map_err(|_| KeyringError::Unwrap(what))
    }
}

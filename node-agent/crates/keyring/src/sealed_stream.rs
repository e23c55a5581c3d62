//! A stream sealed in pieces: XChaCha20-Poly1305 with a counter and a mark of the last piece in the nonce, so that pieces
//! cannot be left out, repeated, exchanged or cut off. After Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated
//! Encryption and its Nonce-Reuse Misuse-Resistance" (STREAM).
//!
//! Invariant: the key of a stream is derived from a fresh salt and the stream's head, and seals nothing else; so a nonce is
//! never used twice.

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::passphrase::PassphraseKey;
use crate::{KeyringError, secret::Secret};

const LABEL: &[u8] = b"shoal sealed stream v1";
/// A sealed piece is so much longer than its plaintext.
pub const SEALED_PIECE_OVERHEAD_BYTES: usize = 16;

struct Pieces {
    key: Secret,
    next: u64,
}

impl Pieces {
    fn new(key: &PassphraseKey, head: &[u8]) -> Self {
        Self { key: Secret::copied(&Zeroizing::new(key.0.derive(&[LABEL, head]))), next: 0 }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose().into())
    }

    fn nonce(&self, last: bool) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&self.next.to_be_bytes());
        nonce[8] = u8::from(last);
        XNonce::from(nonce)
    }
}

/// Seals the pieces of one stream, in order.
pub struct PieceSealer(Pieces);

impl PieceSealer {
    /// `head` is bound to every piece. Its key must come from a salt that was drawn for this stream.
    pub fn new(key: &PassphraseKey, head: &[u8]) -> Self {
        Self(Pieces::new(key, head))
    }

    /// The next piece.
    pub fn seal(&mut self, plain: &[u8], last: bool) -> Vec<u8> {
        let sealed = self
            .0
            .cipher()
            .encrypt(&self.0.nonce(last), plain)
            .expect("pieces are far below the 256 GiB of one nonce");
        self.0.next += 1;
        sealed
    }
}

/// Opens the pieces of one stream, in order.
pub struct PieceOpener(Pieces);

impl PieceOpener {
    /// As `PieceSealer::new`.
    pub fn new(key: &PassphraseKey, head: &[u8]) -> Self {
        Self(Pieces::new(key, head))
    }

    /// The next piece. After an error nothing more opens.
    pub fn open(&mut self, sealed: &[u8], last: bool) -> Result<Vec<u8>, KeyringError> {
        let plain = self
            .0
            .cipher()
            .decrypt(&self.0.nonce(last), sealed)
            .map_err(|_| KeyringError::Unwrap("a piece of a sealed stream"))?;
        self.0.next += 1;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::{PieceOpener, PieceSealer, SEALED_PIECE_OVERHEAD_BYTES};
    use crate::{PassphraseCost, PassphraseError, PassphraseKey};

    const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 64, passes: 1, lanes: 1 };

    fn key(passphrase: &str, salt: u8) -> PassphraseKey {
        PassphraseKey::derive(passphrase.as_bytes(), &[salt; 16], CHEAP).unwrap()
    }

    fn sealed() -> Vec<(Vec<u8>, bool)> {
        let mut sealer = PieceSealer::new(&key("correct horse", 1), b"head");
        [("one", false), ("two", false), ("three", true)]
            .map(|(plain, last)| (sealer.seal(plain.as_bytes(), last), last))
            .to_vec()
    }

    fn open(
        key: &PassphraseKey,
        head: &[u8],
        pieces: &[(Vec<u8>, bool)],
    ) -> Result<Vec<Vec<u8>>, crate::KeyringError> {
        let mut opener = PieceOpener::new(key, head);
        pieces.iter().map(|(piece, last)| opener.open(piece, *last)).collect()
    }

    #[test]
    fn what_was_sealed_opens_and_nothing_else() {
        let (key_of, pieces) = (key("correct horse", 1), sealed());
        assert_eq!(
            open(&key_of, b"head", &pieces).unwrap(),
            [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]
        );
        assert_eq!(pieces[0].0.len(), 3 + SEALED_PIECE_OVERHEAD_BYTES);
        assert!(open(&key("correct horsf", 1), b"head", &pieces).is_err(), "another passphrase");
        assert!(open(&key("correct horse", 2), b"head", &pieces).is_err(), "another salt");
        assert!(open(&key_of, b"heae", &pieces).is_err(), "another head");
        let mut swapped = pieces.clone();
        swapped.swap(0, 1);
        assert!(open(&key_of, b"head", &swapped).is_err(), "exchanged pieces");
        assert!(open(&key_of, b"head", &pieces[1..]).is_err(), "the first one left out");
        let early = [pieces[0].clone(), (pieces[1].0.clone(), true)];
        assert!(open(&key_of, b"head", &early).is_err(), "cut off, the end forged");
        for bit in 0..pieces[0].0.len() * 8 {
            let mut flipped = pieces.clone();
            flipped[0].0[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key_of, b"head", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn short_passphrases_and_absurd_costs_are_refused() {
        let salt = [0; 16];
        assert_eq!(PassphraseKey::derive(b"7 bytes", &salt, CHEAP).unwrap_err(), PassphraseError::Short);
        for cost in [
            PassphraseCost { memory_kib: u32::MAX, ..CHEAP },
            PassphraseCost { passes: u32::MAX, ..CHEAP },
            PassphraseCost { passes: 0, ..CHEAP },
            PassphraseCost { lanes: 0, ..CHEAP },
        ] {
            let refused = PassphraseKey::derive(b"long enough", &salt, cost).unwrap_err();
            assert_eq!(refused, PassphraseError::Cost, "{cost:?}");
        }
    }

    /// Computed with the reference implementation's Python binding: argon2.low_level.hash_secret_raw.
    #[test]
    fn the_derivation_is_argon2id() {
        let cost = PassphraseCost { memory_kib: 256, passes: 2, lanes: 1 };
        let key = PassphraseKey::derive(b"correct horse battery", b"0123456789abcdef", cost).unwrap();
        assert_eq!(*key.expose(), REFERENCE);
    }

    const REFERENCE: [u8; 32] = [
        0xc7, 0x10, 0x2b, 0x77, 0x0d, 0xc0, 0x92, 0xae, 0x55, 0xd8, 0xdd, 0x2b, 0x65, 0x60, 0xbc, 0x94, 0x8f,
        0x47, 0x1e, 0xfe, 0x16, 0x00, 0xfd, 0x4a, 0xdf, 0x9b, 0x45, 0x3d, 0x5e, 0xe6, 0x08, 0xbe,
    ];
}

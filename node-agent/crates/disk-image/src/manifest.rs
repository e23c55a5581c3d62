//! What a slot holds: names, lengths and SHA-256 of its files, and a signature over the list.
//!
//! The signature is minisign's plain form (`Ed`: Ed25519 over the whole file), so that `minisign -V` checks it too. Source:
//! <https://jedisct1.github.io/minisign/>, "Signature format". Hashes find rot and torn writes; the signature matters where a
//! slot comes over the network. Neither stops somebody who can write the card.

use data_encoding::{BASE64, HEXLOWER};
use ring::digest;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

/// The name of the list in a slot.
pub const MANIFEST_FILE: &str = "manifest.toml";
/// The name of its signature.
pub const SIGNATURE_FILE: &str = "manifest.toml.minisig";
/// The version of the list that this program writes and reads.
pub const MANIFEST_VERSION: u32 = 1;

const ALGORITHM: [u8; 2] = *b"Ed";
const KEY_ID_BYTES: usize = 8;
const SIGNATURE_BYTES: usize = 64;

/// One file of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotFile {
    /// Path in the slot.
    pub path: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

impl SlotFile {
    /// Of a file with this content.
    #[must_use]
    pub fn of(path: &str, content: &[u8]) -> Self {
        Self { path: path.to_owned(), bytes: content.len() as u64, sha256: sha256_hex(content) }
    }

    /// Is this the content?
    #[must_use]
    pub fn fits(&self, content: &[u8]) -> bool {
        content.len() as u64 == self.bytes && sha256_hex(content) == self.sha256
    }
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub format: u32,
    /// Name of the board configuration.
    pub board: String,
    /// Version of Shoal.
    pub version: String,
    /// Signed by a key that was made for development?
    pub development: bool,
    /// All files but the list and its signature.
    pub files: Vec<SlotFile>,
}

/// Why a slot is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not a list of ours.
    #[error("the slot's {MANIFEST_FILE} cannot be read: {0}")]
    Unreadable(String),
    /// From a later version.
    #[error("the slot's {MANIFEST_FILE} has format {0}; this version reads {MANIFEST_VERSION}")]
    Version(u32),
    /// Not a signature.
    #[error("the slot's signature cannot be read: {0}")]
    Signature(&'static str),
    /// No key of the trusted ones.
    #[error("the slot is signed by key {0}, which is not trusted here")]
    UnknownKey(String),
    /// A trusted key did not sign this.
    #[error("the slot's signature does not fit its {MANIFEST_FILE}")]
    Forged,
}

impl Manifest {
    /// The text that is signed and stored.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Only a map with keys that are no text could fail.
        toml::to_string(self).unwrap_or_default()
    }

    /// Reads the text; whether it is to be believed, [`verify`] says.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = |error: toml::de::Error| ManifestError::Unreadable(error.message().to_owned());
        let Format { format } = toml::from_str(text).map_err(unreadable)?;
        if format != MANIFEST_VERSION {
            return Err(ManifestError::Version(format));
        }
        toml::from_str(text).map_err(unreadable)
    }
}

/// A key that signs slots. Its public half is what images trust.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// From 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, ManifestError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| ManifestError::Signature("these 32 bytes make no Ed25519 key"))?;
        Ok(Self { pair })
    }

    /// What verifies.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The signature file over `text`.
    #[must_use]
    pub fn sign(&self, text: &str, comment: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let mut first = Vec::with_capacity(ALGORITHM.len() + KEY_ID_BYTES + SIGNATURE_BYTES);
        first.extend_from_slice(&ALGORITHM);
        first.extend_from_slice(&self.public().id());
        first.extend_from_slice(signature.as_ref());
        let comment: String = comment.chars().filter(|letter| !letter.is_control()).collect();
        let mut global = signature.as_ref().to_vec();
        global.extend_from_slice(comment.as_bytes());
        format!(
            "untrusted comment: signature of a Shoal slot\n{}\ntrusted comment: {comment}\n{}\n",
            BASE64.encode(&first),
            BASE64.encode(self.pair.sign(&global).as_ref()),
        )
    }
}

/// The public half of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Names the key: the first bytes of its SHA-256.
    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&digest::digest(&digest::SHA256, &self.0).as_ref()[..KEY_ID_BYTES]);
        id
    }

    /// As `minisign -P` takes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = ALGORITHM.to_vec();
        bytes.extend_from_slice(&self.id());
        bytes.extend_from_slice(&self.0);
        BASE64.encode(&bytes)
    }

    /// From that text.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let bytes = BASE64
            .decode(text.trim().as_bytes())
            .map_err(|_| ManifestError::Signature("a public key is one line of base64"))?;
        let key = bytes.strip_prefix(&ALGORITHM).and_then(|rest| rest.get(KEY_ID_BYTES..));
        let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
        key.map(Self).ok_or(ManifestError::Signature("a public key has 42 bytes and begins with `Ed`"))
    }
}

/// Did one of the trusted keys sign exactly this text?
pub fn verify(text: &str, signature_file: &str, trusted: &[PublicKey]) -> Result<(), ManifestError> {
    let mut lines = signature_file.lines();
    let mut next = |what| lines.next().ok_or(ManifestError::Signature(what));
    next("it is empty")?;
    let first = decode(next("its second line is missing")?)?;
    let comment = next("its third line is missing")?;
    let comment = comment
        .strip_prefix("trusted comment: ")
        .ok_or(ManifestError::Signature("its third line is no trusted comment"))?;
    let global_signature = decode(next("its fourth line is missing")?)?;
    let rest =
        first.strip_prefix(&ALGORITHM).ok_or(ManifestError::Signature("it is not of the form `Ed`"))?;
    if rest.len() != KEY_ID_BYTES + SIGNATURE_BYTES {
        return Err(ManifestError::Signature("its second line has not 74 bytes"));
    }
    let (id, signature) = rest.split_at(KEY_ID_BYTES);
    let key = trusted
        .iter()
        .find(|key| key.id() == id)
        .ok_or_else(|| ManifestError::UnknownKey(HEXLOWER.encode(id)))?;
    let key = UnparsedPublicKey::new(&ED25519, key.0);
    let mut global = signature.to_vec();
    global.extend_from_slice(comment.as_bytes());
    key.verify(text.as_bytes(), signature).map_err(|_| ManifestError::Forged)?;
    key.verify(&global, &global_signature).map_err(|_| ManifestError::Forged)
}

fn decode(line: &str) -> Result<Vec<u8>, ManifestError> {
    BASE64.decode(line.as_bytes()).map_err(|_| ManifestError::Signature("a line of it is no base64"))
}

/// SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256_hex(content: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, content).as_ref())
}

//! Who this node is: a key pair, and the file of a generation that every drive of the node carries.
//!
//! Invariants: the node id is the hash of the public key; the file is replaced whole or not at all; it lies on a drive
//! with mode 0600 and nowhere else. The page is docs/formats/node-file.md.

#[cfg(test)]
mod identity_tests;

use std::io;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use grid_types::{DriveId, GridId, NodeId, Timestamp};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use sys::Disk;

use crate::client::amz_date;

/// Name of the file at the root of each drive.
pub const NODE_FILE: &str = "shoal-node";
/// First line of the file: what it is, and the version of its layout.
const HEADING: &str = "shoal node file 1";
/// Name of the file with a key pair that waits for its node to join.
pub const PREPARED_KEY_FILE: &str = "shoal-prepared-key";
const PREPARED_KEY_HEADING: &str = "shoal prepared key 1\n";
/// Heading and 85 bytes of PKCS#8 in base64, and room.
const PREPARED_KEY_BYTES_MAX: u64 = 1_024;
/// A node file is a few kilobytes; more is no node file.
const NODE_FILE_BYTES_MAX: u64 = 1 << 20;
/// Nonces of starts that ended before they were confirmed, kept at most: a node that is started so often while its grid has no
/// majority has not that many on their way.
const PENDING_BEFORE_MAX: usize = 16;

/// What every drive of a node knows of the node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// Grows with each rewrite: the highest one is the newest.
    pub generation: u64,
    /// The grid.
    pub grid: GridId,
    /// The node.
    pub node: NodeId,
    /// PKCS#8 of the Ed25519 key pair, base64.
    key: String,
    /// Registered starts of this node.
    pub incarnation: u64,
    /// Drawn by the start that registered `incarnation`, 32 hex digits.
    pub nonce: String,
    /// Drawn by a start that has not yet seen its registration confirmed.
    pub pending: Option<String>,
    /// What `pending` was before, since the last confirmation, the newest last: their registrations may still be on their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending_before: Vec<String>,
    /// Every drive of the node and the folder it was last seen in.
    pub drives: Vec<KnownDrive>,
}

/// A drive that belongs to the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDrive {
    /// The drive.
    pub id: DriveId,
    /// Its folder.
    pub path: PathBuf,
    /// Why it may not come back into service without an order. On the other drives, since a drive that fails may forget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<DriveFailure>,
}

/// A drive failed while it served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveFailure {
    /// When that was noticed.
    pub at: Timestamp,
    /// What happened, in words.
    pub reason: String,
}

impl DriveFailure {
    /// What happened to the drive in this folder, and what may be done.
    pub fn advice(&self, folder: &Path) -> String {
        format!(
            "failed at {}: {}; `shoal drive replace` puts another one in its place, `shoal drive add {}` takes it back after \
             a check",
            amz_date(self.at),
            self.reason,
            folder.display()
        )
    }
}

/// A key pair could not be made.
#[derive(Debug, thiserror::Error)]
#[error("making the key pair of the node: the system gave no randomness")]
pub struct KeyPairError;

impl NodeFile {
    /// A new node with a new key pair, before its first start.
    pub fn generate(grid: GridId, drives: Vec<KnownDrive>) -> Result<Self, KeyPairError> {
        Ok(Self::with_key(&PreparedKey::generate()?, grid, drives))
    }

    /// A new node with a key pair that was drawn before.
    pub fn with_key(key: &PreparedKey, grid: GridId, drives: Vec<KnownDrive>) -> Self {
        Self {
            generation: 1,
            grid,
            node: key.node,
            key: key.document.clone(),
            incarnation: 0,
            nonce: String::new(),
            pending: None,
            pending_before: Vec::new(),
            drives,
        }
    }

    /// A start is about to register with this nonce.
    pub fn set_pending(&mut self, nonce: &str) {
        let before = self.pending.replace(nonce.to_owned());
        self.pending_before.extend(before.filter(|before| before != nonce));
        let excess = self.pending_before.len().saturating_sub(PENDING_BEFORE_MAX);
        self.pending_before.drain(..excess);
    }

    /// May a start that ended before it was confirmed have registered with this nonce?
    pub fn is_pending(&self, nonce: &str) -> bool {
        self.pending.iter().chain(&self.pending_before).any(|pending| pending == nonce)
    }

    /// The registration of this start was confirmed.
    pub fn confirm(&mut self, incarnation: u64, nonce: &str) {
        self.incarnation = incarnation;
        nonce.clone_into(&mut self.nonce);
        self.pending = None;
        self.pending_before.clear();
    }

    /// Reads the file of a drive; `Ok(None)` where there is none. Damaged, or not consistent in itself: `InvalidData`.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        match disk.open_read(NODE_FILE) {
            Ok(file) if file.len()? > NODE_FILE_BYTES_MAX => return Err(invalid("is too long")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        Self::decode(&disk.read(NODE_FILE)?).map(Some)
    }

    /// Replaces the file of a drive, durably. Blocks.
    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.write_atomic(NODE_FILE, &self.encode()?, "node file")
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let body = serde_json::to_string(self).map_err(io::Error::other)?;
        let hash = HEXLOWER.encode(digest(&SHA256, body.as_bytes()).as_ref());
        Ok(format!("{HEADING}\n{hash}\n{body}\n").into_bytes())
    }

    fn decode(bytes: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("is not text"))?;
        let mut lines = text.splitn(3, '\n');
        let (heading, hash, body) = (lines.next(), lines.next(), lines.next());
        match heading {
            Some(HEADING) => {}
            Some(other) if other.starts_with("shoal node file ") => {
                return Err(invalid("was written by a newer release"));
            }
            _ => return Err(invalid("does not begin as one")),
        }
        let body = body.and_then(|body| body.strip_suffix('\n')).ok_or_else(|| invalid("is cut short"))?;
        if hash != Some(HEXLOWER.encode(digest(&SHA256, body.as_bytes()).as_ref()).as_str()) {
            return Err(invalid("does not match its hash"));
        }
        let file: Self =
            serde_json::from_str(body).map_err(|error| invalid(&format!("cannot be read: {error}")))?;
        let pair = file.key_pair().ok_or_else(|| invalid("holds no key pair"))?;
        if node_id(&pair) != file.node {
            return Err(invalid("names a node that its key is not of"));
        }
        Ok(file)
    }

    fn key_pair(&self) -> Option<Ed25519KeyPair> {
        let document = BASE64.decode(self.key.as_bytes()).ok()?;
        Ed25519KeyPair::from_pkcs8(&document).ok()
    }

    /// PKCS#8 of the key pair, for the door to other nodes. Empty where the file was made by hand.
    pub fn key_document(&self) -> Vec<u8> {
        BASE64.decode(self.key.as_bytes()).unwrap_or_default()
    }

    /// The public half of the key pair, 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.key_pair().map(|pair| pair.public_key().as_ref().to_vec()).unwrap_or_default()
    }
}

/// A key pair that was drawn before its node joins, so that an operator can register its public half. It waits in a folder
/// that will become a drive.
pub struct PreparedKey {
    node: NodeId,
    public: [u8; membership::KEY_BYTES],
    /// PKCS#8, base64.
    document: String,
}

impl PreparedKey {
    fn generate() -> Result<Self, KeyPairError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyPairError)?;
        Self::of(BASE64.encode(document.as_ref())).ok_or(KeyPairError)
    }

    fn of(document: String) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&BASE64.decode(document.as_bytes()).ok()?).ok()?;
        Some(Self { node: node_id(&pair), public: pair.public_key().as_ref().try_into().ok()?, document })
    }

    /// The public half.
    pub fn public_key(&self) -> [u8; membership::KEY_BYTES] {
        self.public
    }

    /// The key that waits in this folder; `Ok(None)` where none does. Blocks.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let wrong = || {
            let message = format!(
                "`{PREPARED_KEY_FILE}` is damaged: delete it, and register the key that is drawn then"
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let bytes = match disk.open_read(PREPARED_KEY_FILE) {
            Ok(file) if file.len()? > PREPARED_KEY_BYTES_MAX => return Err(wrong()),
            Ok(_) => disk.read(PREPARED_KEY_FILE)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong())?;
        let document = text.strip_prefix(PREPARED_KEY_HEADING).and_then(|rest| rest.strip_suffix('\n'));
        document.and_then(|document| Self::of(document.to_owned())).map(Some).ok_or_else(wrong)
    }

    /// The key that waits in this folder; one is drawn and kept there, durably, where none does. Blocks.
    pub fn read_or_draw(disk: &dyn Disk) -> io::Result<Self> {
        if let Some(key) = Self::read(disk)? {
            return Ok(key);
        }
        let key = Self::generate().map_err(io::Error::other)?;
        let text = format!("{PREPARED_KEY_HEADING}{}\n", key.document);
        disk.write_atomic(PREPARED_KEY_FILE, text.as_bytes(), "prepared key")?;
        Ok(key)
    }

    /// It became the key of a node file. Blocks.
    pub fn remove(disk: &dyn Disk) -> io::Result<()> {
        match disk.remove(PREPARED_KEY_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for NodeFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeFile")
            .field("generation", &self.generation)
            .field("grid", &self.grid)
            .field("node", &self.node)
            .field("incarnation", &self.incarnation)
            .field("drives", &self.drives)
            .finish_non_exhaustive()
    }
}

fn node_id(pair: &Ed25519KeyPair) -> NodeId {
    let hash = digest(&SHA256, pair.public_key().as_ref());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    NodeId::from_bytes(bytes)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the node file `{NODE_FILE}` {what}"))
}

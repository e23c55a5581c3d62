//! What this node writes into the root shard about itself and its drives. A version byte, then JSON.

use std::path::PathBuf;

use grid_types::{NodeId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of the records of this release.
const RECORD_VERSION: u8 = 1;

/// Key of the setting that holds the SHA-256 of the operator key.
pub const OPERATOR_KEY_SETTING: &[u8] = b"operator-key";

/// Record kind `Node`; key = node id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Public half of the node's key pair, hex.
    pub public_key: String,
    /// Registered starts.
    pub incarnation: u64,
    /// Drawn by the start that registered it.
    pub nonce: String,
    /// When it joined.
    pub added: Timestamp,
    /// The metadata came from a backup: what the node's drives say of its starts counts, once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
}

/// Record kind `Drive`; key = drive id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveRecord {
    /// The node that holds it.
    pub node: NodeId,
    /// The folder it was put into service in.
    pub path: PathBuf,
    /// Locked by the operator: no new chunks.
    pub locked: bool,
    /// Ordered to leave: its chunks move away, then it is removed.
    pub leaving: bool,
    /// When it was put into service.
    pub added: Timestamp,
}

/// A record that this release cannot read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer release.
    #[error("a {what} record has version {version}, this release reads {RECORD_VERSION}")]
    Version {
        /// `node`, `drive`, …
        what: &'static str,
        /// The version byte.
        version: u8,
    },
    /// Not JSON, or not this record.
    #[error("a {what} record cannot be read: {source}")]
    Content {
        /// `node`, `drive`, …
        what: &'static str,
        /// The cause.
        source: serde_json::Error,
    },
}

/// The bytes of a record.
pub fn encode(record: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = vec![RECORD_VERSION];
    serde_json::to_writer(&mut bytes, record)?;
    Ok(bytes)
}

/// The record of these bytes.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, RecordError> {
    let (version, content) = bytes.split_first().map_or((0, bytes), |(version, content)| (*version, content));
    if version != RECORD_VERSION {
        return Err(RecordError::Version { what, version });
    }
    serde_json::from_slice(content).map_err(|source| RecordError::Content { what, source })
}

//! Server certificates.

use std::path::Path;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not PEM, no key, or key and certificate do not match.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate chain and its key; can be replaced while serving. Clones share.
#[derive(Clone)]
pub struct TlsIdentity {}

impl TlsIdentity {
    /// From PEM files.
    pub fn load(_certificates: &Path, _key: &Path) -> Result<Self, TlsError> {
        todo!()
    }

    /// From PEM text.
    pub fn from_pem(_certificates: &[u8], _key: &[u8]) -> Result<Self, TlsError> {
        todo!()
    }

    /// Reads the files again; the old identity stays on error.
    pub fn reload(&self) -> Result<(), TlsError> {
        todo!()
    }
}

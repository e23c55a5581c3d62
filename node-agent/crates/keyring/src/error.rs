//! What can go wrong with keys.

/// What can go wrong with keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The key file cannot be read or written.
    #[error("root key file {path}: {source}")]
    File {
        /// Where it should be.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no key file of this release, or is readable by others.
    #[error("root key file {path}: {reason}")]
    Format {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// A wrapped key or sealed value does not open with this root or bucket key.
    #[error("{0} does not open with this key")]
    Unwrap(&'static str),
}

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
    /// A bucket key is wrapped by a root key that this node does not hold.
    #[error(
        "root key {0} is not here: it comes from another member within seconds, or from a copy of the key file"
    )]
    NotHeld(u32),
    /// A generation with two secrets.
    #[error("there are two root keys of generation {0}: one of them is another grid's")]
    OtherKey(u32),
    /// `ROOT_KEYS_MAX`, or no generation is left.
    #[error(
        "there are too many root keys: rotations wait for members that are away; start them, or remove them"
    )]
    TooMany,
    /// A wrapped key or sealed value does not open with this root or bucket key.
    #[error("{0} does not open with this key")]
    Unwrap(&'static str),
}

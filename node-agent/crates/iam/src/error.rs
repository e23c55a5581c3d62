//! Errors of identity and access.

use grid_types::ErrorCode;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum IamError {
    /// Refused; the code says why.
    #[error("{detail}")]
    Refused {
        /// InvalidAccessKey, AccessDenied, InvalidArgument, Conflict.
        code: ErrorCode,
        /// A sentence for the user.
        detail: String,
    },
    /// Metadata.
    #[error(transparent)]
    Meta(#[from] meta_store::MetaError),
    /// The sealed secret does not open.
    #[error(transparent)]
    Keyring(#[from] keyring::KeyringError),
}

impl IamError {
    /// The code that crosses borders.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Meta(error) => error.code(),
            Self::Keyring(_) => ErrorCode::KeyMissing,
        }
    }
}

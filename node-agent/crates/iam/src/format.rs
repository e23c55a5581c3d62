//! The bytes of an access key's record in the root shard; the page is docs/formats/access-key.md.

use grid_types::Timestamp;
use keyring::SealedValue;
use serde::{Deserialize, Serialize};

use crate::{AccessKey, AccessKeyState};

/// First byte of every record.
const VERSION: u8 = 1;

/// An access key with its sealed secret. The id is the record's key and the label the secret is sealed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredKey {
    user: String,
    state: AccessKeyState,
    created: Timestamp,
    pub(crate) secret: SealedValue,
}

impl StoredKey {
    pub(crate) fn new(key: &AccessKey, secret: SealedValue) -> Self {
        Self { user: key.user.clone(), state: key.state, created: key.created, secret }
    }

    pub(crate) fn access_key(&self, id: &str) -> AccessKey {
        AccessKey { id: id.to_owned(), user: self.user.clone(), state: self.state, created: self.created }
    }

    pub(crate) fn with_state(self, state: AccessKeyState) -> Self {
        Self { state, ..self }
    }

    pub(crate) fn with_secret(self, secret: SealedValue) -> Self {
        Self { secret, ..self }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("writing to memory does not fail")
    }

    /// `None` where the bytes are no record of this release.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }
}

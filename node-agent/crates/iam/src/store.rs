//! Access keys in the root shard, cached.

use std::sync::Arc;

use keyring::RootKey;
use meta_store::MetaStore;
use sys::{Clock, Random};
use zeroize::Zeroizing;

use crate::{AccessKey, Caller, IamError};

/// An action of the S3 policy language, for example `s3:GetObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub &'static str);

/// Access keys and decisions. Cheap to clone.
#[derive(Clone)]
pub struct Iam {}

impl Iam {
    /// Over the root shard.
    pub fn new(
        _meta: MetaStore,
        _root_key: RootKey,
        _clock: Arc<dyn Clock>,
        _random: Arc<dyn Random>,
    ) -> Self {
        todo!()
    }

    /// The key and its secret, or InvalidAccessKey (unknown or disabled).
    pub async fn lookup(&self, _id: &str) -> Result<(AccessKey, Arc<Zeroizing<String>>), IamError> {
        todo!()
    }

    /// May this caller do this? `resource` is `bucket` or `bucket/key`; empty for ListBuckets.
    pub async fn authorize(
        &self,
        _caller: &Caller,
        _action: Action,
        _resource: &str,
    ) -> Result<(), IamError> {
        todo!()
    }

    /// Makes a key; id and secret are drawn unless given. Returns the secret, which is not shown again.
    pub async fn create(
        &self,
        _user: &str,
        _given: Option<(String, String)>,
    ) -> Result<(AccessKey, Zeroizing<String>), IamError> {
        todo!()
    }

    /// All keys, by id.
    pub async fn list(&self) -> Result<Vec<AccessKey>, IamError> {
        todo!()
    }

    /// Enables or disables a key.
    pub async fn set_state(&self, _id: &str, _state: crate::AccessKeyState) -> Result<(), IamError> {
        todo!()
    }

    /// Deletes a key.
    pub async fn delete(&self, _id: &str) -> Result<(), IamError> {
        todo!()
    }
}

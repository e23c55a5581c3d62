//! Access keys in the root shard, cached.

use std::sync::Arc;

use grid_types::ErrorCode;
use keyring::RootKeys;
use meta_store::root::{Expect, Record, RecordKind, RecordWrite};
use meta_store::{MetaError, MetaStore};
use parking_lot::Mutex;
use sys::{Clock, Random};
use zeroize::Zeroizing;

use crate::cache::{KeyCache, KnownKey};
use crate::format::StoredKey;
use crate::{AccessKey, AccessKeyState, Caller, IamError};

/// Every drawn id begins with it, so that leaked keys are easy to search for.
const ID_PREFIX: &str = "GRID";
/// 10 bytes are 16 characters of base32: ids have 20, as AWS's do.
const ID_RANDOM_BYTES: usize = 10;
/// 30 bytes are 40 characters of base64: secrets have 40, as AWS's do.
const SECRET_RANDOM_BYTES: usize = 30;
const ID_LEN: std::ops::RangeInclusive<usize> = 3..=128;
const SECRET_LEN: std::ops::RangeInclusive<usize> = 8..=128;
const RECORDS_PAGE: usize = 256;
/// Tries of a compare-and-set that others keep beating.
const CHANGE_TRIES_MAX: usize = 8;

/// An action of the S3 policy language, for example `s3:GetObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub &'static str);

/// Access keys and decisions. Cheap to clone. Cancellation: reads are safe to drop; a dropped change may or may not have
/// happened.
#[derive(Clone)]
pub struct Iam {
    shared: Arc<Shared>,
}

struct Shared {
    meta: MetaStore,
    root_keys: RootKeys,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    cache: Mutex<KeyCache>,
}

impl Iam {
    /// Over the root shard.
    pub fn new(
        meta: MetaStore,
        root_keys: impl Into<RootKeys>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let (cache, root_keys) = (Mutex::default(), root_keys.into());
        Self { shared: Arc::new(Shared { meta, root_keys, clock, random, cache }) }
    }

    /// The key and its secret, or InvalidAccessKey (unknown or disabled).
    pub async fn lookup(&self, id: &str) -> Result<(AccessKey, Arc<Zeroizing<String>>), IamError> {
        if !valid_id(id) {
            return Err(unknown(id));
        }
        let now = self.shared.clock.since_boot();
        let (cached, epoch) = {
            let cache = self.shared.cache.lock();
            (cache.get(id, now), cache.epoch())
        };
        let found = match cached {
            Some(found) => found,
            None => {
                let found = self.load(id).await?;
                self.shared.cache.lock().insert(epoch, id, found.clone(), now);
                found
            }
        };
        match found {
            Some((key, secret)) if key.state == AccessKeyState::Active => Ok((key, secret)),
            _ => Err(unknown(id)),
        }
    }

    async fn load(&self, id: &str) -> Result<Option<KnownKey>, IamError> {
        let Some((_, stored)) = self.stored(id).await? else { return Ok(None) };
        let plain = self.shared.root_keys.open_value(id, &stored.secret)?;
        let secret = String::from_utf8(plain).map_err(|_| damaged(id))?;
        Ok(Some((stored.access_key(id), Arc::new(Zeroizing::new(secret)))))
    }

    async fn stored(&self, id: &str) -> Result<Option<(Record, StoredKey)>, IamError> {
        match self.shared.meta.record(RecordKind::AccessKey, id.as_bytes()).await? {
            Some(record) => {
                let stored = StoredKey::decode(&record.value).ok_or_else(|| damaged(id))?;
                Ok(Some((record, stored)))
            }
            None => Ok(None),
        }
    }

    /// May this caller do this? `resource` is `bucket` or `bucket/key`; empty for ListBuckets. So far each active key may
    /// do everything and nobody else anything.
    pub async fn authorize(&self, caller: &Caller, action: Action, resource: &str) -> Result<(), IamError> {
        let detail = match caller {
            Caller::Key(key) if key.state == AccessKeyState::Active => return Ok(()),
            Caller::Key(key) => format!("access key {} is disabled", key.id),
            Caller::Anonymous => format!("{} on `{resource}` needs an access key", action.0),
        };
        Err(IamError::Refused { code: ErrorCode::AccessDenied, detail })
    }

    /// Makes a key; id and secret are drawn unless given. Returns the secret, which is not shown again. InvalidArgument
    /// for an id, secret or user that cannot be used; Conflict where the id is taken.
    pub async fn create(
        &self,
        user: &str,
        given: Option<(String, String)>,
    ) -> Result<(AccessKey, Zeroizing<String>), IamError> {
        let (id, secret) = match given {
            Some((id, secret)) => (id, Zeroizing::new(secret)),
            None => self.draw(),
        };
        let refused = |detail: &str| Err(refuse(ErrorCode::InvalidArgument, detail));
        if user.is_empty() || user.len() > *ID_LEN.end() {
            return refused("a user's name has 1 to 128 bytes");
        }
        if !valid_id(&id) {
            return refused("an access key id has 3 to 128 characters of A-Z, a-z, 0-9, `.`, `_` and `-`");
        }
        if !SECRET_LEN.contains(&secret.len()) || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("a secret has 8 to 128 printable ASCII characters without spaces");
        }
        let key = AccessKey {
            id: id.clone(),
            user: user.to_owned(),
            state: AccessKeyState::Active,
            created: self.shared.clock.now(),
        };
        let sealed = self.shared.root_keys.seal_value(&id, secret.as_bytes(), &*self.shared.random);
        let value = Some(StoredKey::new(&key, sealed).encode());
        let written = self.write(&id, Expect::Absent, value).await;
        match written {
            Err(IamError::Meta(MetaError::Refused { code: ErrorCode::Conflict, .. })) => {
                Err(refuse(ErrorCode::Conflict, format!("access key {id} exists already")))
            }
            written => written.map(|()| (key, secret)),
        }
    }

    fn draw(&self) -> (String, Zeroizing<String>) {
        let mut id = [0; ID_RANDOM_BYTES];
        let mut secret = Zeroizing::new([0; SECRET_RANDOM_BYTES]);
        self.shared.random.fill(&mut id);
        self.shared.random.fill(secret.as_mut_slice());
        let id = format!("{ID_PREFIX}{}", data_encoding::BASE32_NOPAD.encode(&id));
        (id, Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(secret.as_slice())))
    }

    /// All keys, by id.
    pub async fn list(&self) -> Result<Vec<AccessKey>, IamError> {
        let mut keys = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page =
                self.shared.meta.records(RecordKind::AccessKey, after.as_deref(), RECORDS_PAGE).await?;
            for record in &page {
                let id = String::from_utf8_lossy(&record.key);
                let stored = StoredKey::decode(&record.value).ok_or_else(|| damaged(&id))?;
                keys.push(stored.access_key(&id));
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.key),
                None => return Ok(keys),
            }
        }
    }

    /// Enables or disables a key; InvalidAccessKey where there is none.
    pub async fn set_state(&self, id: &str, state: AccessKeyState) -> Result<(), IamError> {
        for _ in 0..CHANGE_TRIES_MAX {
            let (record, stored) = self.stored(id).await?.ok_or_else(|| unknown(id))?;
            let value = Some(stored.with_state(state).encode());
            match self.write(id, Expect::Generation(record.generation), value).await {
                Err(IamError::Meta(MetaError::Refused { code: ErrorCode::Conflict, .. })) => continue,
                written => return written,
            }
        }
        Err(refuse(ErrorCode::Conflict, format!("access key {id} is being changed by others")))
    }

    /// Deletes a key; InvalidAccessKey where there is none.
    pub async fn delete(&self, id: &str) -> Result<(), IamError> {
        self.stored(id).await?.ok_or_else(|| unknown(id))?;
        self.write(id, Expect::Any, None).await
    }

    async fn write(&self, id: &str, expect: Expect, value: Option<Vec<u8>>) -> Result<(), IamError> {
        let write = RecordWrite { kind: RecordKind::AccessKey, key: id.as_bytes().to_vec(), expect, value };
        // Also when the future is dropped half-way: the write may have happened.
        let _forget = Forget { shared: &self.shared, id };
        Ok(self.shared.meta.write_records(vec![write]).await?)
    }
}

/// The value that the record of access key `id` gets where the current root key is to seal its secret; `None` where it does
/// already.
pub fn resealed_record(
    root_keys: &RootKeys,
    id: &[u8],
    value: &[u8],
    random: &dyn Random,
) -> Result<Option<Vec<u8>>, IamError> {
    let id = String::from_utf8_lossy(id);
    let stored = StoredKey::decode(value).ok_or_else(|| damaged(&id))?;
    let again = root_keys.reseal_value(&id, &stored.secret, random)?;
    Ok(again.map(|secret| stored.with_secret(secret).encode()))
}

/// Forgets a cached key when dropped.
struct Forget<'a> {
    shared: &'a Shared,
    id: &'a str,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.cache.lock().invalidate(self.id);
    }
}

fn valid_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ID_LEN.contains(&id.len()) && id.bytes().all(allowed)
}

fn refuse(code: ErrorCode, detail: impl Into<String>) -> IamError {
    IamError::Refused { code, detail: detail.into() }
}

fn unknown(id: &str) -> IamError {
    refuse(ErrorCode::InvalidAccessKey, format!("access key {} is unknown or disabled", id.escape_debug()))
}

fn damaged(id: &str) -> IamError {
    IamError::Meta(MetaError::Damaged(format!("the record of access key {id} is not of this release")))
}

//! Bucket keys, unwrapped once and kept while the process lives.

use std::collections::{HashMap, VecDeque};

use grid_types::{BucketId, ErrorCode};
use keyring::{BucketKey, RootKey, WrappedKey};
use meta_store::MetaStore;
use meta_store::root::{Bucket, RecordKind};
use parking_lot::Mutex;
use sys::Random;

use crate::EngineError;
use crate::record::{self, BucketSettings};

/// Keys kept at most: about 200 bytes each.
const KEYS_MAX: usize = 4_096;

/// The key of a wrapped bucket key's record: bucket id ‖ generation (4 bytes, big endian).
pub(crate) fn record_key(bucket: BucketId, generation: u32) -> Vec<u8> {
    [bucket.as_bytes().as_slice(), &generation.to_be_bytes()].concat()
}

pub(crate) struct BucketKeys {
    meta: MetaStore,
    root_key: RootKey,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    keys: HashMap<(BucketId, u32), BucketKey>,
    oldest_first: VecDeque<(BucketId, u32)>,
}

impl Cache {
    fn insert(&mut self, bucket: BucketId, key: BucketKey) {
        let name = (bucket, key.generation());
        if self.keys.insert(name, key).is_none() {
            self.oldest_first.push_back(name);
        }
        if self.keys.len() > KEYS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

impl BucketKeys {
    pub(crate) fn new(meta: MetaStore, root_key: RootKey) -> Self {
        Self { meta, root_key, cache: Mutex::default() }
    }

    /// Draws a bucket's first key; returns the record's value.
    pub(crate) fn draw_first(&self, bucket: BucketId, random: &dyn Random) -> Vec<u8> {
        let generation = BucketSettings::first().key_generation;
        let (key, wrapped) = self.root_key.new_bucket_key(bucket, generation, random);
        self.cache.lock().insert(bucket, key);
        record::encode(&wrapped)
    }

    /// The key of this generation; KeyMissing where there is none.
    pub(crate) async fn get(&self, bucket: BucketId, generation: u32) -> Result<BucketKey, EngineError> {
        if let Some(key) = self.cache.lock().keys.get(&(bucket, generation)) {
            return Ok(key.clone());
        }
        let record = self.meta.record(RecordKind::BucketKey, &record_key(bucket, generation)).await?;
        let Some(record) = record else {
            let detail = format!("key {generation} of bucket {bucket} is not in the metadata");
            return Err(EngineError::refused(ErrorCode::KeyMissing, detail));
        };
        let wrapped: WrappedKey =
            record::decode(&record.value).ok_or_else(|| EngineError::damaged("a wrapped bucket key"))?;
        let key = self.root_key.unwrap(bucket, &wrapped)?;
        self.cache.lock().insert(bucket, key.clone());
        Ok(key)
    }

    /// The key that new writes of this bucket use.
    pub(crate) async fn current(&self, bucket: &Bucket) -> Result<BucketKey, EngineError> {
        let settings: BucketSettings =
            record::decode(&bucket.settings).ok_or_else(|| EngineError::damaged("a bucket's settings"))?;
        self.get(bucket.id, settings.key_generation).await
    }
}

#[cfg(test)]
mod tests {
    use sys::SeededRandom;

    use super::*;

    #[test]
    fn the_cache_is_bounded_and_drops_the_oldest() {
        let random = SeededRandom::new(1);
        let root = RootKey::generate(&random);
        let bucket = BucketId::from_bytes([1; 16]);
        let (key, wrapped) = root.new_bucket_key(bucket, 1, &random);
        let mut cache = Cache::default();
        for n in 0..KEYS_MAX as u64 + 10 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            cache.insert(BucketId::from_bytes(id), key.clone());
        }
        assert_eq!((cache.keys.len(), cache.oldest_first.len()), (KEYS_MAX, KEYS_MAX));
        assert!(!cache.keys.contains_key(&(BucketId::from_bytes([0; 16]), wrapped.generation)));
    }
}

//! Bucket keys, unwrapped once and kept while the process lives.

use std::collections::{HashMap, VecDeque};

use grid_types::{BucketId, ErrorCode};
use keyring::{BucketKey, RootKeys, WrappedKey};
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

/// The value that the record of a bucket key gets where the current root key is to wrap it; `None` where it does already.
/// `key` and `value` are the record's.
pub fn rewrapped_record(
    root_keys: &RootKeys,
    key: &[u8],
    value: &[u8],
    random: &dyn Random,
) -> Result<Option<Vec<u8>>, EngineError> {
    let damaged = || EngineError::damaged("a wrapped bucket key");
    let (bucket, _) = key.split_first_chunk().ok_or_else(damaged)?;
    let wrapped: WrappedKey = record::decode(value).ok_or_else(damaged)?;
    let again = root_keys.rewrap(BucketId::from_bytes(*bucket), &wrapped, random)?;
    Ok(again.as_ref().map(record::encode))
}

pub(crate) struct BucketKeys {
    meta: MetaStore,
    root_keys: RootKeys,
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
    pub(crate) fn new(meta: MetaStore, root_keys: RootKeys) -> Self {
        Self { meta, root_keys, cache: Mutex::default() }
    }

    /// Draws a bucket's first key; returns the record's value.
    pub(crate) fn draw_first(&self, bucket: BucketId, random: &dyn Random) -> Vec<u8> {
        let generation = BucketSettings::first().key_generation;
        let (key, wrapped) = self.root_keys.new_bucket_key(bucket, generation, random);
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
        let key = self.root_keys.unwrap(bucket, &wrapped)?;
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
    use keyring::RootKey;
    use sys::SeededRandom;

    use super::*;

    #[test]
    fn records_are_wrapped_again_once() {
        let random = SeededRandom::new(2);
        let root = RootKeys::from(RootKey::generate(&random));
        let bucket = BucketId::from_bytes([1; 16]);
        let (key, wrapped) = root.new_bucket_key(bucket, 7, &random);
        let (name, value) = (record_key(bucket, 7), record::encode(&wrapped));
        assert!(rewrapped_record(&root, &name, &value, &random).unwrap().is_none());
        root.draw_next(1, &random).unwrap();
        root.seal_with(2);
        let again = rewrapped_record(&root, &name, &value, &random).unwrap().unwrap();
        assert!(rewrapped_record(&root, &name, &again, &random).unwrap().is_none());
        root.forget_all_but(&[]);
        let opened = root.unwrap(bucket, &record::decode(&again).unwrap()).unwrap();
        assert_eq!(opened.generation(), 7);
        let segment = grid_types::SegmentId::from_bytes([3; 16]);
        assert_eq!(opened.segment_key(segment), key.segment_key(segment));
        assert!(rewrapped_record(&root, &name, &value, &random).is_err());
        assert!(rewrapped_record(&root, &name[..3], &again, &random).is_err());
    }

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

//! The root keys that a node holds: one that seals, and those before and after it while a rotation goes on.
//!
//! Invariants: what is sealed now is sealed with one key, the current one, which every member that can be asked holds by
//! then; a generation stands for one secret; a key that anything may still be sealed with is held until somebody says that
//! nothing is. All copies of a `RootKeys` see a change at once.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use grid_types::BucketId;
use sys::Random;
use zeroize::Zeroizing;

use crate::root_key::RootKey;
use crate::{BucketKey, KEY_FILE_BYTES, KeyringError, SealedValue, WrappedKey, key_file};

/// Generations held at once: the current one, and those of rotations that wait for members that are away.
pub const ROOT_KEYS_MAX: usize = 8;

/// The root keys of a grid, as one node holds them. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct RootKeys(Arc<RwLock<Set>>);

/// The current one first, then by generation, the newest first.
struct Set(Vec<RootKey>);

impl Set {
    fn get(&self, generation: u32) -> Option<&RootKey> {
        self.0.iter().find(|key| key.generation() == generation)
    }

    fn order(&mut self, current: u32) {
        self.0.sort_by_key(|key| (key.generation() != current, std::cmp::Reverse(key.generation())));
    }
}

impl From<RootKey> for RootKeys {
    fn from(key: RootKey) -> Self {
        Self(Arc::new(RwLock::new(Set(vec![key]))))
    }
}

impl RootKeys {
    /// Reads a key file; refuses one that others may read.
    pub fn load(path: &Path) -> Result<Self, KeyringError> {
        let wrong = |reason| KeyringError::Format { path: path.to_owned(), reason };
        Self::parse(&key_file::load(path)?).map_err(wrong)
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyringError> {
        let wrong = |reason| KeyringError::Format { path: "the keys that were sent".into(), reason };
        Self::parse(bytes).map_err(wrong)
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let (entries, rest) = bytes.as_chunks::<KEY_FILE_BYTES>();
        if !rest.is_empty() || !(1..=ROOT_KEYS_MAX).contains(&entries.len()) {
            return Err("does not have the 80 bytes of each of its keys: bring back a copy");
        }
        let mut set = Set(Vec::new());
        for entry in entries {
            let (generation, secret) = key_file::decode(entry)?;
            if set.get(generation).is_some() {
                return Err("names a generation twice: bring back a copy");
            }
            set.0.push(RootKey::new(generation, secret));
        }
        Ok(Self(Arc::new(RwLock::new(set))))
    }

    /// The bytes of a key file: the current key, then the others.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        self.read(|set| Zeroizing::new(set.0.iter().flat_map(|key| key.encode().to_vec()).collect()))
    }

    /// Writes a key file durably with mode 0600; refuses to replace one. Blocks.
    pub fn save(&self, path: &Path) -> Result<(), KeyringError> {
        key_file::save(path, &self.encode())
    }

    /// Makes a key file hold these keys, durably and at once: a crash leaves the one that was there or this one. Blocks.
    pub fn replace(&self, path: &Path) -> Result<(), KeyringError> {
        key_file::replace(path, &self.encode())
    }

    fn read<T>(&self, look: impl FnOnce(&Set) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Set) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key that seals.
    pub fn current(&self) -> RootKey {
        // Never empty: it begins with one, and `forget` keeps the current one.
        self.read(|set| set.0[0].clone())
    }

    /// Its generation.
    pub fn generation(&self) -> u32 {
        self.read(|set| set.0[0].generation())
    }

    /// All generations, the current one first.
    pub fn generations(&self) -> Vec<u32> {
        self.read(|set| set.0.iter().map(RootKey::generation).collect())
    }

    /// The key of a generation.
    pub fn get(&self, generation: u32) -> Option<RootKey> {
        self.read(|set| set.get(generation).cloned())
    }

    /// Draws the key after the newest one of `known` and of those held, and holds it; it does not seal yet.
    pub fn draw_next(&self, known: u32, random: &dyn Random) -> Result<RootKey, KeyringError> {
        let newest = self.generations().into_iter().max().unwrap_or(0).max(known);
        let generation = newest.checked_add(1).ok_or(KeyringError::TooMany)?;
        let key = RootKey::new(generation, crate::secret::Secret::generate(random));
        self.hold(key.clone())?;
        Ok(key)
    }

    /// Holds a key, which does not seal yet. Another one of its generation gives way, unless it is the current one.
    pub fn hold(&self, key: RootKey) -> Result<(), KeyringError> {
        self.change(|set| {
            let (current, generation) = (set.0[0].generation(), key.generation());
            match set.get(generation) {
                Some(same) if same.check() == key.check() => return Ok(()),
                Some(_) if generation == current => return Err(KeyringError::OtherKey(generation)),
                _ => {}
            }
            set.0.retain(|held| held.generation() != generation);
            if set.0.len() >= ROOT_KEYS_MAX {
                return Err(KeyringError::TooMany);
            }
            set.0.push(key);
            set.order(current);
            Ok(())
        })
    }

    /// Holds what `others` has of generations that are not held here; a generation with two secrets is refused, and nothing
    /// changes. Where `others` seals with a newer one, that is the current one.
    pub fn merge(&self, others: &Self) -> Result<(), KeyringError> {
        let theirs: Vec<RootKey> = others.read(|set| set.0.clone());
        self.change(|set| {
            for key in &theirs {
                if set.get(key.generation()).is_some_and(|held| held.check() != key.check()) {
                    return Err(KeyringError::OtherKey(key.generation()));
                }
            }
            let new: Vec<RootKey> =
                theirs.iter().filter(|key| set.get(key.generation()).is_none()).cloned().collect();
            if set.0.len() + new.len() > ROOT_KEYS_MAX {
                return Err(KeyringError::TooMany);
            }
            let current = set.0[0].generation().max(theirs[0].generation());
            set.0.extend(new);
            set.order(current);
            Ok(())
        })
    }

    /// Seals with this generation from now on. False where it is not held.
    pub fn seal_with(&self, generation: u32) -> bool {
        self.change(|set| {
            let held = set.get(generation).is_some();
            if held {
                set.order(generation);
            }
            held
        })
    }

    /// Forgets all but the current key and those of `keep`. True where that was anything.
    pub fn forget_all_but(&self, keep: &[u32]) -> bool {
        self.change(|set| {
            let (before, current) = (set.0.len(), set.0[0].generation());
            set.0.retain(|key| key.generation() == current || keep.contains(&key.generation()));
            set.0.len() < before
        })
    }

    /// A key that shares nothing with this one's later changes.
    pub fn snapshot(&self) -> Self {
        Self(Arc::new(RwLock::new(Set(self.read(|set| set.0.clone())))))
    }

    /// As `RootKey::new_bucket_key`, with the current key.
    pub fn new_bucket_key(
        &self,
        bucket: BucketId,
        generation: u32,
        random: &dyn Random,
    ) -> (BucketKey, WrappedKey) {
        self.current().new_bucket_key(bucket, generation, random)
    }

    /// Opens a wrapped bucket key with the root key that wrapped it.
    pub fn unwrap(&self, bucket: BucketId, wrapped: &WrappedKey) -> Result<BucketKey, KeyringError> {
        let generation = wrapped.root_generation;
        self.get(generation).ok_or(KeyringError::NotHeld(generation))?.unwrap(bucket, wrapped)
    }

    /// The same bucket key, wrapped by the current root key; `None` where it is already.
    pub fn rewrap(
        &self,
        bucket: BucketId,
        wrapped: &WrappedKey,
        random: &dyn Random,
    ) -> Result<Option<WrappedKey>, KeyringError> {
        let current = self.current();
        if wrapped.root_generation == current.generation() {
            return Ok(None);
        }
        Ok(Some(current.wrap(bucket, &self.unwrap(bucket, wrapped)?, random)))
    }

    /// As `RootKey::seal_value`, with the current key.
    pub fn seal_value(&self, label: &str, plain: &[u8], random: &dyn Random) -> SealedValue {
        self.current().seal_value(label, plain, random)
    }

    /// Opens what one of the keys sealed under the same label.
    pub fn open_value(&self, label: &str, sealed: &SealedValue) -> Result<Vec<u8>, KeyringError> {
        self.open(label, sealed).map(|(_, plain)| plain)
    }

    /// The same value, sealed with the current key; `None` where it is already.
    pub fn reseal_value(
        &self,
        label: &str,
        sealed: &SealedValue,
        random: &dyn Random,
    ) -> Result<Option<SealedValue>, KeyringError> {
        let current = self.current();
        let (generation, plain) = self.open(label, sealed)?;
        let plain = Zeroizing::new(plain);
        let other = generation != current.generation();
        Ok(other.then(|| current.seal_value(label, &plain, random)))
    }

    fn open(&self, label: &str, sealed: &SealedValue) -> Result<(u32, Vec<u8>), KeyringError> {
        let keys = self.read(|set| set.0.clone());
        let mut last = KeyringError::Unwrap("a value sealed by the root key");
        for key in keys {
            match key.open_value(label, sealed) {
                Ok(plain) => return Ok((key.generation(), plain)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKeys").field("generations", &self.generations()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "root_keys_tests.rs"]
mod tests;

//! What lookups found, for a few seconds and for so many keys.
//!
//! Pure: time comes in as an argument. A load that began before an invalidation is not kept, whenever it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::AccessKey;

/// Keys held at most, known and unknown apart: about 300 bytes each.
pub(crate) const CACHED_KEYS_MAX: usize = 1_024;
/// A known key is looked up again after this, so that a change made through another node is seen.
pub(crate) const KNOWN_AGE_MAX: Duration = Duration::from_secs(5);
/// An unknown key is asked for again after this: bounds the reads that guessing causes.
pub(crate) const UNKNOWN_AGE_MAX: Duration = Duration::from_secs(1);

/// A key with its secret.
pub(crate) type KnownKey = (AccessKey, Arc<Zeroizing<String>>);

#[derive(Default)]
pub(crate) struct KeyCache {
    known: HashMap<String, (KnownKey, Duration)>,
    unknown: HashMap<String, Duration>,
    epoch: u64,
}

impl KeyCache {
    /// `Some(None)` = known to be unknown.
    pub(crate) fn get(&self, id: &str, now: Duration) -> Option<Option<KnownKey>> {
        let fresh = |loaded: Duration, age_max: Duration| now.saturating_sub(loaded) < age_max;
        if let Some((key, loaded)) = self.known.get(id) {
            return fresh(*loaded, KNOWN_AGE_MAX).then(|| Some(key.clone()));
        }
        self.unknown.get(id).and_then(|loaded| fresh(*loaded, UNKNOWN_AGE_MAX).then_some(None))
    }

    /// To be read before a load and given to `insert` after it.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Keeps what a load found, unless something changed since `epoch`.
    pub(crate) fn insert(&mut self, epoch: u64, id: &str, found: Option<KnownKey>, now: Duration) {
        if epoch != self.epoch {
            return;
        }
        match found {
            Some(key) => {
                make_room(&mut self.known, id, |(_, loaded)| *loaded);
                self.unknown.remove(id);
                self.known.insert(id.to_owned(), (key, now));
            }
            None => {
                make_room(&mut self.unknown, id, |loaded| *loaded);
                self.known.remove(id);
                self.unknown.insert(id.to_owned(), now);
            }
        }
    }

    /// Forgets a key that was changed, and makes loads under way keep nothing.
    pub(crate) fn invalidate(&mut self, id: &str) {
        self.epoch += 1;
        self.known.remove(id);
        self.unknown.remove(id);
    }
}

/// Drops the older half when full: rare, and cheaper than keeping an order.
fn make_room<V>(map: &mut HashMap<String, V>, id: &str, loaded: impl Fn(&V) -> Duration) {
    if map.len() < CACHED_KEYS_MAX || map.contains_key(id) {
        return;
    }
    let mut ages: Vec<Duration> = map.values().map(&loaded).collect();
    ages.sort_unstable();
    let median = ages[ages.len() / 2];
    map.retain(|_, value| loaded(value) > median);
}

#[cfg(test)]
mod tests {
    use grid_types::Timestamp;

    use super::*;
    use crate::AccessKeyState;

    fn key(id: &str) -> KnownKey {
        let key = AccessKey {
            id: id.into(),
            user: "u".into(),
            state: AccessKeyState::Active,
            created: Timestamp::default(),
        };
        (key, Arc::new(Zeroizing::new("s".into())))
    }

    #[test]
    fn entries_grow_old() {
        let mut cache = KeyCache::default();
        let start = Duration::from_secs(100);
        cache.insert(0, "known", Some(key("known")), start);
        cache.insert(0, "unknown", None, start);
        let at =
            |cache: &KeyCache, id: &str, after| cache.get(id, start + after).map(|found| found.is_some());
        assert_eq!(at(&cache, "known", Duration::ZERO), Some(true));
        assert_eq!(at(&cache, "known", KNOWN_AGE_MAX), None);
        assert_eq!(at(&cache, "unknown", Duration::ZERO), Some(false));
        assert_eq!(at(&cache, "unknown", UNKNOWN_AGE_MAX), None);
        assert_eq!(at(&cache, "other", Duration::ZERO), None);
    }

    #[test]
    fn a_load_older_than_a_change_is_not_kept() {
        let mut cache = KeyCache::default();
        let epoch = cache.epoch();
        cache.invalidate("k");
        cache.insert(epoch, "k", Some(key("k")), Duration::ZERO);
        assert!(cache.get("k", Duration::ZERO).is_none());
        cache.insert(cache.epoch(), "k", Some(key("k")), Duration::ZERO);
        assert!(cache.get("k", Duration::ZERO).is_some());
    }

    #[test]
    fn both_sides_are_bounded_and_keep_the_newest() {
        let mut cache = KeyCache::default();
        for n in 0..3 * CACHED_KEYS_MAX as u64 {
            cache.insert(0, &format!("k{n}"), Some(key("k")), Duration::from_millis(n));
            cache.insert(0, &format!("u{n}"), None, Duration::from_millis(n));
            assert!(cache.known.len() <= CACHED_KEYS_MAX && cache.unknown.len() <= CACHED_KEYS_MAX);
        }
        let last = 3 * CACHED_KEYS_MAX - 1;
        assert!(
            cache.known.contains_key(&format!("k{last}")) && cache.unknown.contains_key(&format!("u{last}"))
        );
    }
}

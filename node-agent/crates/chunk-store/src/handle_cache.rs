//! Open files, least recently used closed first: descriptors are bounded.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// At most `capacity` open things by key.
pub(crate) struct HandleCache<K, V> {
    capacity: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    open: HashMap<K, (V, u64)>,
    clock: u64,
    /// Grows with each `forget`: what was opened before may be stale.
    epoch: u64,
}

/// A look at the cache: what is inserted with it is dropped if something was forgotten in between.
#[derive(Clone, Copy)]
pub(crate) struct Epoch(u64);

impl<K: Eq + Hash + Copy, V: Clone> HandleCache<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::new(State { open: HashMap::new(), clock: 0, epoch: 0 }) }
    }

    /// The open one, if there is one, and the epoch for `insert`.
    pub fn get(&self, key: K) -> (Option<V>, Epoch) {
        let mut state = self.state.lock();
        state.clock += 1;
        let clock = state.clock;
        let found = state.open.get_mut(&key).map(|(value, used)| {
            *used = clock;
            value.clone()
        });
        (found, Epoch(state.epoch))
    }

    /// Keeps `value`, unless something was forgotten since `epoch`.
    pub fn insert(&self, epoch: Epoch, key: K, value: V) {
        let mut state = self.state.lock();
        if state.epoch != epoch.0 {
            return;
        }
        if state.open.len() >= self.capacity && !state.open.contains_key(&key) {
            let oldest = state.open.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                state.open.remove(&oldest);
            }
        }
        state.clock += 1;
        let clock = state.clock;
        state.open.insert(key, (value, clock));
    }

    /// Closes one: its file was replaced or removed.
    pub fn forget(&self, key: K) {
        let mut state = self.state.lock();
        state.epoch += 1;
        state.open.remove(&key);
    }
}

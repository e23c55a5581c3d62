//! Payloads written lately, by place; first in, first out.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::index::Place;

pub(crate) struct RecentCache {
    bytes_max: u64,
    bytes: u64,
    order: VecDeque<Place>,
    payloads: HashMap<Place, Bytes>,
}

impl RecentCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, bytes: 0, order: VecDeque::new(), payloads: HashMap::new() }
    }

    pub(crate) fn get(&self, place: Place) -> Option<Bytes> {
        self.payloads.get(&place).cloned()
    }

    /// A place is written once in the life of its file, so nothing needs to be taken back.
    pub(crate) fn insert(&mut self, place: Place, payload: Bytes) {
        self.bytes += payload.len() as u64;
        self.order.push_back(place);
        self.payloads.insert(place, payload);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.payloads.remove(&oldest).map_or(0, |payload| payload.len() as u64);
        }
    }
}

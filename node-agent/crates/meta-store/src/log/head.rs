//! A group without its entries, as the records written so far make it.

use bytes::Bytes;
use grid_types::ShardId;

use super::format::GroupHead;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Index of the first entry; of the next one where there is none.
    pub first: u64,
    /// Index after the last entry.
    pub end: u64,
    pub purged: Option<(u64, Bytes)>,
    pub vote: Option<Bytes>,
}

impl Head {
    /// An entry was written. One below the end replaces what an append that failed half-way left. False where it
    /// leaves a gap: no writer does that.
    pub(crate) fn entry(&mut self, index: u64) -> bool {
        if self.first == self.end && self.purged.is_none() {
            self.first = index;
        } else if index < self.first || index > self.end {
            return false;
        }
        self.end = index + 1;
        true
    }

    pub(crate) fn truncate_from(&mut self, index: u64) {
        self.end = self.end.min(index.max(self.first));
    }

    pub(crate) fn purge_through(&mut self, index: u64, log_id: Bytes) {
        if self.purged.as_ref().is_none_or(|(purged, _)| *purged <= index) {
            self.first = self.first.max(index + 1);
            self.end = self.end.max(self.first);
            self.purged = Some((index, log_id));
        }
    }

    pub(crate) fn to_stored(&self, group: ShardId) -> GroupHead {
        GroupHead {
            group,
            first: self.first,
            end: self.end,
            purged: self.purged.as_ref().map(|(index, id)| (*index, id.to_vec())),
            vote: self.vote.as_ref().map(|vote| vote.to_vec()),
        }
    }

    pub(crate) fn from_stored(stored: &GroupHead) -> Self {
        Self {
            first: stored.first,
            end: stored.end,
            purged: stored.purged.as_ref().map(|(index, id)| (*index, Bytes::copy_from_slice(id))),
            vote: stored.vote.as_ref().map(|vote| Bytes::copy_from_slice(vote)),
        }
    }
}

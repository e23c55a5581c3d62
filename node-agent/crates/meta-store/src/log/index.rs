//! Where the entries of one group are: written ones by place (12 bytes an entry), queued ones with their payload.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{GroupLogState, LogError};

/// Where a record lies, on every mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Number of the file.
    pub file: u32,
    /// Offset of the record in it.
    pub offset: u32,
    /// Bytes of the payload.
    pub len: u32,
}

/// Names one call, in order of asking.
pub(crate) type CallId = u64;

struct Queued {
    call: CallId,
    payload: Bytes,
}

/// One group as callers see it: with all that they asked for, durable or not.
#[derive(Default)]
pub(crate) struct GroupIndex {
    purged: Option<(u64, Bytes)>,
    pub vote: Option<Bytes>,
    /// Index of the first entry; of the next one where there is none.
    first: u64,
    written: VecDeque<Place>,
    /// Follow the written ones.
    queued: VecDeque<Queued>,
    /// Appends asked for before this call follow one that failed, and fail too.
    pub appends_fail_before: CallId,
}

/// Live entries that a call takes out of files: (file, how many). They count until the call is durable.
pub(crate) type Drops = Vec<(u32, u32)>;

/// An entry as a reader finds it.
pub(crate) enum Found {
    Queued(Bytes),
    Written(Place),
}

impl GroupIndex {
    pub(crate) fn recovered(
        purged: Option<(u64, Bytes)>,
        vote: Option<Bytes>,
        first: u64,
        written: VecDeque<Place>,
    ) -> Self {
        Self { purged, vote, first, written, ..Self::default() }
    }

    pub(crate) fn state(&self) -> GroupLogState {
        let last = match self.end() {
            end if end > self.first => Some(end - 1),
            _ => self.purged.as_ref().map(|(index, _)| *index),
        };
        GroupLogState { purged: self.purged.clone(), last, vote: self.vote.clone() }
    }

    /// Index after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first + (self.written.len() + self.queued.len()) as u64
    }

    /// Index after the last durable entry.
    pub(crate) fn durable_end(&self) -> u64 {
        self.first + self.written.len() as u64
    }

    pub(crate) fn find(&self, index: u64) -> Option<Found> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        match self.written.get(at) {
            Some(place) => Some(Found::Written(*place)),
            None => {
                let queued = self.queued.get(at - self.written.len())?;
                Some(Found::Queued(queued.payload.clone()))
            }
        }
    }

    /// May entries follow at `index`? Only without a gap; the first one of an unpurged log goes anywhere.
    pub(crate) fn check_append(&self, index: u64) -> Result<(), LogError> {
        let fresh = self.purged.is_none() && self.written.is_empty() && self.queued.is_empty();
        if fresh || index == self.end() {
            return Ok(());
        }
        Err(LogError::Invalid(format!("entry {index} does not follow {}", self.end())))
    }

    pub(crate) fn queue(&mut self, call: CallId, index: u64, payload: Bytes) {
        if self.written.is_empty() && self.queued.is_empty() {
            self.first = index;
        }
        self.queued.push_back(Queued { call, payload });
    }

    /// A queued entry was written. `None` where it was truncated, purged or replaced meanwhile.
    pub(crate) fn written_now(&mut self, call: CallId, index: u64, place: Place) -> Option<Bytes> {
        if index != self.durable_end() || self.queued.front().is_none_or(|queued| queued.call != call) {
            return None;
        }
        self.written.push_back(place);
        self.queued.pop_front().map(|queued| queued.payload)
    }

    /// Durable entries that lie in `file`.
    pub(crate) fn in_file(&self, file: u32) -> impl Iterator<Item = (u64, Place)> {
        let indexed = (self.first..).zip(&self.written);
        indexed.filter(move |(_, place)| place.file == file).map(|(index, place)| (index, *place))
    }

    /// An entry was written again. False where it was truncated or purged meanwhile.
    pub(crate) fn moved_now(&mut self, index: u64, from: Place, to: Place) -> bool {
        let at = index.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| self.written.get_mut(at)) {
            Some(place) if *place == from => {
                *place = to;
                true
            }
            _ => false,
        }
    }

    /// An append failed: what is queued behind it goes with it.
    pub(crate) fn drop_queued(&mut self, next_call: CallId) {
        self.queued.clear();
        self.appends_fail_before = next_call;
    }

    pub(crate) fn truncate_from(&mut self, index: u64) -> Drops {
        let keep = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.queued.truncate(keep.saturating_sub(self.written.len()));
        let from = keep.min(self.written.len());
        drops(self.written.drain(from..))
    }

    pub(crate) fn purge_through(&mut self, index: u64, log_id: Bytes) -> Drops {
        if self.purged.as_ref().is_some_and(|(purged, _)| *purged > index) {
            return Drops::new();
        }
        let gone = usize::try_from((index + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        let written = gone.min(self.written.len());
        let queued = (gone - written).min(self.queued.len());
        let dropped = drops(self.written.drain(..written));
        self.queued.drain(..queued);
        self.first = self.first.max(index + 1);
        self.purged = Some((index, log_id));
        dropped
    }

    pub(crate) fn drop_all(&mut self) -> Drops {
        self.queued.clear();
        drops(self.written.drain(..))
    }
}

fn drops(places: impl Iterator<Item = Place>) -> Drops {
    let mut drops = Drops::new();
    for place in places {
        match drops.last_mut() {
            Some((file, count)) if *file == place.file => *count += 1,
            _ => drops.push((place.file, 1)),
        }
    }
    drops
}

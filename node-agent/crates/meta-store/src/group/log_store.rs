//! The shared log as the Raft library sees it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};

use super::encoding::{decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote};
use super::types::{LogId, RaftEntry, Types, Vote};
use crate::log::GroupLog;

/// Bytes of entries read at a time: bounds what a replay holds in memory.
const READ_BYTES_MAX: u64 = 1 << 20;

/// One group's log.
#[derive(Clone)]
pub(super) struct LogStore {
    log: GroupLog,
}

impl LogStore {
    pub(super) fn new(log: GroupLog) -> Self {
        Self { log }
    }

    async fn read_some(&self, from: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let entries = self.log.read(from..end, READ_BYTES_MAX).await?;
        entries.iter().map(decode_entry).collect()
    }
}

/// The half-open range that a range of indexes means.
fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let (mut from, end) = half_open(&range);
        let mut all = Vec::new();
        while from < end {
            let mut some = self.read_some(from, end).await?;
            if some.is_empty() {
                break;
            }
            from += some.len() as u64;
            all.append(&mut some);
        }
        Ok(all)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, end) = half_open(&range);
        let store = self.clone();
        // The default reads the whole range at once, which a replay of a long tail would hold in memory.
        stream::unfold(Some(from), move |from| {
            let store = store.clone();
            async move {
                let from = from.filter(|from| *from < end)?;
                let some = match store.read_some(from, end).await {
                    Ok(some) if some.is_empty() => return None,
                    Ok(some) => some,
                    Err(error) => return Some((vec![Err(error)], None)),
                };
                let next = from + some.len() as u64;
                Some((some.into_iter().map(Ok).collect::<Vec<_>>(), Some(next)))
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.log.state().vote.map(|bytes| decode_vote(&bytes)).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        self.read_some(start, end).await
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state();
        let purged = state.purged.as_ref().map(|(_, id)| decode_log_id(id)).transpose()?;
        let last = match (state.last, &purged) {
            (Some(last), Some(purged)) if last == purged.index => Some(*purged),
            (Some(last), _) => {
                let entry = self.read_some(last, last + 1).await?.pop();
                let missing = || io::Error::new(io::ErrorKind::InvalidData, "the last log entry is missing");
                Some(entry.ok_or_else(missing)?.log_id)
            }
            (None, _) => purged,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        Ok(self.log.save_vote(encode_vote(vote)).await?)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(|entry| encode_entry(&entry)).collect();
        let flushed = Box::new(move |result: Result<(), crate::log::LogError>| {
            callback.io_completed(result.map_err(io::Error::from));
        });
        Ok(self.log.append_then(entries, flushed).await?)
    }

    /// Waits for the sync: without it a restart could find entries that a newer leader replaced.
    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.log.truncate_from(last.map_or(0, |last| last.index + 1)).await?)
    }

    async fn purge(&mut self, id: LogId) -> Result<(), io::Error> {
        Ok(self.log.purge_through(id.index, Bytes::from(encode_log_id(&id))).await?)
    }
}

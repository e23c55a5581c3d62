//! The log of one group.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use grid_types::ShardId;
use tokio::sync::oneshot;

use super::index::Found;
use super::shared::Shared;
use super::writer::{Call, CallKind};
use super::{GroupLogState, LogEntry, LogError, OPAQUE_BYTES_MAX, Place};

/// Called once an operation is durable or has failed; on the writer's thread, so it must not block.
pub type Flushed = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The log of one group. Cheap to clone.
///
/// Calls take effect in the order in which their futures are first polled to the queue, so one task should make them.
/// What was asked for shows at once in `state` and `read`; the future resolves when it is durable on all mirrors.
/// Cancellation: a call that is dropped while it waits for room has not happened; later, it happens.
#[derive(Clone)]
pub struct GroupLog {
    pub(crate) shared: Arc<Shared>,
    pub(crate) group: ShardId,
}

impl GroupLog {
    /// The group.
    pub fn group(&self) -> ShardId {
        self.group
    }

    /// What the log holds of the group.
    pub fn state(&self) -> GroupLogState {
        self.shared.with_group(self.group, |group| group.state())
    }

    /// Appends entries, which must follow the last one without a gap, and waits until they are durable.
    /// `StorageFull`: none of them counts, though a first part may be there after a restart.
    pub async fn append(&self, entries: Vec<LogEntry>) -> Result<(), LogError> {
        let (answer, flushed) = answer();
        self.append_then(entries, answer).await?;
        wait(flushed).await
    }

    /// As `append`, but returns as soon as the entries can be read; `flushed` is called when they are durable or have
    /// failed, unless this returns an error.
    pub async fn append_then(&self, entries: Vec<LogEntry>, flushed: Flushed) -> Result<(), LogError> {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            flushed(Ok(()));
            return Ok(());
        };
        let too_large = self.shared.entry_bytes_max();
        for (entry, index) in entries.iter().zip(first..) {
            if entry.index != index {
                return Err(LogError::Invalid(format!("entry {} where {index} was due", entry.index)));
            }
            if entry.payload.len() as u64 > too_large {
                return Err(LogError::Invalid(format!("entry {index} is larger than {too_large} bytes")));
            }
        }
        let bytes = entries.iter().map(|entry| entry.payload.len() as u64).sum();
        self.shared
            .call(self.group, bytes, flushed, |call, group| {
                group.check_append(first)?;
                for entry in &entries {
                    group.queue(call, entry.index, entry.payload.clone());
                }
                Ok(CallKind::Append(entries))
            })
            .await
    }

    /// Stores the vote.
    pub async fn save_vote(&self, vote: Bytes) -> Result<(), LogError> {
        check_opaque(&vote)?;
        self.change(|group| {
            group.vote = Some(vote.clone());
            CallKind::Vote(vote)
        })
        .await
    }

    /// Drops the entries from `index` on.
    pub async fn truncate_from(&self, index: u64) -> Result<(), LogError> {
        self.change(|group| CallKind::Truncate(index, group.truncate_from(index))).await
    }

    /// Drops the entries up to and with `index`, whose log id is stored; the log may end before (a snapshot came).
    pub async fn purge_through(&self, index: u64, log_id: Bytes) -> Result<(), LogError> {
        check_opaque(&log_id)?;
        self.change(|group| {
            let drops = group.purge_through(index, log_id.clone());
            CallKind::Purge(index, log_id, drops)
        })
        .await
    }

    /// Forgets the group. What is asked for later founds it anew.
    pub async fn remove_group(&self) -> Result<(), LogError> {
        self.change(|group| {
            let drops = group.drop_all();
            *group = super::index::GroupIndex::default();
            CallKind::Remove(drops)
        })
        .await
    }

    /// Waits until the entry at `index` (or a purge beyond it) is durable: hold apply until then. `Invalid` where the
    /// log has no such entry (any more).
    pub async fn wait_durable(&self, index: u64) -> Result<(), LogError> {
        let mut batches = self.shared.batches();
        loop {
            batches.mark_unchanged();
            let (end, durable_end) =
                self.shared.with_group(self.group, |group| (group.end(), group.durable_end()));
            if index < durable_end {
                return Ok(());
            }
            self.shared.check_running()?;
            if index >= end {
                return Err(LogError::Invalid(format!("there is no entry {index} to wait for")));
            }
            if batches.changed().await.is_err() {
                return Err(self.shared.stopped());
            }
        }
    }

    /// Entries of the range from its start, as many as fit into `bytes_max` but at least one; fewer where the log ends
    /// or was purged meanwhile. Empty where the start is not there. Recent ones come from memory.
    pub async fn read(&self, range: Range<u64>, bytes_max: u64) -> Result<Vec<LogEntry>, LogError> {
        let (mut entries, next, bytes) = self.read_recent(range.clone(), bytes_max, 0);
        if next >= range.end || bytes >= bytes_max {
            return Ok(entries);
        }
        let this = self.clone();
        let rest = next..range.end;
        let read = move || {
            this.read_stored(rest, bytes_max, bytes, entries.len()).map(|more| {
                entries.extend(more);
                entries
            })
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| LogError::Io {
            operation: "read entries",
            source: Arc::new(std::io::Error::other(error)),
        })?
    }

    /// What memory holds of the range: entries, where the first one is that it does not hold (the end of the range if
    /// the log ends before), bytes with the `before` ones.
    fn read_recent(&self, range: Range<u64>, bytes_max: u64, before: u64) -> (Vec<LogEntry>, u64, u64) {
        let mut bytes = before;
        let mut entries = Vec::new();
        let mut next = range.start;
        self.shared.with_group_and_cache(self.group, |group, cache| {
            while next < range.end {
                let payload = match group.find(next) {
                    None => {
                        next = range.end;
                        break;
                    }
                    Some(Found::Queued(payload)) => payload,
                    Some(Found::Written(place)) => match cache.get(place) {
                        Some(payload) => payload,
                        None => break,
                    },
                };
                if !(entries.is_empty() && before == 0) && bytes + payload.len() as u64 > bytes_max {
                    bytes = bytes_max;
                    break;
                }
                bytes += payload.len() as u64;
                entries.push(LogEntry { index: next, payload });
                next += 1;
            }
        });
        (entries, next, bytes)
    }

    /// Reads on, from the mirrors too. Blocks.
    fn read_stored(
        &self,
        range: Range<u64>,
        bytes_max: u64,
        mut bytes: u64,
        mut found: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let mut entries = Vec::new();
        for index in range {
            let Some(payload) = self.payload(index)? else { break };
            bytes += payload.len() as u64;
            if found > 0 && bytes > bytes_max {
                break;
            }
            found += 1;
            entries.push(LogEntry { index, payload });
        }
        Ok(entries)
    }

    fn payload(&self, index: u64) -> Result<Option<Bytes>, LogError> {
        loop {
            let place = match self.find(index) {
                None => return Ok(None),
                Some(Found::Queued(payload)) => return Ok(Some(payload)),
                Some(Found::Written(place)) => place,
            };
            match self.shared.read_place(self.group, index, place) {
                Ok(payload) => return Ok(Some(payload)),
                // Purged or truncated while it was read: its file may have been used again.
                Err(_) if !self.is_at(index, place) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn find(&self, index: u64) -> Option<Found> {
        self.shared.with_group_and_cache(self.group, |group, cache| match group.find(index) {
            Some(Found::Written(place)) => {
                Some(cache.get(place).map_or(Found::Written(place), Found::Queued))
            }
            other => other,
        })
    }

    fn is_at(&self, index: u64, place: Place) -> bool {
        let found = self.shared.with_group(self.group, |group| group.find(index));
        matches!(found, Some(Found::Written(now)) if now == place)
    }

    async fn change(
        &self,
        change: impl FnOnce(&mut super::index::GroupIndex) -> CallKind,
    ) -> Result<(), LogError> {
        let (answer, flushed) = answer();
        self.shared.call(self.group, 0, answer, |_, group| Ok(change(group))).await?;
        wait(flushed).await
    }
}

fn check_opaque(bytes: &Bytes) -> Result<(), LogError> {
    if bytes.len() > OPAQUE_BYTES_MAX {
        return Err(LogError::Invalid(format!("a vote or log id of {} bytes", bytes.len())));
    }
    Ok(())
}

/// A callback and the future that it completes.
pub(crate) fn answer() -> (Flushed, oneshot::Receiver<Result<(), LogError>>) {
    let (sender, receiver) = oneshot::channel();
    // The asker may have gone; the operation happened all the same.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

async fn wait(flushed: oneshot::Receiver<Result<(), LogError>>) -> Result<(), LogError> {
    let gone = |_| LogError::Stopped { reason: "its writer has ended".to_owned() };
    flushed.await.map_err(gone)?
}

impl Call {
    /// Answers the caller.
    pub(crate) fn answer(self, result: Result<(), LogError>) {
        (self.flushed)(result);
    }
}

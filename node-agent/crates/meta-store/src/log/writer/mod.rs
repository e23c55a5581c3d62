//! The one thread that writes: gathers calls into batches, rolls files, drops mirrors that fail.

mod home_change;
mod sparse;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use grid_types::{MemoryPermit, ShardId};
use tokio::sync::oneshot;

use super::fill::{self, Copied, Ends};
use super::format::{BatchBuffer, ClosedFile, FileSeal, FileStart, Kind, Record};
use super::group::Flushed;
use super::head::Head;
use super::index::{CallId, Drops, GroupIndex, Place};
use super::mirror::{Failure, Mirror, Mirrors};
use super::recover::recover;
use super::shared::Shared;
use super::{LogEntry, LogError};
use crate::home::{HomeDrive, HomeView, MirrorSet};

/// Appends leave one part in so many of each file to votes, truncations and purges, which free room on a full disk.
const RESERVED_PART: u64 = 16;
/// A forced start jumps so many epochs, beyond what a lost mirror may have seen.
const FORCED_EPOCHS: u64 = 1 << 20;

/// Something a group asked for.
pub(crate) struct Call {
    pub id: CallId,
    pub group: ShardId,
    pub kind: CallKind,
    pub flushed: Flushed,
    /// Its room in the queue.
    #[expect(dead_code, reason = "given back on drop")]
    pub permit: MemoryPermit,
}

pub(crate) enum CallKind {
    Append(Vec<LogEntry>),
    Vote(Bytes),
    Truncate(u64, Drops),
    Purge(u64, Bytes, Drops),
    Remove(Drops),
}

/// Something the node asked for.
pub(crate) enum Control {
    /// Which of the drives are to be filled, and with what.
    PlanHome { drives: Vec<HomeDrive>, plan: oneshot::Sender<HomePlan> },
    /// Makes the mirrors follow the drives, newcomers being filled as planned.
    SetHome { drives: Vec<HomeDrive>, copied: Vec<Copied>, answer: Flushed },
}

/// Drives that ought to become mirrors, and what they lack.
pub(crate) struct HomePlan {
    pub newcomers: Vec<HomeDrive>,
    pub from: Vec<Arc<Mirror>>,
    pub files: Ends,
}

impl Control {
    pub(crate) fn answer(self, result: Result<(), LogError>) {
        match self {
            // The asker sees that its plan never came.
            Self::PlanHome { .. } => {}
            Self::SetHome { answer, .. } => answer(result),
        }
    }
}

/// What is to be done once the batch is durable, in order.
enum Pending {
    Entry { call: CallId, group: ShardId, index: u64, place: Place },
    Moved { group: ShardId, index: u64, from: Place, to: Place },
    Done(Call),
}

struct FileInfo {
    first_batch: u64,
    end: u64,
    /// Entries that durable records still call live.
    live: u64,
    /// Entries written to it.
    entries: u64,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    mirrors: Mirrors,
    set: MirrorSet,
    epoch_max: u64,
    /// Files that count, the current one included.
    files: BTreeMap<u64, FileInfo>,
    file: u64,
    file_max: u64,
    seal: FileSeal,
    /// Where the next batch goes.
    end: u64,
    next_batch: u64,
    /// The current file has no name yet: the next batch begins it.
    fresh: bool,
    heads: BTreeMap<ShardId, Head>,
    /// Written entries that were truncated or purged before they were written: live until that is durable, too.
    orphans: HashMap<ShardId, Vec<(u64, u32)>>,
    buffer: BatchBuffer,
    pending: Vec<Pending>,
    removing: Vec<u64>,
}

/// Nobody waits for a writer that is gone, not even one that panicked.
struct StopAtEnd(Arc<Shared>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop(&LogError::Stopped { reason: "its writer has ended".to_owned() });
    }
}

impl Writer {
    /// Founds a log: directories, a first file, then the mirror set that makes it count.
    pub(crate) fn found(
        shared: Arc<Shared>,
        set: MirrorSet,
        drives: Vec<HomeDrive>,
    ) -> Result<Self, LogError> {
        for drive in &drives {
            fill::clear(drive).map_err(LogError::io("prepare the log's directory"))?;
        }
        let mirrors = drives.iter().cloned().map(Mirror::new).collect();
        let mirrors = Mirrors::start(mirrors).map_err(LogError::io("start a mirror"))?;
        let mut writer = Self::new(shared, mirrors, set);
        writer.roll()?;
        writer.flush()?;
        // The first drive alone, then all: however far it comes, the drives that know a set are a quorum of it.
        let first = drives.first().filter(|first| writer.set.drives == [first.id]);
        let first =
            first.ok_or_else(|| LogError::Invalid("a log is founded on its first drive".to_owned()))?;
        writer.set.write(first).map_err(LogError::io("write the mirror set"))?;
        if drives.len() > 1 {
            writer.change_set(&[], false)?;
        }
        writer.publish();
        Ok(writer)
    }

    /// Takes up a log that is there.
    pub(crate) fn reopen(shared: Arc<Shared>, view: HomeView, forced: bool) -> Result<Self, LogError> {
        let recovered = recover(view.present, &view.set.log, &shared.config)?;
        let mirrors: Vec<Arc<Mirror>> = recovered.mirrors.into_iter().map(Mirror::new).collect();
        for mirror in &mirrors {
            mirror.resume(recovered.current.file).map_err(LogError::io("open the log"))?;
        }
        let mirrors = Mirrors::start(mirrors).map_err(LogError::io("start a mirror"))?;
        let mut writer = Self::new(shared, mirrors, view.set);
        writer.epoch_max = view.epoch_max + if forced { FORCED_EPOCHS } else { 0 };
        writer.file = recovered.current.file;
        writer.file_max = recovered.file_max;
        writer.seal = FileSeal::new(&writer.shared.log, writer.file);
        writer.end = recovered.current.end;
        writer.next_batch = recovered.next_batch;
        for closed in recovered.closed.iter().chain([&recovered.current]) {
            let entries = recovered.entries.get(&closed.file).copied().unwrap_or(0);
            let info = FileInfo { first_batch: closed.first_batch, end: closed.end, live: 0, entries };
            writer.files.insert(closed.file, info);
        }
        for place in recovered.groups.values().flat_map(|group| &group.places) {
            writer.count(place.file, 1);
        }
        writer.heads = recovered.groups.iter().map(|(group, found)| (*group, found.head.clone())).collect();
        writer.shared.with_groups(|groups, _| {
            for (group, found) in recovered.groups {
                let head = found.head;
                let index = GroupIndex::recovered(head.purged, head.vote, head.first, found.places);
                groups.insert(group, index);
            }
        });
        writer.shared.set_status(|status| status.mended = recovered.mended);
        // Also where all agree: the process before may have failed to sync what its mirrors are seen to agree on.
        writer.change_set(&[], forced)?;
        writer.publish();
        Ok(writer)
    }

    fn new(shared: Arc<Shared>, mirrors: Mirrors, set: MirrorSet) -> Self {
        Self {
            seal: FileSeal::new(&shared.log, 0),
            shared,
            mirrors,
            epoch_max: set.epoch,
            set,
            files: BTreeMap::new(),
            file: 0,
            file_max: 0,
            end: 0,
            next_batch: 1,
            fresh: false,
            heads: BTreeMap::new(),
            orphans: HashMap::new(),
            buffer: BatchBuffer::default(),
            pending: Vec::new(),
            removing: Vec::new(),
        }
    }

    /// Works until the log is closed or stops.
    pub(crate) fn run(mut self) {
        let _last = StopAtEnd(self.shared.clone());
        loop {
            let work = self.shared.work();
            let result = self.serve(work.calls, work.controls);
            if let Err(error) = result {
                tracing::error!(%error, "the metadata log has stopped");
                self.shared.stop(&error);
                return;
            }
            if work.closing {
                self.shared.stop_closed();
                return;
            }
        }
    }

    /// An error ends the log; all calls have been answered then.
    fn serve(
        &mut self,
        calls: impl IntoIterator<Item = Call>,
        controls: impl IntoIterator<Item = Control>,
    ) -> Result<(), LogError> {
        let mut stopped: Option<LogError> = None;
        for call in calls {
            match &stopped {
                Some(error) => call.answer(Err(error.clone())),
                None => stopped = self.take(call).err(),
            }
        }
        let flushed = match stopped {
            None => self.flush_all().and_then(|()| self.empty_sparse_file()),
            Some(error) => Err(error),
        };
        if let Err(error) = flushed {
            self.fail_pending(&error);
            controls.into_iter().for_each(|control| control.answer(Err(error.clone())));
            return Err(error);
        }
        for control in controls {
            match control {
                // Who does not wait any more needs no plan.
                Control::PlanHome { drives, plan } => drop(plan.send(self.plan_home(&drives))),
                Control::SetHome { drives, copied, answer } => match self.set_home(&drives, &copied) {
                    Ok(()) => answer(Ok(())),
                    Err(error @ LogError::Stopped { .. }) => {
                        answer(Err(error.clone()));
                        return Err(error);
                    }
                    Err(error) => answer(Err(error)),
                },
            }
        }
        Ok(())
    }

    /// Puts a call's records into the batch. An error ends the log; the call has been answered then.
    fn take(&mut self, call: Call) -> Result<(), LogError> {
        if let CallKind::Append(entries) = &call.kind {
            if self.shared.append_fails(call.group, call.id) {
                call.answer(Err(LogError::Invalid("an append before this one failed".to_owned())));
                return Ok(());
            }
            for entry in entries {
                match self.push(Kind::Entry, call.group, entry.index, &entry.payload) {
                    Ok(place) => {
                        let (call, group) = (call.id, call.group);
                        self.pending.push(Pending::Entry { call, group, index: entry.index, place });
                    }
                    Err(error) => {
                        self.shared.fail_appends(call.group);
                        return answer_failed(call, error, true);
                    }
                }
            }
        } else {
            let none = Bytes::new();
            let (kind, index, payload) = match &call.kind {
                CallKind::Vote(vote) => (Kind::Vote, 0, vote),
                CallKind::Truncate(index, _) => (Kind::Truncate, *index, &none),
                CallKind::Purge(index, log_id, _) => (Kind::Purge, *index, log_id),
                CallKind::Remove(_) | CallKind::Append(_) => (Kind::RemoveGroup, 0, &none),
            };
            if let Err(error) = self.push(kind, call.group, index, payload) {
                // The group was told already, and cannot be told otherwise: the log must not go on.
                return answer_failed(call, error, false);
            }
        }
        self.pending.push(Pending::Done(call));
        Ok(())
    }

    /// Adds a record to the batch; flushes and rolls where it does not fit.
    fn push(&mut self, kind: Kind, group: ShardId, index: u64, payload: &[u8]) -> Result<Place, LogError> {
        let config = &self.shared.config;
        let full = self.buffer.len_with(payload.len()) > config.batch_bytes_max;
        if full && !self.buffer.is_empty() {
            self.flush()?;
        }
        if !self.fits(kind, payload.len()) {
            self.flush()?;
            self.roll()?;
        }
        let offset = self.end + self.buffer.push(self.seal, &Record { kind, group, index, payload });
        self.note(kind, group, index, payload);
        let narrow =
            |n: u64| u32::try_from(n).map_err(|_| LogError::Invalid("a log file too many".to_owned()));
        Ok(Place { file: narrow(self.file)?, offset: narrow(offset)?, len: narrow(payload.len() as u64)? })
    }

    fn fits(&self, kind: Kind, payload: usize) -> bool {
        let file_bytes = self.shared.config.file_bytes;
        let reserved = if kind.is_entry() { file_bytes / RESERVED_PART } else { 0 };
        self.end + self.buffer.len_with(payload) + reserved <= file_bytes
    }

    /// Keeps the heads as the records make them.
    fn note(&mut self, kind: Kind, group: ShardId, index: u64, payload: &[u8]) {
        let head = self.heads.entry(group).or_default();
        match kind {
            Kind::Entry => {
                assert!(head.entry(index), "entry {index} leaves a gap in the log of shard {group}")
            }
            Kind::Vote => head.vote = Some(Bytes::copy_from_slice(payload)),
            Kind::Truncate => head.truncate_from(index),
            Kind::Purge => head.purge_through(index, Bytes::copy_from_slice(payload)),
            Kind::RemoveGroup => drop(self.heads.remove(&group)),
            Kind::FileStart | Kind::RemoveFile | Kind::Moved => {}
        }
    }

    /// Begins a new file, whose first record holds all that older files say but the entries. The batch must be empty.
    fn roll(&mut self) -> Result<(), LogError> {
        let file_bytes = self.shared.config.file_bytes;
        let failed = self.mirrors.each(move |mirror| mirror.prepare_spare(file_bytes));
        let full = failed.iter().find(|failure| failure.error.kind() == io::ErrorKind::StorageFull);
        if let Some(Failure { mirror, .. }) = full {
            return Err(LogError::StorageFull { drive: mirror.drive.id.to_string() });
        }
        self.drop_failed(&failed)?;
        let closed = |(file, info): (&u64, &FileInfo)| ClosedFile {
            file: *file,
            first_batch: info.first_batch,
            end: info.end,
        };
        let start = FileStart {
            files: self.files.iter().map(closed).collect(),
            groups: self.heads.iter().map(|(group, head)| head.to_stored(*group)).collect(),
        };
        self.file_max += 1;
        self.file = self.file_max;
        self.seal = FileSeal::new(&self.shared.log, self.file);
        self.end = 0;
        self.fresh = true;
        self.files.insert(self.file, FileInfo { first_batch: self.next_batch, end: 0, live: 0, entries: 0 });
        let payload = start.encode();
        let record = Record { kind: Kind::FileStart, group: ShardId(0), index: self.file, payload: &payload };
        self.buffer.push(self.seal, &record);
        Ok(())
    }

    /// Writes what there is, and says durably which files went empty by it.
    fn flush_all(&mut self) -> Result<(), LogError> {
        self.flush()?;
        while self.files.iter().any(|(file, info)| info.live == 0 && *file != self.file)
            && self.fits(Kind::RemoveFile, 0)
        {
            self.flush_removals();
            self.flush()?;
        }
        Ok(())
    }

    fn flush_removals(&mut self) {
        let empty: Vec<u64> =
            self.files.iter().filter(|(_, info)| info.live == 0).map(|(file, _)| *file).collect();
        for file in empty {
            if file != self.file && self.fits(Kind::RemoveFile, 0) {
                let record = Record { kind: Kind::RemoveFile, group: ShardId(0), index: file, payload: &[] };
                self.buffer.push(self.seal, &record);
                self.removing.push(file);
            }
        }
    }

    /// Writes the batch to all mirrors, syncs it and answers. An error ends the log.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = self.buffer.finish(self.seal, self.next_batch);
        let len = bytes.len() as u64;
        let (file, offset, fresh) = (self.file, self.end, self.fresh);
        let failed = self.mirrors.each(move |mirror| {
            if fresh {
                mirror.begin_file(file)?;
            }
            mirror.write_batch(offset, &bytes)
        });
        self.drop_failed(&failed)?;
        self.fresh = false;
        self.end += len;
        self.next_batch += 1;
        if let Some(info) = self.files.get_mut(&self.file) {
            info.end = self.end;
        }
        let file_bytes = self.shared.config.file_bytes;
        if self.end > file_bytes / 2 && self.end - len <= file_bytes / 2 {
            self.mirrors.build_spares(file_bytes);
        }
        self.complete();
        for file in std::mem::take(&mut self.removing) {
            self.files.remove(&file);
            for mirror in self.mirrors.all() {
                mirror.retire(u32::try_from(file).unwrap_or(u32::MAX));
            }
        }
        let (batches, files) = (self.next_batch - 1, self.files.len() as u64);
        self.shared.set_status(|status| (status.batches, status.files) = (batches, files));
        Ok(())
    }

    /// The batch is durable: entries get their places, callers their answers.
    fn complete(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mut done = Vec::new();
        let shared = self.shared.clone();
        shared.with_groups(|groups, cache| {
            for pending in pending {
                match pending {
                    Pending::Entry { call, group, index, place } => {
                        // It replaces what a failed append left there.
                        self.release_orphans(group, |orphan| orphan >= index);
                        self.count_written(place.file);
                        let index_of = groups.get_mut(&group);
                        match index_of.and_then(|found| found.written_now(call, index, place)) {
                            Some(payload) => cache.insert(place, payload),
                            None => self.orphans.entry(group).or_default().push((index, place.file)),
                        }
                    }
                    Pending::Moved { group, index, from, to } => {
                        self.count_written(to.file);
                        if groups.get_mut(&group).is_some_and(|found| found.moved_now(index, from, to)) {
                            self.discount(from.file, 1);
                        } else {
                            self.orphans.entry(group).or_default().push((index, to.file));
                        }
                    }
                    Pending::Done(call) => {
                        self.settle(&call);
                        done.push(call);
                    }
                }
            }
        });
        self.shared.announce_batch(self.next_batch - 1);
        for call in done {
            call.answer(Ok(()));
        }
    }

    /// What a durable call took out of the files no longer counts.
    fn settle(&mut self, call: &Call) {
        let drops = match &call.kind {
            CallKind::Append(_) | CallKind::Vote(_) => return,
            CallKind::Truncate(from, drops) => {
                self.release_orphans(call.group, |index| index >= *from);
                drops
            }
            CallKind::Purge(through, _, drops) => {
                self.release_orphans(call.group, |index| index <= *through);
                drops
            }
            CallKind::Remove(drops) => {
                self.release_orphans(call.group, |_| true);
                drops
            }
        };
        for (file, count) in drops {
            self.discount(*file, u64::from(*count));
        }
    }

    fn release_orphans(&mut self, group: ShardId, gone: impl Fn(u64) -> bool) {
        if let Some(mut orphans) = self.orphans.remove(&group) {
            orphans.retain(|(index, file)| {
                if gone(*index) {
                    self.discount(*file, 1);
                }
                !gone(*index)
            });
            if !orphans.is_empty() {
                self.orphans.insert(group, orphans);
            }
        }
    }

    fn count(&mut self, file: u32, entries: u64) {
        if let Some(info) = self.files.get_mut(&u64::from(file)) {
            info.live += entries;
        }
    }

    fn count_written(&mut self, file: u32) {
        self.count(file, 1);
        if let Some(info) = self.files.get_mut(&u64::from(file)) {
            info.entries += 1;
        }
    }

    fn discount(&mut self, file: u32, entries: u64) {
        if let Some(info) = self.files.get_mut(&u64::from(file)) {
            info.live =
                info.live.checked_sub(entries).expect("a file has no fewer live entries than left it");
        }
    }

    fn fail_pending(&mut self, error: &LogError) {
        for pending in std::mem::take(&mut self.pending) {
            if let Pending::Done(call) = pending {
                call.answer(Err(error.clone()));
            }
        }
    }
}

/// Answers a call that could not be written. A full disk is the caller's alone where nothing depends on it.
fn answer_failed(call: Call, error: LogError, may_go_on: bool) -> Result<(), LogError> {
    call.answer(Err(error.clone()));
    match error {
        LogError::StorageFull { .. } if may_go_on => Ok(()),
        error => Err(error),
    }
}

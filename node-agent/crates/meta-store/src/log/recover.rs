//! Opening: what the mirrors hold together, and mending each from the others.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;

use bytes::Bytes;
use grid_types::ShardId;

use super::format::{
    ClosedFile, FileSeal, FileStart, Kind, LOG_DIR, Record, file_number, file_path, find_later_batch,
    parse_batch,
};
use super::head::Head;
use super::index::Place;
use super::mirror::{SPARE_PATH, write_zeros};
use super::{LogConfig, LogError};
use crate::home::HomeDrive;

/// The log as its mirrors hold it.
pub(crate) struct Recovered {
    /// Mirrors that could be read and mended.
    pub mirrors: Vec<HomeDrive>,
    pub groups: BTreeMap<ShardId, RecoveredGroup>,
    /// Complete files that still count.
    pub closed: Vec<ClosedFile>,
    /// The file that is written now.
    pub current: ClosedFile,
    /// Entries written to each file, dead ones included.
    pub entries: BTreeMap<u64, u64>,
    /// Number of the next batch.
    pub next_batch: u64,
    /// Highest file number seen; the next one must be higher.
    pub file_max: u64,
    /// Files (of single mirrors) that were rewritten from other mirrors.
    pub mended: u64,
}

pub(crate) struct RecoveredGroup {
    pub head: Head,
    /// From `head.first` on.
    pub places: VecDeque<Place>,
}

/// Reads the log from all mirrors of its set, and makes them alike.
pub(crate) fn recover(
    mirrors: Vec<HomeDrive>,
    log: &[u8; 16],
    config: &LogConfig,
) -> Result<Recovered, LogError> {
    let mut scan = Scan { mirrors, log: *log, file_bytes: config.file_bytes, mended: 0 };
    let files = scan.list()?;
    let (newest, start) = scan.newest(&files)?;

    let removed: BTreeSet<u64> =
        newest.records().filter(|(_, r)| r.kind == Kind::RemoveFile).map(|(_, r)| r.index).collect();
    let closed: Vec<ClosedFile> =
        start.files.iter().filter(|closed| !removed.contains(&closed.file)).copied().collect();

    let mut entries: BTreeMap<u64, u64> = BTreeMap::new();
    let mut written: HashMap<ShardId, BTreeMap<u64, Place>> = HashMap::new();
    for file in &closed {
        let image = scan.load(file.file, Some(file))?;
        for (at, record) in image.records().filter(|(_, r)| r.kind.is_entry()) {
            *entries.entry(file.file).or_default() += 1;
            // Later files win: the entry written last is the one that lives, if any does.
            written.entry(record.group).or_default().insert(record.index, place(file.file, at, &record)?);
        }
    }
    let groups = replay(&start, written, &newest)?;
    entries.insert(newest.file, newest.records().filter(|(_, r)| r.kind.is_entry()).count() as u64);

    let keep: BTreeSet<u64> = closed.iter().map(|closed| closed.file).chain([newest.file]).collect();
    scan.finish(&newest, &keep)?;
    let file_max = files.last().copied().unwrap_or(newest.file).max(newest.file);
    let current =
        ClosedFile { file: newest.file, first_batch: newest.first_batch, end: newest.bytes.len() as u64 };
    Ok(Recovered {
        mirrors: scan.mirrors,
        groups,
        closed,
        current,
        entries,
        next_batch: newest.next_batch,
        file_max,
        mended: scan.mended,
    })
}

/// The sound part of one file, put together from all mirrors.
struct Image {
    file: u64,
    seal: FileSeal,
    first_batch: u64,
    next_batch: u64,
    /// Where its last batch begins.
    last_batch_at: usize,
    bytes: Vec<u8>,
}

impl Image {
    fn records(&self) -> impl Iterator<Item = (u64, Record<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let view = parse_batch(self.seal, &self.bytes, at)?;
            at += view.len;
            Some(view.records)
        })
        .flatten()
    }
}

struct Scan {
    mirrors: Vec<HomeDrive>,
    log: [u8; 16],
    file_bytes: u64,
    mended: u64,
}

impl Scan {
    /// Runs `job` on each mirror; those that fail are out. An error where none is left.
    fn each<T>(&mut self, mut job: impl FnMut(&HomeDrive) -> io::Result<T>) -> Result<Vec<T>, LogError> {
        let mut results = Vec::new();
        let mut last = None;
        self.mirrors.retain(|mirror| match job(mirror) {
            Ok(result) => {
                results.push(result);
                true
            }
            Err(error) => {
                tracing::error!(drive = %mirror.id, %error, "a mirror of the metadata log fails at start");
                last = Some(error);
                false
            }
        });
        match last {
            Some(error) if results.is_empty() => Err(LogError::io("no mirror can be read or mended")(error)),
            _ => Ok(results),
        }
    }

    /// Numbers of the files on any mirror, ascending.
    fn list(&mut self) -> Result<Vec<u64>, LogError> {
        let lists = self.each(|mirror| mirror.disk.list(LOG_DIR))?;
        let numbers: BTreeSet<u64> =
            lists.iter().flatten().filter_map(|entry| file_number(&entry.name)).collect();
        Ok(numbers.into_iter().collect())
    }

    /// The newest file that came into use. A newer one without a single sound batch was never written to the end of
    /// its first sync.
    fn newest(&mut self, files: &[u64]) -> Result<(Image, FileStart), LogError> {
        for file in files.iter().rev() {
            let image = self.load(*file, None)?;
            if image.bytes.is_empty() {
                continue;
            }
            let start = image.records().next().filter(|(_, record)| record.kind == Kind::FileStart);
            let start = start.and_then(|(_, record)| FileStart::decode(record.payload));
            let start = start.ok_or_else(|| {
                LogError::Damaged(format!("log file {file:016x} was written by another release"))
            })?;
            return Ok((image, start));
        }
        Err(LogError::Damaged("no mirror holds a usable log file".to_owned()))
    }

    /// Reads a file from all mirrors and mends those that lack some of it.
    fn load(&mut self, file: u64, closed: Option<&ClosedFile>) -> Result<Image, LogError> {
        let path = file_path(file);
        let copies = self.each(|mirror| match mirror.disk.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })?;
        let seal = FileSeal::new(&self.log, file);
        let image = assemble(file, seal, &copies, closed)?;
        if !image.bytes.is_empty() {
            let mut copies = copies.iter();
            let (bytes, file_bytes) = (&image.bytes, self.file_bytes);
            let mut mended = 0;
            self.each(|mirror| {
                let copy = copies.next().and_then(Option::as_deref);
                if copy.is_some_and(|copy| copy.starts_with(bytes) && copy.len() as u64 >= file_bytes) {
                    return Ok(());
                }
                tracing::warn!(drive = %mirror.id, path, "a log file is mended from the other mirrors");
                mended += 1;
                mend(mirror, &path, bytes, file_bytes)
            })?;
            self.mended += mended;
        }
        Ok(image)
    }

    /// Makes durable what was found, and clears away what no longer counts.
    fn finish(&mut self, current: &Image, keep: &BTreeSet<u64>) -> Result<(), LogError> {
        let (at, last_batch) = (current.last_batch_at as u64, &current.bytes[current.last_batch_at..]);
        self.each(|mirror| {
            // What the process before wrote may still be in the cache alone. Its last sync may even have failed, and it was
            // killed before it could drop this mirror: then the kernel calls the batch clean though no disk has it.
            // Written once more, it is not. Names become durable with the mirror set, which every start writes anew.
            let file = mirror.disk.open(&file_path(current.file))?;
            file.write_all_at(at, last_batch)?;
            file.sync_data("log: reopened file")?;
            for entry in mirror.disk.list(LOG_DIR)? {
                let path = format!("{LOG_DIR}/{}", entry.name);
                let stale = file_number(&entry.name).is_some_and(|file| !keep.contains(&file));
                if stale || path == SPARE_PATH {
                    mirror.disk.remove(&path)?;
                }
            }
            Ok(())
        })
        .map(drop)
    }
}

/// Takes each batch from the first copy where it is sound.
fn assemble(
    file: u64,
    seal: FileSeal,
    copies: &[Option<Vec<u8>>],
    closed: Option<&ClosedFile>,
) -> Result<Image, LogError> {
    let copies: Vec<&[u8]> = copies.iter().flatten().map(Vec::as_slice).collect();
    let mut bytes = Vec::new();
    let mut last_batch_at = 0;
    let mut first_batch = closed.map(|closed| closed.first_batch);
    let mut next = first_batch;
    while closed.is_none_or(|closed| (bytes.len() as u64) < closed.end) {
        let at = bytes.len();
        let sound = copies.iter().find_map(|copy| {
            let view = parse_batch(seal, copy, at)?;
            next.is_none_or(|next| next == view.batch).then_some((copy, view.batch, view.len))
        });
        let Some((copy, batch, len)) = sound else { break };
        bytes.extend_from_slice(&copy[at..at + len]);
        last_batch_at = at;
        first_batch.get_or_insert(batch);
        next = Some(batch + 1);
    }
    let end = bytes.len();
    let broken = match closed {
        Some(closed) => end as u64 != closed.end,
        None => {
            let before = next.map_or(0, |next| next - 1);
            copies.iter().any(|copy| find_later_batch(seal, copy, end, before).is_some())
        }
    };
    if broken {
        return Err(LogError::Damaged(format!(
            "log file {file:016x} has no sound copy of what was written at byte {end}; {} mirror(s) were read",
            copies.len()
        )));
    }
    let (first_batch, next_batch) = (first_batch.unwrap_or(0), next.unwrap_or(0));
    Ok(Image { file, seal, first_batch, next_batch, last_batch_at, bytes })
}

/// Puts a file of a mirror's own in the place of one that is missing or not whole. Its bytes are durable before it has the
/// name, so a process that is killed here leaves nothing that looks whole and is not durable.
fn mend(mirror: &HomeDrive, path: &str, bytes: &[u8], file_bytes: u64) -> io::Result<()> {
    let disk = &mirror.disk;
    match disk.remove(SPARE_PATH) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_new(SPARE_PATH)?;
    write_zeros(&*file, file_bytes)?;
    file.write_all_at(0, bytes)?;
    file.sync_data("log: mended file")?;
    // The mirror set, written before anything is believed, syncs the directory.
    disk.rename(SPARE_PATH, path)
}

fn place(file: u64, at: u64, record: &Record<'_>) -> Result<Place, LogError> {
    let fits = || Some((u32::try_from(file).ok()?, u32::try_from(at).ok()?));
    let (file, offset) =
        fits().ok_or_else(|| LogError::Damaged(format!("log file {file:x} is numbered too high")))?;
    let len = u32::try_from(record.payload.len()).unwrap_or(u32::MAX);
    Ok(Place { file, offset, len })
}

/// The groups as the newest file begins with them, then what it says itself.
fn replay(
    start: &FileStart,
    mut written: HashMap<ShardId, BTreeMap<u64, Place>>,
    newest: &Image,
) -> Result<BTreeMap<ShardId, RecoveredGroup>, LogError> {
    let mut groups: BTreeMap<ShardId, Replayed> = BTreeMap::new();
    for stored in &start.groups {
        let mut places = written.remove(&stored.group).unwrap_or_default();
        // One that is missing lay in a file that went since, and must turn out to be purged or truncated below.
        let places = (stored.first..stored.end).map(|index| places.remove(&index)).collect();
        groups.insert(stored.group, Replayed { head: Head::from_stored(stored), places });
    }
    for (at, record) in newest.records() {
        let place = place(newest.file, at, &record)?;
        let group = record.group;
        match record.kind {
            Kind::FileStart | Kind::RemoveFile => {}
            Kind::RemoveGroup => drop(groups.remove(&group)),
            _ => groups.entry(group).or_default().apply(&record, place).ok_or_else(|| {
                LogError::Damaged(format!("entry {} of metadata shard {group} leaves a gap", record.index))
            })?,
        }
    }
    groups.into_iter().map(|(group, replayed)| Ok((group, replayed.finish(group)?))).collect()
}

/// A group during the replay.
#[derive(Default)]
struct Replayed {
    head: Head,
    places: VecDeque<Option<Place>>,
}

impl Replayed {
    fn finish(self, group: ShardId) -> Result<RecoveredGroup, LogError> {
        let missing = |index: u64| {
            LogError::Damaged(format!("entry {index} of metadata shard {group} is in no log file"))
        };
        let indexed = self.places.into_iter().zip(self.head.first..);
        let places = indexed.map(|(place, index)| place.ok_or_else(|| missing(index)));
        Ok(RecoveredGroup { places: places.collect::<Result<_, _>>()?, head: self.head })
    }

    fn apply(&mut self, record: &Record<'_>, place: Place) -> Option<()> {
        let payload = || Bytes::copy_from_slice(record.payload);
        let first = self.head.first;
        match record.kind {
            Kind::Entry => {
                if !self.head.entry(record.index) {
                    return None;
                }
                self.places.truncate(usize::try_from(record.index - self.head.first).ok()?);
                self.places.push_back(Some(place));
            }
            Kind::Moved => {
                let at = record.index.checked_sub(first).and_then(|at| usize::try_from(at).ok());
                if let Some(moved) = at.and_then(|at| self.places.get_mut(at)) {
                    *moved = Some(place);
                }
            }
            Kind::Vote => self.head.vote = Some(payload()),
            Kind::Truncate => {
                self.head.truncate_from(record.index);
                self.places.truncate(usize::try_from(self.head.end - self.head.first).ok()?);
            }
            Kind::Purge => {
                self.head.purge_through(record.index, payload());
                let gone = usize::try_from(self.head.first - first).unwrap_or(usize::MAX);
                self.places.drain(..gone.min(self.places.len()));
            }
            Kind::FileStart | Kind::RemoveGroup | Kind::RemoveFile => {}
        }
        Some(())
    }
}

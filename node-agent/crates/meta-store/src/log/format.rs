//! The bytes of a log file: batches of records, packed. docs/formats/log.md is the page.

use grid_types::ShardId;
use serde::{Deserialize, Serialize};

/// "SBT1": a batch of format version 1, little-endian.
const BATCH_MAGIC: u32 = u32::from_le_bytes(*b"SBT1");
/// Bytes before the records of a batch.
pub(crate) const BATCH_HEADER: usize = 24;
/// Bytes before the payload of a record.
pub(crate) const RECORD_HEADER: usize = 32;

/// Makes the checksums of one file of one log, so that bytes which an earlier use of a recycled file left never verify.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSeal(u32);

impl FileSeal {
    pub(crate) fn new(log: &[u8; 16], file: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(log), &file.to_le_bytes()))
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// What a record says. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// First record of a file; payload = `FileStart`.
    FileStart = 1,
    /// An entry: group, index, payload.
    Entry = 2,
    /// The vote of a group; payload = the vote.
    Vote = 3,
    /// Entries of a group from index on are gone.
    Truncate = 4,
    /// Entries of a group up to and with index are gone; payload = log id of the last of them.
    Purge = 5,
    /// Nothing of the group is left.
    RemoveGroup = 6,
    /// No live entry lies in file `index` any more; it will be removed or used again.
    RemoveFile = 7,
    /// An entry again, so that the file where it lay can go: group, index, payload. Changes nothing but its place.
    Moved = 8,
}

impl Kind {
    /// Does its payload belong to an entry?
    pub(crate) fn is_entry(self) -> bool {
        matches!(self, Self::Entry | Self::Moved)
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::FileStart,
            2 => Self::Entry,
            3 => Self::Vote,
            4 => Self::Truncate,
            5 => Self::Purge,
            6 => Self::RemoveGroup,
            7 => Self::RemoveFile,
            8 => Self::Moved,
            _ => return None,
        })
    }
}

/// A record as it lies in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub kind: Kind,
    pub group: ShardId,
    pub index: u64,
    pub payload: &'a [u8],
}

/// Payload of `Kind::FileStart`: all that earlier files say, but for the entries themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStart {
    /// The files that still count, this one excluded, oldest first.
    pub files: Vec<ClosedFile>,
    /// The groups.
    pub groups: Vec<GroupHead>,
}

/// A file that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedFile {
    /// Its number.
    pub file: u64,
    /// Number of its first batch.
    pub first_batch: u64,
    /// Where its last batch ends.
    pub end: u64,
}

/// A group without its entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupHead {
    pub group: ShardId,
    /// Index of the first entry.
    pub first: u64,
    /// Index after the last entry.
    pub end: u64,
    pub purged: Option<(u64, Vec<u8>)>,
    pub vote: Option<Vec<u8>>,
}

/// A batch under construction. `bytes` is what goes to disk once `finish` ran.
#[derive(Debug, Default)]
pub(crate) struct BatchBuffer {
    bytes: Vec<u8>,
}

impl BatchBuffer {
    /// Bytes of the batch with one more record of `payload` bytes.
    pub(crate) fn len_with(&self, payload: usize) -> u64 {
        (self.bytes.len().max(BATCH_HEADER) + RECORD_HEADER + payload) as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends a record; returns its offset in the batch.
    pub(crate) fn push(&mut self, seal: FileSeal, record: &Record<'_>) -> u64 {
        if self.bytes.is_empty() {
            self.bytes.resize(BATCH_HEADER, 0);
        }
        let at = self.bytes.len();
        let len = u32::try_from(record.payload.len()).expect("a record is smaller than a log file");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[record.kind as u8, 0, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&record.group.0.to_le_bytes());
        self.bytes.extend_from_slice(&record.index.to_le_bytes());
        self.bytes.extend_from_slice(record.payload);
        let crc = record_crc(seal, &self.bytes[at..]);
        self.bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at as u64
    }

    /// Writes the header and hands the bytes over; the buffer is empty again.
    pub(crate) fn finish(&mut self, seal: FileSeal, batch: u64) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let len = u32::try_from(bytes.len() - BATCH_HEADER).expect("a batch is smaller than a log file");
        bytes[0..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&batch.to_le_bytes());
        bytes[16..20].copy_from_slice(&len.to_le_bytes());
        let crc = seal.crc(&bytes[8..BATCH_HEADER]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The checksum runs over all of a record but itself.
fn record_crc(seal: FileSeal, record: &[u8]) -> u32 {
    crc32c::crc32c_append(seal.crc(&record[..4]), &record[8..])
}

/// A batch that verified, as found in a file.
pub(crate) struct BatchView<'a> {
    pub batch: u64,
    /// Bytes of the batch with its header.
    pub len: usize,
    /// Offset in the file, and the record.
    pub records: Vec<(u64, Record<'a>)>,
}

/// The batch at `at`, if it is whole and sound.
pub(crate) fn parse_batch(seal: FileSeal, file: &[u8], at: usize) -> Option<BatchView<'_>> {
    let (batch, body) = parse_header(seal, file, at)?;
    let start = at + BATCH_HEADER;
    let end = start.checked_add(body)?;
    let mut records = Vec::new();
    let mut next = start;
    while next < end {
        let record = parse_record(seal, file.get(next..end)?)?;
        let len = RECORD_HEADER + record.payload.len();
        records.push((next as u64, record));
        next += len;
    }
    (!records.is_empty()).then_some(BatchView { batch, len: BATCH_HEADER + body, records })
}

/// Number of the batch at `at` and the length of its records, if its header verifies.
fn parse_header(seal: FileSeal, file: &[u8], at: usize) -> Option<(u64, usize)> {
    let header = file.get(at..at.checked_add(BATCH_HEADER)?)?;
    if u32_at(header, 0) != BATCH_MAGIC || u32_at(header, 4) != seal.crc(&header[8..]) {
        return None;
    }
    Some((u64_at(header, 8), usize::try_from(u32_at(header, 16)).ok()?))
}

/// Looks for a whole batch with a number above `batch` behind `from`: the proof that what does not verify before it was
/// once durable.
pub(crate) fn find_later_batch(seal: FileSeal, file: &[u8], from: usize, batch: u64) -> Option<u64> {
    let magic = BATCH_MAGIC.to_le_bytes();
    (from..file.len().saturating_sub(BATCH_HEADER))
        .filter(|at| file[*at..].starts_with(&magic))
        .filter_map(|at| parse_batch(seal, file, at))
        .map(|view| view.batch)
        .find(|number| *number > batch)
}

/// The record at the start of `bytes`, if it is whole and sound.
pub(crate) fn parse_record(seal: FileSeal, bytes: &[u8]) -> Option<Record<'_>> {
    let header = bytes.get(..RECORD_HEADER)?;
    let len = usize::try_from(u32_at(header, 0)).ok()?;
    let record = bytes.get(..RECORD_HEADER.checked_add(len)?)?;
    if u32_at(header, 4) != record_crc(seal, record) {
        return None;
    }
    Some(Record {
        kind: Kind::from_number(header[8])?,
        group: ShardId(u64_at(header, 16)),
        index: u64_at(header, 24),
        payload: &record[RECORD_HEADER..],
    })
}

impl FileStart {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("plain data encodes")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Where the log lies on a drive.
pub(crate) const LOG_DIR: &str = "meta/log";

/// The path of a log file.
pub(crate) fn file_path(file: u64) -> String {
    format!("{LOG_DIR}/{file:016x}.log")
}

/// The number of a log file, from its name.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

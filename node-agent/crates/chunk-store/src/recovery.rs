//! What a drive does when it is opened: completes the index from the packs, cuts what lies behind the last mark.
//!
//! Invariants: a batch is written only after the one before it was synced, so only the last batch of the last pack may be
//! torn, and what is torn in it becomes void before another batch stands behind it; a bad record anywhere else is rot,
//! which is reported and passed over, and never makes another record unreachable.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use grid_types::ChunkKey;
use sys::DiskFile;

use crate::ChunkError;
use crate::compaction::drop_retired;
use crate::core::{DriveCore, site};
use crate::format::{
    FORMAT_VERSION, PACK_HEADER_BYTES, PRELUDE_BYTES, Prelude, decode_footer, decode_header,
    decode_pack_header,
};
use crate::frames::FrameShape;
use crate::index::{Covered, IndexChange, Place};
use crate::pack::{self, CurrentPack, PACKS};
use crate::scan::{PackScanner, Scanned};
use crate::source::Source;

/// Index changes that wait in memory during a long scan.
const FLUSH_CHANGES: usize = 1_024;
/// Copied at once when the last batch is written again.
const REWRITE_BYTES: u64 = 1 << 20;

/// Where the pack writer goes on.
pub(crate) struct Recovered {
    pub current: Option<CurrentPack>,
    pub next_number: u64,
    pub sequence: u64,
}

/// Records that one mark covers.
struct MarkedBatch {
    records: Vec<Scanned>,
    begin: u64,
    end: u64,
    sequence: u64,
    /// Between its records: no sound record begins there.
    gaps: Vec<Range<u64>>,
}

/// Brings index and packs in line.
pub(crate) fn recover(core: &DriveCore) -> Result<Recovered, ChunkError> {
    let sql = |error| core.index_error(error);
    let mut numbers = pack_numbers(core)?;
    let mut covered = core.index.covered().map_err(sql)?;
    if index_fits(core, covered, &numbers)? {
        for row in core.index.packs().map_err(sql)? {
            if row.retired {
                drop_retired(core, row.number)?;
                numbers.retain(|number| *number != row.number);
            }
        }
    } else {
        tracing::warn!(drive = %core.id, "index does not fit the packs and is rebuilt");
        core.index.clear().map_err(sql)?;
        covered = Covered { pack: 0, offset: 0, sequence: 0 };
    }
    let mut recovered =
        Recovered { current: None, next_number: covered.pack + 1, sequence: covered.sequence };
    let last = numbers.last().copied();
    for number in numbers.into_iter().filter(|number| *number >= covered.pack) {
        let from = if number == covered.pack { covered.offset } else { PACK_HEADER_BYTES };
        recovered.next_number = number + 1;
        recover_pack(core, number, from, Some(number) == last, &mut recovered)?;
    }
    core.index.flush().map_err(sql)?;
    Ok(recovered)
}

fn pack_numbers(core: &DriveCore) -> Result<Vec<u64>, ChunkError> {
    let entries = core.disk.list(PACKS).map_err(|error| core.io_error("listing packs", error))?;
    let mut numbers: Vec<u64> = entries.iter().filter_map(|entry| pack::parse_name(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Does the index speak of these packs? It does when the mark it covers stands where it says, and each side knows the
/// packs of the other.
fn index_fits(core: &DriveCore, covered: Covered, numbers: &[u64]) -> Result<bool, ChunkError> {
    let rows = core.index.packs().map_err(|error| core.index_error(error))?;
    if covered.pack == 0 {
        return Ok(rows.is_empty());
    }
    let known = |number: &u64| *number > covered.pack || rows.iter().any(|row| row.number == *number);
    let there = rows.iter().all(|row| row.retired || numbers.contains(&row.number));
    if !there || !numbers.iter().all(known) {
        return Ok(false);
    }
    let Some(file) = pack::open(core, covered.pack)? else { return Ok(false) };
    let Some(at) = covered.offset.checked_sub(PRELUDE_BYTES) else { return Ok(false) };
    let mut bytes = [0; PRELUDE_BYTES as usize];
    if file.read_exact_at(at, &mut bytes).is_err() {
        return Ok(false);
    }
    match Prelude::decode(&bytes, at) {
        Some(Prelude::Mark { sequence, .. }) => Ok(sequence == covered.sequence),
        Some(_) => Ok(false),
        None => {
            // Rot of the mark alone takes nothing away from rows that are all there.
            core.counters.corruptions.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(drive = %core.id, pack = covered.pack, "the last indexed mark is rotten");
            Ok(true)
        }
    }
}

fn recover_pack(
    core: &DriveCore,
    number: u64,
    from: u64,
    is_last: bool,
    recovered: &mut Recovered,
) -> Result<(), ChunkError> {
    let Some(file) = pack::open(core, number)? else { return Err(core.misuse("a pack vanished")) };
    let len = file.len().map_err(|error| core.io_error("asking a pack's length", error))?;
    check_header(core, &*file, number)?;
    let mut scanner = PackScanner::new(file.clone(), from, len);
    let mut end = from;
    let mut records = Vec::new();
    let mut gaps = Vec::new();
    let mut last_batch: Option<MarkedBatch> = None;
    while let Some(found) = scanner.next() {
        if found.skipped > 0 {
            gaps.push(found.offset - found.skipped..found.offset);
        }
        match found.prelude {
            Prelude::Mark { sequence, .. } => {
                if let Some(batch) = last_batch.take() {
                    apply(core, &file, number, batch, false)?;
                }
                let batch_end = scanner.at();
                let (records, gaps) = (std::mem::take(&mut records), std::mem::take(&mut gaps));
                last_batch = Some(MarkedBatch { records, begin: end, end: batch_end, sequence, gaps });
                recovered.sequence = recovered.sequence.max(sequence);
                end = batch_end;
            }
            Prelude::Chunk { .. } | Prelude::Tombstone(_) => records.push(found),
            Prelude::Void { .. } => {}
        }
    }
    let rewrite = last_batch.as_ref().map(|batch| batch.begin..batch.end);
    let torn = match last_batch {
        Some(batch) => apply(core, &file, number, batch, is_last)?,
        None => Vec::new(),
    };
    if !is_last {
        return Ok(());
    }
    if end == PACK_HEADER_BYTES {
        // No batch was ever synced in it.
        core.open_packs.forget(number);
        return core
            .disk
            .remove(&pack::path(number))
            .map_err(|error| core.io_error("removing an empty pack", error));
    }
    if len > end {
        tracing::info!(drive = %core.id, pack = number, bytes = len - end, "unfinished batch cut off");
        file.set_len(end).map_err(|error| core.io_error("cutting an unfinished batch", error))?;
    }
    if let Some(range) = rewrite {
        // Nobody checks the frames of this batch again once another one stands behind it.
        for range in torn {
            make_void(core, &*file, range)?;
        }
        // The process before may have ended before its sync, or been told that it failed: then the kernel calls these
        // bytes clean though no disk has them. Written once more, they are not.
        let mut at = range.start;
        while at < range.end {
            let piece = (range.end - at).min(REWRITE_BYTES);
            let mut bytes = vec![0; piece as usize];
            file.read_exact_at(at, &mut bytes)
                .map_err(|error| core.io_error("reading the last batch", error))?;
            file.write_all_at(at, &bytes)
                .map_err(|error| core.io_error("writing the last batch again", error))?;
            at += piece;
        }
        core.sync_file(site::PACK_REOPEN, &*file)?;
    }
    if end < core.config.pack_bytes_max {
        recovered.current = Some(CurrentPack { number, file, len: end });
    }
    Ok(())
}

fn check_header(core: &DriveCore, file: &dyn DiskFile, number: u64) -> Result<(), ChunkError> {
    let mut header = [0; PACK_HEADER_BYTES as usize];
    let read = file.read_exact_at(0, &mut header);
    match read.map_err(|error| error.to_string()).and_then(|()| decode_pack_header(&header)) {
        Ok((version, ..)) if version != FORMAT_VERSION => {
            let what = format!("pack {number} has version {version}: a newer release wrote it");
            let source = std::io::Error::new(std::io::ErrorKind::Unsupported, what);
            Err(ChunkError::Io { drive: core.id, operation: "opening a pack", source })
        }
        Ok((_, drive, _)) if drive != core.id => {
            let what = format!("pack {number} belongs to drive {drive}");
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
            Err(ChunkError::Io { drive: core.id, operation: "opening a pack", source })
        }
        Ok((_, _, stored)) if stored == number => Ok(()),
        // Its records say all there is to know, so a rotten header takes nothing away.
        Ok(_) | Err(_) => {
            tracing::warn!(drive = %core.id, pack = number, "header of a pack is damaged");
            Ok(())
        }
    }
}

/// Writes a void record over a torn one, so that no later opening takes it for a chunk.
fn make_void(core: &DriveCore, file: &dyn DiskFile, range: Range<u64>) -> Result<(), ChunkError> {
    let Ok(record_len) = u32::try_from(range.end - range.start) else {
        return Err(core.misuse("a torn record longer than any record"));
    };
    if u64::from(record_len) < PRELUDE_BYTES {
        // Too short for a record, hence never taken for one.
        return Ok(());
    }
    let prelude = Prelude::Void { record_len }.encode();
    file.write_all_at(range.start, &prelude)
        .map_err(|error| core.io_error("writing over a torn record", error))
}

/// Tells the index of a batch. `maybe_torn`: it may never have been synced, so its frames are checked too. Returns
/// where its bad records lie.
fn apply(
    core: &DriveCore,
    file: &Arc<dyn DiskFile>,
    number: u64,
    batch: MarkedBatch,
    maybe_torn: bool,
) -> Result<Vec<Range<u64>>, ChunkError> {
    let mut changes = Vec::with_capacity(batch.records.len());
    let mut bad = batch.gaps;
    let before = core.counters.corruptions.load(Ordering::Relaxed);
    for record in &batch.records {
        match record.prelude {
            Prelude::Tombstone(key) => changes.push(IndexChange::Remove(key, number)),
            Prelude::Chunk { key, .. } => match locate(file, number, record, key) {
                Some(place)
                    if !maybe_torn || Source::packed(file.clone(), &place).verify(core, key).is_ok() =>
                {
                    changes.push(IndexChange::Put(key, place));
                }
                _ => bad.push(record.offset..record.offset + record.prelude.record_len()),
            },
            Prelude::Mark { .. } | Prelude::Void { .. } => {}
        }
    }
    let records = bad.len() as u64;
    if records > 0 && maybe_torn {
        // Bytes that were never promised are no corruption.
        core.counters.corruptions.store(before, Ordering::Relaxed);
        tracing::info!(drive = %core.id, pack = number, records, "torn records of an unfinished batch passed over");
    } else if records > 0 {
        tracing::warn!(drive = %core.id, pack = number, records, "rotten records of a pack passed over");
        core.counters.corruptions.fetch_add(records, Ordering::Relaxed);
    }
    core.index.apply(&changes, Covered { pack: number, offset: batch.end, sequence: batch.sequence });
    if core.index.waiting() >= FLUSH_CHANGES {
        core.index.flush().map_err(|error| core.index_error(error))?;
    }
    Ok(bad)
}

/// Header and footer of a record, checked; `None` where they are rotten.
fn locate(file: &Arc<dyn DiskFile>, number: u64, record: &Scanned, key: ChunkKey) -> Option<Place> {
    let Prelude::Chunk { header_len, footer_len, record_len, .. } = record.prelude else { return None };
    let (header_len, footer_len) = (u64::from(header_len), u64::from(footer_len));
    let end = record.offset + u64::from(record_len);
    let mut bytes = vec![0; header_len as usize];
    file.read_exact_at(record.offset + PRELUDE_BYTES, &mut bytes).ok()?;
    let (header, len) = decode_header(key, &bytes).ok()?;
    bytes.resize(footer_len as usize, 0);
    file.read_exact_at(end - footer_len, &mut bytes).ok()?;
    let footer = decode_footer(key, &bytes).ok()?;
    let shape = FrameShape::of(&header, footer.plain_len);
    let place = Place {
        pack: number,
        offset: record.offset,
        len: u64::from(record_len),
        header_len,
        footer_len,
        shape,
    };
    let whole = PRELUDE_BYTES + header_len + shape.frames_len() + footer_len;
    (len as u64 == header_len && whole == place.len).then_some(place)
}

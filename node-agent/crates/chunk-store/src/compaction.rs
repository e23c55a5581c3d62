//! Moves what lives in a pack to the pack that is appended to, so that its file can go.
//!
//! Invariants: a record is copied and synced before the index names the copy, and the index has forgotten the pack before
//! its file goes; a tombstone is carried on while a dead record of its chunk is in another pack, or a rebuilt index
//! would bring the chunk back; dead records are forgotten only after their file is gone durably.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use sys::DiskFile;

use crate::ChunkError;
use crate::core::{DriveCore, site};
use crate::format::{PACK_HEADER_BYTES, Prelude};
use crate::index::Place;
use crate::pack::{self, Batch};
use crate::scan::PackScanner;

/// Bytes that one step copies: the longest that writers of small chunks wait for a compaction.
const STEP_BYTES: u64 = 2 << 20;
/// Records that one step looks at.
const STEP_RECORDS: usize = 2_048;
/// Places that the index names and the scan did not find, taken at once.
const LEFT_AT_ONCE: usize = 64;

pub(crate) struct Compaction {
    pack: u64,
    /// `None` when only the removal of its file is left to do.
    scanner: Option<PackScanner>,
    file: Option<Arc<dyn DiskFile>>,
}

impl Compaction {
    /// The pack with the least live data, if less than half of it lives.
    pub fn choose(core: &DriveCore, stuck: &HashSet<u64>) -> Result<Option<Self>, ChunkError> {
        let packs = core.index.packs().map_err(|error| core.index_error(error))?;
        // The one that is appended to holds the mark that the index covers; so does the last one when it is full.
        let covered = core.index.covered().map_err(|error| core.index_error(error))?;
        let candidates = packs.iter().filter(|pack| {
            pack.number != covered.pack
                && !stuck.contains(&pack.number)
                && (pack.retired || pack.live < pack.len / 2)
        });
        let Some(chosen) = candidates.min_by_key(|pack| if pack.retired { 0 } else { pack.live + 1 }) else {
            return Ok(None);
        };
        let pack = chosen.number;
        if chosen.retired {
            return Ok(Some(Self { pack, scanner: None, file: None }));
        }
        let file = pack::open(core, pack)?;
        let scanner = file.as_ref().map(|file| PackScanner::new(file.clone(), PACK_HEADER_BYTES, chosen.len));
        Ok(Some(Self { pack, scanner, file }))
    }

    pub fn pack(&self) -> u64 {
        self.pack
    }

    /// Copies some of what lives; true when nothing is left.
    pub fn step(&mut self, core: &DriveCore, batch: &mut Batch) -> Result<bool, ChunkError> {
        let sql = |error| core.index_error(error);
        let Some(file) = &self.file else { return Ok(true) };
        core.index.flush().map_err(sql)?;
        if let Some(scanner) = &mut self.scanner {
            for _ in 0..STEP_RECORDS {
                if batch.bytes() >= STEP_BYTES {
                    return Ok(false);
                }
                let Some(found) = scanner.next() else {
                    self.scanner = None;
                    return Ok(false);
                };
                match found.prelude {
                    Prelude::Chunk { key, .. } => {
                        let place = core.index.lookup(key).map_err(sql)?;
                        if let Some(place) = place.filter(|p| p.pack == self.pack && p.offset == found.offset)
                        {
                            batch.copy(key, &place, read_record(core, &**file, &place)?);
                        }
                    }
                    Prelude::Tombstone(key) => {
                        let alive = core.index.lookup(key).map_err(sql)?.is_some();
                        if !alive && core.index.dead_elsewhere(key, self.pack).map_err(sql)? {
                            batch.carried_tombstone(key);
                        }
                    }
                    Prelude::Mark { .. } | Prelude::Void { .. } => {}
                }
            }
            return Ok(false);
        }
        // Live records whose prelude rotted: the index still knows where they are.
        let left = core.index.left_in(self.pack, LEFT_AT_ONCE).map_err(sql)?;
        for (key, place) in &left {
            batch.copy(*key, place, read_record(core, &**file, place)?);
        }
        Ok(left.is_empty())
    }

    /// Removes the pack's file. Readers that opened it before read on; those that come too late ask the index again.
    pub fn retire(&self, core: &DriveCore) -> Result<(), ChunkError> {
        let sql = |error| core.index_error(error);
        core.index.flush().map_err(sql)?;
        core.index.retire(self.pack).map_err(sql)?;
        drop_retired(core, self.pack)
    }
}

/// Removes the file of a retired pack, then what the index remembers of it.
pub(crate) fn drop_retired(core: &DriveCore, number: u64) -> Result<(), ChunkError> {
    core.open_packs.forget(number);
    match core.disk.remove(&pack::path(number)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(core.io_error("removing a compacted pack", error));
        }
        _ => {}
    }
    core.sync_dir(site::PACK_REMOVAL, pack::PACKS)?;
    core.index.forget_pack(number).map_err(|error| core.index_error(error))
}

fn read_record(core: &DriveCore, file: &dyn DiskFile, place: &Place) -> Result<Bytes, ChunkError> {
    let len = usize::try_from(place.len).map_err(|_| core.misuse("record longer than memory"))?;
    let mut buffer = core.buffers.take(len);
    file.read_exact_at(place.offset, buffer.as_mut())
        .map_err(|error| core.io_error("reading a pack for compaction", error))?;
    Ok(buffer.freeze())
}

//! The bytes of one simulated file: what the cache shows, what the medium holds, and what lies between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Survival;

/// Unit of allocation, in bytes.
pub(super) const PAGE_BYTES: u64 = 4_096;
/// Unit of tearing, in bytes.
const SECTOR_BYTES: u64 = 512;
/// Earlier unsynced versions kept of one sector.
const VERSIONS_KEPT: usize = 3;

const PAGE: usize = PAGE_BYTES as usize;
const SECTOR: usize = SECTOR_BYTES as usize;

type Page = Arc<[u8; PAGE]>;
type Sector = [u8; SECTOR];
type Pages = BTreeMap<u64, Page>;

/// Absent pages read as zeros.
#[derive(Default)]
pub(super) struct Content {
    pages: Pages,
    len: u64,
    durable: Pages,
    durable_len: u64,
    /// Sectors that differ from the medium, with earlier versions that the kernel may have written back.
    dirty: BTreeMap<u64, Vec<Sector>>,
    /// Lengths since the last sync, without the newest.
    lengths: Vec<u64>,
    reserved: u64,
    unlinked: bool,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that count against the capacity.
    pub(super) fn charged(&self) -> u64 {
        if self.unlinked {
            return 0;
        }
        (self.pages.len() as u64 * PAGE_BYTES).max(self.reserved.next_multiple_of(PAGE_BYTES))
    }

    pub(super) fn unlink(&mut self) {
        self.unlinked = true;
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let wanted = self.len.saturating_sub(offset).min(buf.len() as u64);
        let wanted = usize::try_from(wanted).unwrap_or(buf.len());
        for (at, piece) in pieces(offset, wanted, PAGE_BYTES) {
            let (page, within) = (at / PAGE_BYTES, small(at % PAGE_BYTES));
            let target = &mut buf[piece.clone()];
            match self.pages.get(&page) {
                Some(page) => target.copy_from_slice(&page[within..within + piece.len()]),
                None => target.fill(0),
            }
        }
        wanted
    }

    /// Writes as much as fits into `pages_left` more pages; how much that was.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], pages_left: u64) -> usize {
        let reserved_pages = self.reserved.div_ceil(PAGE_BYTES);
        let spare = reserved_pages.saturating_sub(self.pages.len() as u64);
        let mut room = if self.unlinked { u64::MAX } else { pages_left.saturating_add(spare) };
        let mut written = 0;
        for (at, piece) in pieces(offset, bytes.len(), SECTOR_BYTES) {
            if !self.pages.contains_key(&(at / PAGE_BYTES)) {
                if room == 0 {
                    break;
                }
                room -= 1;
            }
            self.note(at / SECTOR_BYTES);
            let within = small(at % PAGE_BYTES);
            let page = self.pages.entry(at / PAGE_BYTES).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + piece.len()].copy_from_slice(&bytes[piece.clone()]);
            written = piece.end;
        }
        if written > 0 {
            self.change_len(self.len.max(offset + written as u64));
        }
        written
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let first_gone = len.div_ceil(PAGE_BYTES);
            let gone: Vec<u64> = self.pages.range(first_gone..).map(|(page, _)| *page).collect();
            for page in gone {
                for sector in sectors_of(page) {
                    self.note(sector);
                }
                self.pages.remove(&page);
            }
            let (page, within) = (len / PAGE_BYTES, small(len % PAGE_BYTES));
            if within > 0 && self.pages.contains_key(&page) {
                for sector in sectors_of(page).filter(|sector| (sector + 1) * SECTOR_BYTES > len) {
                    self.note(sector);
                }
                if let Some(page) = self.pages.get_mut(&page) {
                    Arc::make_mut(page)[within..].fill(0);
                }
            }
        }
        self.change_len(len);
    }

    /// False where `pages_left` more pages do not suffice.
    pub(super) fn reserve(&mut self, len: u64, pages_left: u64) -> bool {
        let missing = len.saturating_sub(self.charged()).div_ceil(PAGE_BYTES);
        if missing > pages_left && !self.unlinked {
            return false;
        }
        self.reserved = self.reserved.max(len);
        true
    }

    /// Makes all durable; with a survival, only what survives, and the rest is clean all the same.
    pub(super) fn sync(&mut self, failing: Option<Survival<'_>>) {
        match failing {
            None => {
                let pages: std::collections::BTreeSet<u64> =
                    self.dirty.keys().map(|sector| sector * SECTOR_BYTES / PAGE_BYTES).collect();
                for page in pages {
                    // Clean sectors of the page whose sync failed before must stay lost.
                    let whole = sectors_of(page).all(|sector| self.dirty.contains_key(&sector));
                    match self.pages.get(&page) {
                        Some(bytes) if whole => {
                            self.durable.insert(page, bytes.clone());
                        }
                        _ => {
                            for sector in sectors_of(page).filter(|s| self.dirty.contains_key(s)) {
                                let bytes = self.sector(sector);
                                put_sector(&mut self.durable, sector, &bytes);
                            }
                        }
                    }
                }
                self.durable_len = self.len;
            }
            Some(survival) => self.settle(&survival),
        }
        self.dirty.clear();
        self.lengths.clear();
    }

    /// The file as the next boot finds it.
    pub(super) fn after_power_cut(&mut self, survival: &Survival<'_>) -> Self {
        self.settle(survival);
        self.dirty.clear();
        self.lengths.clear();
        Self {
            pages: self.durable.clone(),
            len: self.durable_len,
            durable: self.durable.clone(),
            durable_len: self.durable_len,
            ..Self::default()
        }
    }

    pub(super) fn corrupt(&mut self, offset: u64, mask: u8) {
        for pages in [&mut self.pages, &mut self.durable] {
            let page = pages.entry(offset / PAGE_BYTES).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[small(offset % PAGE_BYTES)] ^= mask;
        }
    }

    /// Moves what survives to the medium.
    fn settle(&mut self, survival: &Survival<'_>) {
        for (sector, versions) in &self.dirty {
            if !survival.survives() {
                continue;
            }
            let bytes = match versions.get(survival.pick(versions.len() + 1)) {
                Some(earlier) => *earlier,
                None => self.sector(*sector),
            };
            put_sector(&mut self.durable, *sector, &bytes);
        }
        if survival.survives() {
            let pick = survival.pick(self.lengths.len() + 1);
            self.durable_len = self.lengths.get(pick).copied().unwrap_or(self.len);
        }
        // Beyond its length a file holds nothing: growing it again gives zeros.
        self.durable.split_off(&self.durable_len.div_ceil(PAGE_BYTES));
        let within = small(self.durable_len % PAGE_BYTES);
        if let Some(page) = self.durable.get_mut(&(self.durable_len / PAGE_BYTES)).filter(|_| within > 0) {
            Arc::make_mut(page)[within..].fill(0);
        }
    }

    /// A sector is about to change: keep the version that an earlier unsynced write left.
    fn note(&mut self, sector: u64) {
        let earlier = self.sector(sector);
        self.dirty
            .entry(sector)
            .and_modify(|versions| {
                if versions.len() < VERSIONS_KEPT {
                    versions.push(earlier);
                }
            })
            .or_default();
    }

    fn change_len(&mut self, len: u64) {
        if len != self.len {
            self.lengths.push(self.len);
            self.len = len;
        }
    }

    fn sector(&self, sector: u64) -> Sector {
        let mut bytes = [0; SECTOR];
        let at = sector * SECTOR_BYTES;
        if let Some(page) = self.pages.get(&(at / PAGE_BYTES)) {
            let within = small(at % PAGE_BYTES);
            bytes.copy_from_slice(&page[within..within + SECTOR]);
        }
        bytes
    }
}

fn put_sector(pages: &mut Pages, sector: u64, bytes: &Sector) {
    let at = sector * SECTOR_BYTES;
    let within = small(at % PAGE_BYTES);
    let page = pages.entry(at / PAGE_BYTES).or_insert_with(|| Arc::new([0; PAGE]));
    Arc::make_mut(page)[within..within + SECTOR].copy_from_slice(bytes);
}

fn sectors_of(page: u64) -> impl Iterator<Item = u64> {
    let per_page = PAGE_BYTES / SECTOR_BYTES;
    page * per_page..(page + 1) * per_page
}

/// Cuts `len` bytes at `offset` where they cross a multiple of `unit`: place on disk and range in the buffer.
fn pieces(offset: u64, len: usize, unit: u64) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let piece = small(unit - at % unit).min(len - done);
        done += piece;
        Some((at, done - piece..done))
    })
}

/// An offset within a page.
fn small(n: u64) -> usize {
    usize::try_from(n).expect("offsets within a page fit")
}

//! A simulated directory that keeps unsynced writes apart and, at a power cut, drops, reorders or tears any subset of them.
//!
//! Faults it injects, all drawn from its seed:
//!
//! - **Power cut** (`power_cut`, or after so many operations by `PowerSupply::cut_after`): each 512-byte sector written
//!   since the last sync of its file survives in its newest, one of its earlier, or its durable version; the length of
//!   the file is any that it had since; each create, rename and remove (file or directory) since the last sync of its
//!   directory survives or not, independently of the others; a rename survives whole or not at all. What was synced
//!   survives. A cut in the middle of an operation leaves that operation unsynced.
//! - **Failed sync** (`fail_sync`): any part of what was to be synced is durable; the rest stays readable but is *clean*,
//!   as on Linux: a later sync succeeds and does not write it.
//! - **Full disk** (`set_capacity`): a write that runs out of room leaves the part that fitted, and fails.
//! - **Unreadable file** (`fail_reads`), **flipped bits** (`corrupt`), **pulled drive** (`pull`): each later operation fails.
//! - **Stalled drive** (`stall`): changes and syncs do not end before the power goes.
//!
//! Stricter than any Linux file system in two points: syncing a file does not make its name durable, and a new
//! directory is a name in its parent.

mod content;
mod names;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::content::{Content, PAGE_BYTES};
use self::names::Names;
use super::real::{check_file_path, check_path};
use super::{DirEntry, Disk, DiskFile, Space};
use crate::random::{Random, SeededRandom};

/// The power of one simulated machine: disks that share it die in the same instant. Clones share it.
#[derive(Clone)]
pub struct PowerSupply {
    /// Operations left; negative = no end is set, `OFF` = off.
    left: Arc<AtomicI64>,
}

/// What `PowerSupply::left` says when the power is off.
const POWER_OFF: i64 = 0;

impl Default for PowerSupply {
    fn default() -> Self {
        Self { left: Arc::new(AtomicI64::new(-1)) }
    }
}

impl PowerSupply {
    /// A supply that lasts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `operations` (> 0) changing operations (write, sync, create, rename, remove, set length) begin; the last
    /// of them is cut short, and nothing succeeds after it.
    pub fn cut_after(&self, operations: u64) {
        self.left.store(i64::try_from(operations).unwrap_or(i64::MAX).max(1), Ordering::SeqCst);
    }

    /// Off, now.
    pub fn cut(&self) {
        self.left.store(POWER_OFF, Ordering::SeqCst);
    }

    /// Is it off?
    pub fn is_off(&self) -> bool {
        self.left.load(Ordering::SeqCst) == POWER_OFF
    }

    /// Takes one operation off the count; true where the power lasts to its end.
    fn spend(&self) -> bool {
        let spend = |left: i64| (left > 0).then_some(left - 1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend) {
            Ok(before) => before > 1,
            Err(left) => left != POWER_OFF,
        }
    }
}

/// A simulated directory that keeps unsynced writes apart and, at a power cut, drops, reorders or tears any subset of them.
/// Clones are the same disk.
#[derive(Clone)]
pub struct FaultDisk {
    shared: Arc<Shared>,
}

struct Shared {
    power: PowerSupply,
    seed: u64,
    random: Arc<SeededRandom>,
    syncs: Arc<AtomicU64>,
    stalled: AtomicBool,
    state: Arc<Mutex<State>>,
}

struct State {
    names: Names,
    capacity: u64,
    used: u64,
    /// Syncs until one fails; 0 = none will.
    sync_fails_in: u64,
    unreadable: BTreeSet<String>,
    pulled: bool,
}

/// Between two looks of a stalled operation at the power.
const STALL_LOOK: Duration = Duration::from_millis(1);
/// Room of a disk whose capacity nobody set.
const CAPACITY_DEFAULT: u64 = 1 << 40;

fn eio() -> io::Error {
    rustix::io::Errno::IO.into()
}

fn unpowered() -> io::Error {
    io::Error::other("the power of this simulated disk is off")
}

impl FaultDisk {
    /// An empty disk whose faults are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_power(seed, &PowerSupply::new())
    }

    /// As `new`, on the power supply of a machine.
    pub fn with_power(seed: u64, power: &PowerSupply) -> Self {
        Self::build(seed, power, Names::default(), CAPACITY_DEFAULT)
    }

    fn build(seed: u64, power: &PowerSupply, names: Names, capacity: u64) -> Self {
        let used = names.used();
        let state =
            State { names, capacity, used, sync_fails_in: 0, unreadable: BTreeSet::new(), pulled: false };
        Self {
            shared: Arc::new(Shared {
                power: power.clone(),
                seed,
                random: Arc::new(SeededRandom::new(seed)),
                syncs: Arc::new(AtomicU64::new(0)),
                stalled: AtomicBool::new(false),
                state: Arc::new(Mutex::new(state)),
            }),
        }
    }

    /// Cuts the power: what was not synced survives, vanishes or tears sector by sector, as the seed says; open handles
    /// fail from now on. Returns the disk as the next boot finds it, on a power supply of its own.
    pub fn power_cut(&self) -> Self {
        self.power_cut_to(&PowerSupply::new())
    }

    /// As `power_cut`; the next boot's disk is on `next`. Ask all disks of a machine.
    pub fn power_cut_to(&self, next: &PowerSupply) -> Self {
        self.shared.power.cut();
        let mut state = self.shared.state.lock();
        let names = state.names.after_power_cut(&Survival::draw(&self.shared.random));
        Self::build(self.shared.seed.wrapping_add(1), next, names, state.capacity)
    }

    /// The same disk, with what its cache holds, on another supply. A process that is killed while its machine goes on:
    /// cut its supply, then start the next process on `restarted`.
    pub fn restarted(&self, power: &PowerSupply) -> Self {
        let (random, syncs) = (self.shared.random.clone(), self.shared.syncs.clone());
        let (power, state, seed) = (power.clone(), self.shared.state.clone(), self.shared.seed);
        let stalled = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { power, seed, random, syncs, stalled, state }) }
    }

    /// Bytes of the disk in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.state.lock().capacity = bytes;
    }

    /// The `nth` sync from now (1 = the next; 0 = none), of a file or a directory, fails with EIO.
    pub fn fail_sync(&self, nth: u64) {
        self.shared.state.lock().sync_fails_in = nth;
    }

    /// Reads of this file fail with EIO.
    pub fn fail_reads(&self, path: &str) {
        self.shared.state.lock().unreadable.insert(path.to_owned());
    }

    /// Flips the bits of `mask` in one byte, on the medium and in the cache.
    pub fn corrupt(&self, path: &str, offset: u64, mask: u8) -> io::Result<()> {
        let state = self.shared.state.lock();
        let file = state.names.file(path)?;
        file.lock().corrupt(offset, mask);
        Ok(())
    }

    /// Pulls the drive: each operation fails with EIO from now on.
    pub fn pull(&self) {
        self.shared.state.lock().pulled = true;
    }

    /// Plugs a pulled drive in again; what was unsynced then still is.
    pub fn plug(&self) {
        self.shared.state.lock().pulled = false;
    }

    /// Changes and syncs that begin from now on hang until the power goes; reads go on.
    pub fn stall(&self) {
        self.shared.stalled.store(true, Ordering::SeqCst);
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::SeqCst)
    }
}

/// Which unsynced changes outlive a power cut.
struct Survival<'a> {
    random: &'a SeededRandom,
    /// Chance in 256 that one change survives.
    chance: u64,
}

impl<'a> Survival<'a> {
    /// In a quarter of the cuts nothing unsynced survives, in another one everything does.
    fn draw(random: &'a SeededRandom) -> Self {
        let chance = match random.below(4) {
            0 => 0,
            1 => 256,
            _ => random.below(257),
        };
        Self { random, chance }
    }

    fn survives(&self) -> bool {
        match self.chance {
            0 => false,
            256 => true,
            chance => self.random.below(256) < chance,
        }
    }

    /// Where a change had several versions: which of `count` it is.
    fn pick(&self, count: usize) -> usize {
        if self.chance == 256 {
            return count - 1;
        }
        usize::try_from(self.random.below(count as u64)).unwrap_or(0)
    }
}

impl Shared {
    /// The state, if the disk still answers.
    fn state(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        if self.power.is_off() {
            return Err(unpowered());
        }
        let state = self.state.lock();
        if state.pulled { Err(eio()) } else { Ok(state) }
    }

    /// Hangs while the drive is stalled.
    fn hang(&self) {
        while self.stalled.load(Ordering::SeqCst) && !self.power.is_off() {
            std::thread::sleep(STALL_LOOK);
        }
    }

    /// Runs a change. Where the power goes during it, it has happened to the cache alone, and fails.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.hang();
        let mut state = self.state()?;
        if self.power.is_off() {
            return Err(unpowered());
        }
        let lasts = self.power.spend();
        let done = change(&mut state)?;
        if lasts { Ok(done) } else { Err(unpowered()) }
    }

    /// Runs a sync: cut short, it has not happened. `sync(state, None)` succeeds, with a survival it fails and leaves
    /// what survives.
    fn sync(&self, sync: impl FnOnce(&mut State, Option<Survival<'_>>) -> io::Result<()>) -> io::Result<()> {
        self.hang();
        let mut state = self.state()?;
        if !self.power.spend() {
            return Err(unpowered());
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        let fails = state.sync_fails_in == 1;
        state.sync_fails_in = state.sync_fails_in.saturating_sub(1);
        if fails {
            sync(&mut state, Some(Survival::draw(&self.random)))?;
            return Err(eio());
        }
        sync(&mut state, None)
    }

    fn handle(self: &Arc<Self>, path: &str, file: FileNode) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile { shared: self.clone(), path: path.to_owned(), file })
    }
}

/// A file's bytes, shared by the names and handles that lead to it.
type FileNode = Arc<Mutex<Content>>;

impl Disk for FaultDisk {
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_file_path(path)?;
        let file = self.shared.change(|state| state.names.create(path))?;
        Ok(self.shared.handle(path, file))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_file_path(path)?;
        let file = self.shared.state()?.names.file(path)?;
        Ok(self.shared.handle(path, file))
    }

    fn open_read(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_file_path(from)?;
        check_file_path(to)?;
        self.shared.change(|state| {
            let replaced = state.names.rename(from, to)?;
            state.release(replaced);
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        check_file_path(path)?;
        self.shared.change(|state| {
            let removed = state.names.remove(path)?;
            state.release(Some(removed));
            Ok(())
        })
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        check_path(path)?;
        self.shared.change(|state| state.names.create_dir_all(path))
    }

    fn sync_dir(&self, path: &str, _site: &'static str) -> io::Result<()> {
        check_path(path)?;
        self.shared.sync(|state, survival| state.names.sync(path, survival))
    }

    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        check_path(path)?;
        self.shared.state()?.names.list(path)
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.shared.state()?;
        Ok(Space { total: state.capacity, free: state.capacity.saturating_sub(state.used) })
    }

    fn file_system(&self) -> io::Result<String> {
        let _answers = self.shared.state()?;
        Ok(format!("fault:{:p}", Arc::as_ptr(&self.shared.state)))
    }

    fn local_path(&self, _path: &str) -> Option<PathBuf> {
        None
    }
}

impl State {
    /// A name went: its room is free at once, handles or not.
    fn release(&mut self, file: Option<FileNode>) {
        if let Some(file) = file {
            let mut content = file.lock();
            self.used -= content.charged();
            content.unlink();
        }
    }

    /// Runs `grow` on a file and keeps the books.
    fn charge(&mut self, content: &mut Content, grow: impl FnOnce(&mut Content, u64)) {
        let before = content.charged();
        let pages = self.capacity.saturating_sub(self.used) / PAGE_BYTES;
        grow(content, pages);
        self.used = self.used - before + content.charged();
    }
}

struct FaultFile {
    shared: Arc<Shared>,
    path: String,
    file: FileNode,
}

impl DiskFile for FaultFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.shared.state()?;
        if state.unreadable.contains(&self.path) {
            return Err(eio());
        }
        Ok(self.file.lock().read(offset, buf))
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.shared.change(|state| {
            let mut written = 0;
            state.charge(&mut self.file.lock(), |content, pages| {
                written = content.write(offset, bytes, pages);
            });
            if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync_data(&self, _site: &'static str) -> io::Result<()> {
        self.shared.sync(|_, survival| {
            self.file.lock().sync(survival);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        let _answers = self.shared.state()?;
        Ok(self.file.lock().len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.shared.change(|state| {
            state.charge(&mut self.file.lock(), |content, _| content.set_len(len));
            Ok(())
        })
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.shared.change(|state| {
            let mut fits = false;
            state.charge(&mut self.file.lock(), |content, pages| fits = content.reserve(len, pages));
            if fits { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
        })
    }

    fn start_writeback(&self, _offset: u64, _len: u64) {}
}

//! A segment store over simulated drives, each a failure domain of its own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveLabel, label};
use grid_types::{
    BucketId, Cipher, DriveId, DriveSnapshot, DriveState, FailureDomain, GridId, GridSnapshot, MemoryBudget,
    NodeId, ObjectKey, Profile, ProfileChoice, Score, Segment, SegmentOwner, Timestamp, VersionId,
};
use keyring::{BucketKey, RootKey};
use parking_lot::{Condvar, Mutex};
use sys::{Clock, DirEntry, Disk, DiskFile, FaultDisk, PowerSupply, Random, RealClock, SeededRandom, Space};

use crate::format::SegmentIdentity;
use crate::{GridView, SegmentConfig, SegmentError, SegmentSpec, SegmentStore};

pub(super) const BUDGET: u64 = 64 << 20;

/// A disk on which reads or writes of chunks can be held up.
#[derive(Clone)]
pub(super) struct GatedDisk {
    pub inner: Arc<FaultDisk>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Default)]
struct GateState {
    reads_shut: bool,
    writes_shut: bool,
}

impl GatedDisk {
    pub fn new(seed: u64, power: &PowerSupply) -> Self {
        Self { inner: Arc::new(FaultDisk::with_power(seed, power)), gate: Arc::default() }
    }

    /// Reads wait until `open`.
    pub fn shut_reads(&self) {
        self.gate.state.lock().reads_shut = true;
    }

    /// Writes wait until `open`.
    pub fn shut_writes(&self) {
        self.gate.state.lock().writes_shut = true;
    }

    pub fn open_gate(&self) {
        *self.gate.state.lock() = GateState::default();
        self.gate.opened.notify_all();
    }

    /// All files with their lengths.
    pub fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in self.inner.list(&folder).unwrap() {
                let path = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
                if entry.is_dir { folders.push(path) } else { files.push((path, entry.len)) }
            }
        }
        files.sort();
        files
    }
}

struct GatedFile {
    inner: Arc<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl Gate {
    fn pass(&self, shut: impl Fn(&GateState) -> bool) {
        let mut state = self.state.lock();
        while shut(&state) {
            self.opened.wait(&mut state);
        }
    }
}

impl Disk for GatedDisk {
    fn create_new(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.gate.pass(|state| state.writes_shut);
        Ok(Arc::new(GatedFile { inner: self.inner.create_new(path)?, gate: self.gate.clone() }))
    }
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile { inner: self.inner.open(path)?, gate: self.gate.clone() }))
    }
    fn open_read(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile { inner: self.inner.open_read(path)?, gate: self.gate.clone() }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.inner.remove(path)
    }
    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }
    fn sync_dir(&self, path: &str, site: &'static str) -> io::Result<()> {
        self.inner.sync_dir(path, site)
    }
    fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        self.inner.list(path)
    }
    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
    fn file_system(&self) -> io::Result<String> {
        self.inner.file_system()
    }
    fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.inner.local_path(path)
    }
}

impl DiskFile for GatedFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.gate.pass(|state| state.reads_shut);
        self.inner.read_at(offset, buf)
    }
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass(|state| state.writes_shut);
        self.inner.write_all_at(offset, bytes)
    }
    fn sync_data(&self, site: &'static str) -> io::Result<()> {
        self.inner.sync_data(site)
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.inner.reserve(len)
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        self.inner.start_writeback(offset, len);
    }
}

/// Drives, keys and a store over them.
pub(super) struct Rig {
    pub store: SegmentStore,
    pub chunks: ChunkStore,
    pub disks: Vec<GatedDisk>,
    pub ids: Vec<DriveId>,
    pub key: BucketKey,
    pub budget: MemoryBudget,
    pub grid: GridView,
    pub power: PowerSupply,
    random: Arc<SeededRandom>,
}

pub(super) fn patient() -> SegmentConfig {
    // Other tests share the machine: nothing is cut off or left behind because a thread had to wait.
    SegmentConfig {
        lag_patience: Duration::from_secs(60),
        finish_grace_min: Duration::from_secs(60),
        finish_grace_max: Duration::from_secs(60),
        hedge_min: Duration::from_secs(60),
        stall_max: Duration::from_secs(120),
        ..SegmentConfig::default()
    }
}

impl Rig {
    pub fn new(drives: u8) -> Self {
        Self::with(drives, patient(), BUDGET)
    }

    pub fn with(drives: u8, config: SegmentConfig, budget: u64) -> Self {
        Self::seeded(u64::from(drives) * 1000, drives, config, budget)
    }

    /// What survives a power cut, and every id, follows from the seed.
    pub fn seeded(seed: u64, drives: u8, config: SegmentConfig, budget: u64) -> Self {
        let power = PowerSupply::new();
        let disks: Vec<GatedDisk> =
            (0..drives).map(|number| GatedDisk::new(seed + u64::from(number), &power)).collect();
        for (disk, number) in disks.iter().zip(1..) {
            let (grid, node) = (GridId::from_bytes([9; 16]), NodeId::from_bytes([8; 16]));
            let (drive, created) = (DriveId::from_bytes([number; 16]), Timestamp::default());
            label::create(disk, &DriveLabel { grid, node, drive, generation: 1, created }, true).unwrap();
        }
        let random = SeededRandom::new(seed);
        let (key, _) = RootKey::generate(&random).new_bucket_key(BucketId::from_bytes([5; 16]), 3, &random);
        Self::on(disks, power, key, random, config, budget)
    }

    /// Cuts the power of the whole machine, which loses, reorders or tears what was not synced, and starts it again.
    pub fn power_cut(&self) -> Self {
        let next = PowerSupply::new();
        self.power.cut();
        let cut = |disk: &GatedDisk| GatedDisk {
            inner: Arc::new(disk.inner.power_cut_to(&next)),
            gate: Arc::default(),
        };
        let disks = self.disks.iter().map(cut).collect();
        let random = SeededRandom::new(u64::from_le_bytes(self.random.id()[..8].try_into().unwrap()));
        Self::on(disks, next, self.key.clone(), random, patient(), BUDGET)
    }

    fn on(
        disks: Vec<GatedDisk>,
        power: PowerSupply,
        key: BucketKey,
        random: SeededRandom,
        config: SegmentConfig,
        budget: u64,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let random = Arc::new(random);
        let mut opened = Vec::new();
        let mut snapshots = Vec::new();
        for (disk, number) in disks.iter().zip(1..) {
            let id = DriveId::from_bytes([number; 16]);
            let drive_config =
                DriveConfig { reserve_per_mille: 0, reserve_bytes_min: 0, ..DriveConfig::default() };
            opened.push(Drive::open(Arc::new(disk.clone()), clock.clone(), drive_config).unwrap());
            snapshots.push(DriveSnapshot {
                id,
                node: NodeId::from_bytes([8; 16]),
                file_system: FailureDomain(format!("disk {number}")),
                state: DriveState::Active,
                read_score: Score::BEST,
                write_score: Score::BEST,
                total_bytes: 1 << 40,
                free_bytes: 1 << 39,
            });
        }
        let grid = GridView::default();
        grid.publish(GridSnapshot { epoch: 1, drives: snapshots, all_have_aes: true });
        let chunks = ChunkStore::new(opened);
        let budget = MemoryBudget::new("segments", budget, 64);
        let store = SegmentStore::new(chunks.clone(), grid.clone(), random.clone(), budget.clone(), config);
        let ids = grid.load().drives.iter().map(|drive| drive.id).collect();
        Self { store, chunks, disks, ids, key, budget, grid, power, random }
    }

    pub fn identity(&self) -> SegmentIdentity {
        SegmentIdentity {
            bucket: BucketId::from_bytes([5; 16]),
            key: ObjectKey::new("folder/object").unwrap(),
            owner: SegmentOwner { version: VersionId::from_bytes([6; 16]), part: 2, number: 7 },
        }
    }

    pub fn spec(&self, profile: ProfileChoice, plain_len_max: u64) -> SegmentSpec {
        SegmentSpec { bucket_key: self.key.clone(), identity: self.identity(), profile, plain_len_max }
    }

    /// Writes in pieces of uneven length.
    pub async fn put_as(&self, profile: ProfileChoice, plain: &[u8]) -> Result<Segment, SegmentError> {
        let mut writer = self.store.begin(self.spec(profile, plain.len() as u64)).await?;
        let whole = Bytes::copy_from_slice(plain);
        let mut at = 0;
        let mut piece = 1;
        while at < plain.len() {
            let end = plain.len().min(at + piece);
            writer.write(whole.slice(at..end)).await?;
            at = end;
            piece = piece * 3 % 200_003 + 1;
        }
        writer.finish(Some(b"the record".to_vec())).await
    }

    pub async fn put(&self, profile: &str, plain: &[u8]) -> Segment {
        let profile: Profile = profile.parse().unwrap();
        self.put_as(ProfileChoice::Fixed(profile), plain).await.unwrap()
    }

    pub async fn get(&self, segment: &Segment, range: std::ops::Range<u64>) -> Result<Vec<u8>, SegmentError> {
        let mut reader = self.store.read(segment.clone(), self.key.clone(), range);
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            let piece = piece?;
            assert!(!piece.is_empty(), "an empty piece says nothing");
            bytes.extend_from_slice(&piece);
        }
        assert!(reader.next().await.is_none(), "the end stays the end");
        Ok(bytes)
    }

    pub async fn get_all(&self, segment: &Segment) -> Result<Vec<u8>, SegmentError> {
        self.get(segment, 0..segment.length).await
    }

    pub fn drive(&self, id: DriveId) -> Drive {
        self.chunks.drive(id).unwrap()
    }

    pub fn disk(&self, id: DriveId) -> &GatedDisk {
        &self.disks[self.ids.iter().position(|known| *known == id).unwrap()]
    }

    /// Removes chunk `index` from its drive, behind the store's back.
    pub async fn lose(&self, segment: &Segment, index: u8) {
        let (chunk, drive) = segment.chunks().find(|(chunk, _)| chunk.index == index).unwrap();
        self.drive(drive).remove(vec![chunk]).await.unwrap();
    }

    /// All chunks on all drives that answer.
    pub async fn stored(&self) -> usize {
        let mut count = 0;
        for drive in self.chunks.drives() {
            count += drive.list(None, 1000).await.map_or(0, |chunks| chunks.len());
        }
        count
    }

    /// Waits for what runs in the background, by events of the drives: no time is asserted.
    pub async fn until_stored(&self, expect: usize) {
        for _ in 0..2000 {
            if self.stored().await == expect {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} chunks are stored, {expect} should be", self.stored().await);
    }

    /// As `until_stored`, for memory.
    pub async fn until_budget_is_back(&self) {
        for _ in 0..2000 {
            if self.budget.available() == self.budget.total() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} of {} bytes are back", self.budget.available(), self.budget.total());
    }
}

/// Bytes that repeat nowhere within a segment's packets.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

pub(super) fn fixed(profile: &str) -> ProfileChoice {
    ProfileChoice::Fixed(profile.parse().unwrap())
}

pub(super) const CIPHERS: [Cipher; 2] = [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

/// Other bytes in place of a chunk, with frame hashes that are right.
pub(super) async fn forge(drive: &Drive, segment: &Segment, chunk: grid_types::ChunkKey) {
    let info = drive.info(chunk).await.unwrap();
    let layout =
        codec::SegmentLayout::new(segment.length, segment.profile.data_chunks(), segment.block_packets);
    let blocks = drive.read_frames(chunk, 0, layout.stripes()).await.unwrap();
    drive.remove(vec![chunk]).await.unwrap();
    let header = chunk_store::ChunkHeader { plain_len: 0, ..info.header };
    let mut writer = drive.begin(header, layout.chunk_payload_len()).await.unwrap();
    for (number, block) in (0..).zip(blocks) {
        let mut forged = block.to_vec();
        forged[100] ^= 1;
        let hash = codec::FrameHasher::new(chunk).hash(number, &forged);
        writer.write_frame(hash, vec![Bytes::from(forged)]).await.unwrap();
    }
    writer.finish(segment.length, info.footer).await.unwrap();
}

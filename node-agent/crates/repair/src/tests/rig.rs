//! Drives, segments, metadata and workers of one node; faults between workers and metadata.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveLabel, label};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{
    BucketId, BucketName, ChunkKey, DriveId, DriveSnapshot, DriveState, ErrorCode, FailureDomain, GridId,
    GridSnapshot, MemoryBudget, NodeId, ObjectKey, ProfileChoice, Score, Segment, SegmentId, SegmentOwner,
    ShardId, Timestamp, VersionId,
};
use keyring::{BucketKey, RootKey};
use meta_store::home::HomeDrive;
use meta_store::query::{ClassedSegmentPage, SegmentFilter};
use meta_store::root::Bucket;
use meta_store::rows::{GarbageRow, SegmentRow, VersionRow};
use meta_store::{Command, MetaConfig, MetaError, MetaStore, WriteCondition};
use parking_lot::Mutex;
use rpc::Services;
use rpc::memory::MemoryNet;
use segment_store::format::SegmentIdentity;
use segment_store::remote::CHUNK_SERVICE;
use segment_store::{
    ChunkService, ChunkServiceConfig, GridView, RemoteConfig, SegmentConfig, SegmentSpec, SegmentStore,
};
use sys::{Clock, FaultDisk, Random, RealClock, RealDisk, SeededRandom, SimClock};

use crate::{RepairConfig, RepairContext, RowPage, SegmentRows, Step, Worker};

/// Real rows, with faults on the way.
pub(super) struct FaultyRows {
    pub meta: MetaStore,
    /// The next relocation happens, and its answer is lost.
    pub lose_answer: AtomicBool,
    /// The next relocation comes too late: the object is deleted before it.
    pub delete_before: Mutex<Option<String>>,
    /// The next exchange comes too late: the object is overwritten before it.
    pub overwrite_before: Mutex<Option<(String, Written)>>,
    /// The next exchange gets lost on its way.
    pub lose_command: AtomicBool,
    /// Exchanges wait for ever.
    pub stop_before: AtomicBool,
    /// Nothing answers.
    pub away: AtomicBool,
}

/// A segment that waits for its commit.
pub(super) type Written = (VersionId, SegmentOwner, Segment);

fn unavailable() -> MetaError {
    MetaError::Unavailable { shard: ShardId(1), reason: "a test took it away".to_owned() }
}

impl FaultyRows {
    async fn delete_what_is_doomed(&self, bucket: BucketId) -> Result<(), MetaError> {
        let doomed = self.delete_before.lock().take();
        let Some(name) = doomed else { return Ok(()) };
        let command = Command::DeleteVersion {
            bucket,
            key: ObjectKey::new(name).unwrap(),
            bucket_generation: 1,
            version: None,
            condition: WriteCondition::None,
        };
        self.meta.commit(self.meta.new_op(), command).await.map(drop)
    }

    fn up(&self) -> Result<(), MetaError> {
        if self.away.load(Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
    }
}

impl SegmentRows for FaultyRows {
    fn shards(&self) -> Vec<ShardId> {
        self.meta.shards()
    }
    fn segments_on_drive(
        &self,
        shard: ShardId,
        drive: DriveId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RowPage, MetaError>> {
        async move {
            self.up()?;
            self.meta.segments_on_drive(shard, drive, cursor, limit).await
        }
        .boxed()
    }
    fn incomplete_segments(
        &self,
        shard: ShardId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<RowPage, MetaError>> {
        async move {
            self.up()?;
            self.meta.incomplete_segments(shard, cursor, limit).await
        }
        .boxed()
    }
    fn segments_that(
        &self,
        shard: ShardId,
        wanted: SegmentFilter,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> BoxFuture<'_, Result<ClassedSegmentPage, MetaError>> {
        async move {
            self.up()?;
            self.meta.segments_that(shard, wanted, cursor, limit).await
        }
        .boxed()
    }
    fn bucket_id(&self, name: BucketName) -> BoxFuture<'_, Result<Option<BucketId>, MetaError>> {
        async move {
            self.up()?;
            Ok(self.meta.bucket(&name).await?.map(|bucket| bucket.id))
        }
        .boxed()
    }
    fn find_segment(
        &self,
        segment: SegmentId,
    ) -> BoxFuture<'_, Result<Option<(BucketId, ObjectKey, SegmentRow)>, MetaError>> {
        async move {
            self.up()?;
            self.meta.find_segment(segment).await
        }
        .boxed()
    }
    fn garbage(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<GarbageRow>, MetaError>> {
        async move {
            self.up()?;
            self.meta.garbage(shard, before, limit).await
        }
        .boxed()
    }
    fn garbage_done(&self, shard: ShardId, sequences: Vec<u64>) -> BoxFuture<'_, Result<(), MetaError>> {
        async move {
            self.up()?;
            self.meta.garbage_done(shard, sequences).await
        }
        .boxed()
    }
    fn reap(&self, segments: Vec<SegmentId>) -> BoxFuture<'_, Result<Vec<SegmentId>, MetaError>> {
        async move {
            self.up()?;
            self.meta.reap(segments).await
        }
        .boxed()
    }
    fn relocate(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        owner: SegmentOwner,
        segment: SegmentId,
        index: u8,
        expected: Option<DriveId>,
        new: Option<DriveId>,
    ) -> BoxFuture<'_, Result<(), MetaError>> {
        async move {
            self.up()?;
            self.delete_what_is_doomed(bucket).await?;
            self.meta.relocate(bucket, &key, owner, segment, index, expected, new).await?;
            if self.lose_answer.swap(false, Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
        }
        .boxed()
    }
    fn replace_segment(
        &self,
        bucket: BucketId,
        key: ObjectKey,
        owner: SegmentOwner,
        expected: SegmentId,
        new: Segment,
    ) -> BoxFuture<'_, Result<(), MetaError>> {
        async move {
            self.up()?;
            if self.stop_before.load(Ordering::SeqCst) {
                // For ever: whoever waits is cut off.
                std::future::pending::<()>().await;
            }
            self.delete_what_is_doomed(bucket).await?;
            let overwritten = self.overwrite_before.lock().take();
            if let Some((name, written)) = overwritten {
                self.meta.commit(self.meta.new_op(), put_version(bucket, &name, written)).await?;
            }
            if self.lose_command.swap(false, Ordering::SeqCst) {
                return Err(unavailable());
            }
            self.meta.replace_segment(bucket, &key, owner, expected, new).await?;
            if self.lose_answer.swap(false, Ordering::SeqCst) { Err(unavailable()) } else { Ok(()) }
        }
        .boxed()
    }
}

pub(super) struct Rig {
    pub disks: Vec<FaultDisk>,
    pub ids: Vec<DriveId>,
    pub chunks: ChunkStore,
    pub grid: GridView,
    pub segments: SegmentStore,
    pub rows: Arc<FaultyRows>,
    pub context: Arc<RepairContext>,
    /// Of a grid of several nodes: each node's, the first one's included.
    pub contexts: Vec<Arc<RepairContext>>,
    /// Between them.
    pub net: MemoryNet,
    /// The number of the node that leads the metadata.
    pub leader: Arc<AtomicUsize>,
    /// Does each drive stand on a node of its own?
    spread: bool,
    pub clock: SimClock,
    pub random: Arc<SeededRandom>,
    key: BucketKey,
    bucket: Bucket,
    _home: tempfile::TempDir,
}

pub(super) fn test_config() -> RepairConfig {
    RepairConfig { page: 3, rebuild_settle: Duration::ZERO, ..RepairConfig::default() }
}

/// Bytes of an object, by its name and length.
pub(super) fn body(name: &str, len: usize) -> Vec<u8> {
    let seed = name.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut bytes = vec![0; len];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

impl Rig {
    pub async fn new(drives: u8) -> Self {
        Self::with(drives, test_config(), 1).await
    }

    pub async fn with(drives: u8, config: RepairConfig, seed: u64) -> Self {
        Self::built(drives, config, seed, false).await
    }

    /// So many nodes with one drive each; the metadata is led by the first.
    pub async fn nodes(nodes: u8) -> Self {
        Self::built(nodes, test_config(), 1, true).await
    }

    async fn built(drives: u8, config: RepairConfig, seed: u64, spread: bool) -> Self {
        let clock = SimClock::new(RealClock.now());
        let random = Arc::new(SeededRandom::new(seed));
        let ids: Vec<_> = (1..=drives).map(|number| DriveId::from_bytes([number; 16])).collect();
        let (mut disks, mut opened) = (Vec::new(), Vec::new());
        for (number, id) in (0..).zip(&ids) {
            let disk = FaultDisk::new(seed << 8 | number);
            label::create(&disk, &label_of(*id), false).unwrap();
            opened.push(open(&disk));
            disks.push(disk);
        }
        let chunks = ChunkStore::new(opened.clone());
        let grid = GridView::default();
        let segment_config = SegmentConfig {
            lag_patience: Duration::from_secs(60),
            finish_grace_min: Duration::from_secs(60),
            finish_grace_max: Duration::from_secs(60),
            hedge_min: Duration::from_secs(60),
            stall_max: Duration::from_secs(120),
            accept_degraded: true,
            remote: RemoteConfig {
                // Of a node that is away; the others must always be in time.
                remove_max: Duration::from_secs(1),
                ..RemoteConfig::default()
            },
            ..SegmentConfig::default()
        };
        let budget = MemoryBudget::new("segments", 64 << 20, 64);
        let net = MemoryNet::default();
        let leader = Arc::new(AtomicUsize::new(0));
        // Each node with the drives that it sees as its own.
        let stores: Vec<(ChunkStore, SegmentStore)> = if spread {
            let spread_over = |(number, drive): (u8, &Drive)| {
                let own = ChunkStore::new(vec![drive.clone()]);
                let services = Services::default();
                let service = ChunkService::new(own.clone(), ChunkServiceConfig::default());
                services.add(CHUNK_SERVICE, Arc::new(service));
                let node = node_of(usize::from(number), true);
                let segments = SegmentStore::spread(
                    node,
                    net.join(node, services),
                    own.clone(),
                    grid.clone(),
                    random.clone(),
                    budget.clone(),
                    segment_config.clone(),
                );
                (own, segments)
            };
            (0..).zip(&opened).map(spread_over).collect()
        } else {
            let segments =
                SegmentStore::new(chunks.clone(), grid.clone(), random.clone(), budget, segment_config);
            vec![(chunks.clone(), segments)]
        };
        let segments = stores[0].1.clone();
        let home = tempfile::tempdir().unwrap();
        let mirror = HomeDrive { id: ids[0], disk: Arc::new(RealDisk::open(home.path()).unwrap()) };
        let meta = MetaStore::found(vec![mirror], MetaConfig::default(), Arc::new(RealClock), random.clone())
            .await
            .unwrap();
        let id = BucketId::from_bytes([5; 16]);
        let bucket = Bucket {
            id,
            name: "photos".parse().unwrap(),
            created: clock.now(),
            owner: "ann".to_owned(),
            generation: 1,
            settings: Vec::new(),
        };
        meta.create_bucket(bucket.clone(), vec![1]).await.unwrap();
        let (key, _) = RootKey::generate(&*random).new_bucket_key(id, 1, &*random);
        let rows = Arc::new(FaultyRows {
            meta,
            lose_answer: AtomicBool::new(false),
            delete_before: Mutex::default(),
            overwrite_before: Mutex::default(),
            lose_command: AtomicBool::new(false),
            stop_before: AtomicBool::new(false),
            away: AtomicBool::new(false),
        });
        let context_of = |(number, (own, segments)): (usize, &(ChunkStore, SegmentStore))| {
            let leader = leader.clone();
            let context = RepairContext::new(
                own.clone(),
                segments.clone(),
                rows.clone(),
                Arc::new(clock.clone()),
                random.clone(),
                || 0.0,
                config.clone(),
            );
            let context = context.with_choices(choice_of_class, Vec::new());
            Arc::new(context.led_by(move |_| leader.load(Ordering::SeqCst) == number))
        };
        let contexts: Vec<Arc<RepairContext>> = stores.iter().enumerate().map(context_of).collect();
        let rig = Self {
            disks,
            ids,
            chunks,
            grid,
            segments,
            rows,
            context: contexts[0].clone(),
            contexts,
            net,
            leader,
            spread,
            clock,
            random,
            key,
            bucket,
            _home: home,
        };
        rig.set_states(&[]);
        rig
    }

    /// Publishes the grid: all drives active but for these.
    pub fn set_states(&self, states: &[(usize, DriveState)]) {
        let drives = (0usize..).zip(&self.ids).filter_map(|(number, id)| {
            let state =
                states.iter().find(|(at, _)| *at == number).map_or(DriveState::Active, |(_, state)| *state);
            (state != DriveState::Removed).then(|| DriveSnapshot {
                id: *id,
                node: node_of(number, self.spread),
                file_system: FailureDomain(format!("disk {number}")),
                state,
                read_score: Score::BEST,
                write_score: Score::BEST,
                total_bytes: 1 << 40,
                free_bytes: 1 << 39,
            })
        });
        let epoch = self.grid.load().epoch + 1;
        self.grid.publish(GridSnapshot { epoch, drives: drives.collect(), all_have_aes: true });
    }

    /// The drive is gone: its handle fails and the grid calls it failing.
    pub fn fail_drive(&self, number: usize) {
        self.drive(number).take_out_of_service("a test pulled it");
        self.set_states(&[(number, DriveState::Failing)]);
    }

    pub fn drive(&self, number: usize) -> Drive {
        self.chunks.drive(self.ids[number]).unwrap()
    }

    pub async fn write_segment(&self, name: &str, profile: &str, len: usize) -> Written {
        let version = VersionId::from_bytes(self.random.id());
        let owner = SegmentOwner { version, part: 1, number: 0 };
        let identity = SegmentIdentity { bucket: self.bucket.id, key: ObjectKey::new(name).unwrap(), owner };
        let spec = SegmentSpec {
            bucket_key: self.key.clone(),
            identity,
            profile: profile.parse().unwrap(),
            plain_len_max: len as u64,
        };
        let mut writer = self.segments.begin(spec).await.unwrap();
        writer.write(Bytes::from(body(name, len))).await.unwrap();
        (version, owner, writer.finish(None).await.unwrap())
    }

    pub async fn commit(&self, name: &str, written: Written) -> Result<(), MetaError> {
        let command = put_version(self.bucket.id, name, written);
        self.rows.meta.commit(self.rows.meta.new_op(), command).await.map(drop)
    }

    pub async fn put(&self, name: &str, profile: &str, len: usize) -> Segment {
        let written = self.write_segment(name, profile, len).await;
        self.commit(name, written.clone()).await.unwrap();
        written.2
    }

    pub async fn delete(&self, name: &str) {
        let command = Command::DeleteVersion {
            bucket: self.bucket.id,
            key: ObjectKey::new(name).unwrap(),
            bucket_generation: 1,
            version: None,
            condition: WriteCondition::None,
        };
        self.rows.meta.commit(self.rows.meta.new_op(), command).await.unwrap();
    }

    /// The segment of an object, as its row says now.
    pub async fn segment(&self, name: &str) -> Segment {
        let key = ObjectKey::new(name).unwrap();
        let row = self.rows.meta.object(self.bucket.id, &key, None).await.unwrap().unwrap();
        row.segments[0].segment.clone()
    }

    /// Reads the object and compares every byte.
    pub async fn check(&self, name: &str, len: usize) -> Result<(), ErrorCode> {
        let segment = self.segment(name).await;
        let mut reader = self.segments.read(segment.clone(), self.key.clone(), 0..segment.length);
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece.map_err(|error| error.code())?);
        }
        assert!(bytes == body(name, len), "`{name}` reads back other bytes");
        Ok(())
    }

    /// As `check`, without the chunks of one drive.
    pub async fn check_without(&self, name: &str, len: usize, number: usize) {
        let mut segment = self.segment(name).await;
        for drive in segment.drives.iter_mut().filter(|drive| **drive == Some(self.ids[number])) {
            *drive = None;
        }
        let mut reader = self.segments.read(segment.clone(), self.key.clone(), 0..segment.length);
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        assert!(bytes == body(name, len), "`{name}` reads back other bytes without drive {number}");
    }

    /// Every chunk that the row names is on its drive, good, and no drive holds two of them.
    pub async fn check_whole(&self, name: &str) {
        let segment = self.segment(name).await;
        assert!(!segment.incomplete(), "`{name}` lacks a chunk: {segment:?}");
        let mut drives: Vec<_> = segment.drives.clone();
        drives.sort();
        drives.dedup();
        assert_eq!(drives.len(), segment.drives.len(), "`{name}` has two chunks on one drive");
        for (chunk, drive) in segment.chunks() {
            self.chunks.drive(drive).unwrap().verify(chunk).await.unwrap();
        }
    }

    /// Chunks on all drives that answer.
    pub async fn stored(&self) -> Vec<(ChunkKey, DriveId)> {
        let mut stored = Vec::new();
        for drive in self.chunks.drives() {
            let keys = drive.list(None, 10_000).await.unwrap_or_default();
            stored.extend(keys.into_iter().map(|key| (key, drive.id())));
        }
        stored.sort();
        stored
    }

    /// Chunks on drives that answer which no object of these names has.
    pub async fn surplus(&self, names: &[&str]) -> Vec<(ChunkKey, DriveId)> {
        let mut stored = self.stored().await;
        for name in names {
            let segment = self.segment(name).await;
            stored.retain(|found| !segment.chunks().any(|named| named == *found));
        }
        stored
    }

    /// Flips a bit in the middle of a chunk.
    pub async fn damage(&self, chunk: ChunkKey, drive: DriveId) {
        let number = self.ids.iter().position(|id| *id == drive).unwrap();
        let path = format!("chunks/{:02x}/{chunk}", chunk.segment.as_bytes()[0]);
        let disk = &self.disks[number];
        disk.corrupt(&path, 4_096 + 32 + 77, 2).unwrap();
        assert!(self.drive(number).verify(chunk).await.is_err());
    }
}

/// A plain PUT of one segment; what is called `fixed…` is of a class of its own.
fn put_version(bucket: BucketId, name: &str, (version, owner, segment): Written) -> Command {
    let row = VersionRow {
        version,
        stamp: Timestamp(0),
        size: segment.length,
        etag: "00".repeat(16),
        storage_class: if name.starts_with("fixed") { "FIXED" } else { "STANDARD" }.to_owned(),
        key_generation: 1,
        attributes: Vec::new(),
        checksum_tag: 0,
        part_count: 0,
        segment_count: 1,
        delete_marker: false,
    };
    Command::PutVersion {
        bucket,
        key: ObjectKey::new(name).unwrap(),
        bucket_generation: 1,
        version: row,
        inline: None,
        segments: vec![(owner, segment)],
        condition: WriteCondition::None,
    }
}

pub(super) fn choice_of_class(class: &str) -> Option<ProfileChoice> {
    match class {
        "STANDARD" => Some(ProfileChoice::Auto),
        "FIXED" => "copies:1".parse().ok(),
        _ => None,
    }
}

/// The node that holds a drive.
pub(super) fn node_of(number: usize, spread: bool) -> NodeId {
    NodeId::from_bytes([if spread { 100 + number as u8 } else { 8 }; 16])
}

pub(super) fn label_of(id: DriveId) -> DriveLabel {
    DriveLabel {
        grid: GridId::from_bytes([9; 16]),
        node: NodeId::from_bytes([8; 16]),
        drive: id,
        generation: 1,
        created: Timestamp(1),
    }
}

pub(super) fn open(disk: &FaultDisk) -> Drive {
    let config = DriveConfig {
        pack_chunk_bytes_max: 4_096,
        reserve_per_mille: 0,
        reserve_bytes_min: 0,
        io_threads: 1,
        ..DriveConfig::default()
    };
    Drive::open(Arc::new(disk.clone()), Arc::new(RealClock), config).unwrap()
}

/// Steps until the worker is idle; panics on errors of steps.
pub(super) async fn run(worker: &mut dyn Worker) -> Duration {
    for _ in 0..10_000 {
        if let Step::Idle(wait) = worker.step().await.unwrap() {
            return wait;
        }
    }
    panic!("{} never rests", worker.name());
}

impl Rig {
    /// Another context over the same stores, as after a restart, which is told nothing of classes.
    pub fn context_with(&self, config: RepairConfig) -> RepairContext {
        RepairContext::new(
            self.chunks.clone(),
            self.segments.clone(),
            self.rows.clone(),
            Arc::new(self.clock.clone()),
            self.random.clone(),
            || 0.0,
            config,
        )
    }

    /// Opens an upload and stores a part of this one segment; returns the upload's version.
    pub async fn put_part(&self, name: &str, segment: &Segment) -> VersionId {
        let key = ObjectKey::new(name).unwrap();
        let upload = grid_types::UploadId::from_bytes(self.random.id());
        let version = VersionId::from_bytes(self.random.id());
        let row = meta_store::rows::UploadRow {
            upload,
            version,
            stamp: Timestamp(0),
            storage_class: "STANDARD".to_owned(),
            key_generation: 1,
            attributes: Vec::new(),
        };
        let bucket = self.bucket.id;
        let meta = &self.rows.meta;
        let create = Command::CreateUpload { bucket, key: key.clone(), bucket_generation: 1, upload: row };
        meta.commit(meta.new_op(), create).await.unwrap();
        let part = meta_store::rows::PartRow {
            number: 1,
            size: segment.length,
            offset: 0,
            etag: "00".repeat(16),
            stamp: Timestamp(0),
            checksum: Vec::new(),
            segment_count: 1,
        };
        let owner = SegmentOwner { version, part: 1, number: 0 };
        let segments = vec![(owner, segment.clone())];
        meta.commit(meta.new_op(), Command::PutPart { bucket, key, upload, part, segments }).await.unwrap();
        version
    }
}

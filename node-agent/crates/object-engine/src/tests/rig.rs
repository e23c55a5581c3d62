//! A grid of one node: drives in temporary directories, metadata by Raft of one, an engine on top.

use std::sync::Arc;

use bytes::Bytes;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveLabel, label};
use futures_util::StreamExt;
use grid_types::{
    BucketName, ChunkKey, DriveId, DriveSnapshot, DriveState, ErrorCode, FailureDomain, GridId, GridSnapshot,
    MemoryBudget, NodeId, ObjectKey, Profile, ProfileChoice, Score,
};
use keyring::RootKey;
use meta_store::home::HomeDrive;
use meta_store::{MetaConfig, MetaStore, WriteCondition};
use segment_store::{GridView, SegmentConfig, SegmentStore};
use sys::{Clock, Disk, RealClock, RealDisk, RealRandom};

use crate::{
    Attributes, Body, BodyError, ChecksumKind, EngineConfig, EngineError, ExpectedDigests, GetObject,
    ObjectEngine, ObjectInfo, PutObject, RangeSpec, ReadConditions, Written,
};

pub(super) const MIB: usize = 1 << 20;

pub(super) struct Rig {
    pub(super) engine: ObjectEngine,
    pub(super) meta: MetaStore,
    pub(super) chunks: ChunkStore,
    pub(super) bucket: BucketName,
    pub(super) root_key: RootKey,
    pub(super) segments: SegmentStore,
    pub(super) config: EngineConfig,
    pub(super) home: Vec<HomeDrive>,
    dir: tempfile::TempDir,
}

/// One drive, `copies:1`.
pub(super) async fn rig() -> Rig {
    rig_with(1, EngineConfig { profile: ProfileChoice::Fixed(Profile::Copies(1)), ..Default::default() })
        .await
}

pub(super) async fn rig_with(drive_count: u8, config: EngineConfig) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let (grid, node) = (GridId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
    let (mut home, mut drives, mut snapshots) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=drive_count {
        let path = dir.path().join(format!("drive{number}"));
        std::fs::create_dir(&path).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&path).unwrap());
        let id = DriveId::from_bytes([number; 16]);
        let made = DriveLabel { grid, node, drive: id, generation: 1, created: clock.now() };
        label::create(&*disk, &made, false).unwrap();
        let config = DriveConfig { reserve_per_mille: 0, reserve_bytes_min: 0, ..Default::default() };
        let (opened, drive_clock) = (disk.clone(), clock.clone());
        let drive = tokio::task::spawn_blocking(move || Drive::open(opened, drive_clock, config))
            .await
            .unwrap()
            .unwrap();
        drives.push(drive);
        home.push(HomeDrive { id, disk });
        snapshots.push(DriveSnapshot {
            id,
            node,
            file_system: FailureDomain(number.to_string()),
            state: DriveState::Active,
            read_score: Score::BEST,
            write_score: Score::BEST,
            total_bytes: 1 << 40,
            free_bytes: 1 << 40,
        });
    }
    let random = Arc::new(RealRandom);
    let meta =
        MetaStore::found(home.clone(), MetaConfig::default(), clock.clone(), random.clone()).await.unwrap();
    let chunks = ChunkStore::new(drives);
    let view = GridView::default();
    view.publish(GridSnapshot { epoch: 1, drives: snapshots, all_have_aes: true });
    let budget = MemoryBudget::new("test", 256 << 20, 256);
    let segments = SegmentStore::new(chunks.clone(), view, random.clone(), budget, SegmentConfig::default());
    let root_key = RootKey::generate(&*random);
    let engine =
        ObjectEngine::new(meta.clone(), segments.clone(), root_key.clone(), clock, random, config.clone());
    let bucket: BucketName = "bucket".parse().unwrap();
    engine.create_bucket(&bucket, "owner").await.unwrap();
    Rig { engine, meta, chunks, bucket, root_key, segments, config, home, dir }
}

impl Rig {
    /// The same stores under an engine that starts with empty caches.
    pub(super) fn restarted(&self) -> ObjectEngine {
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let (meta, segments) = (self.meta.clone(), self.segments.clone());
        ObjectEngine::new(meta, segments, self.root_key.clone(), clock, random, self.config.clone())
    }

    /// Loses the metadata and makes it anew from the drives; the rig goes on with that.
    pub(super) async fn rebuild(&mut self) -> crate::rebuild::RebuildReport {
        self.meta.shutdown().await;
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let parts = crate::rebuild::Rebuild {
            number: 1,
            chunks: self.chunks.clone(),
            segments: self.segments.clone(),
            home: self.home.clone(),
            root_keys: self.root_key.clone().into(),
            meta_config: MetaConfig::default(),
            clock,
            random,
        };
        let (meta, report) = crate::rebuild::rebuild_metadata(parts).await.unwrap();
        self.meta = meta;
        self.engine = self.restarted();
        report
    }

    pub(super) fn put_request(&self, at: &str, bytes: &[u8]) -> PutObject {
        PutObject {
            bucket: self.bucket.clone(),
            key: key(at),
            body: body(bytes, 100_000),
            length: Some(bytes.len() as u64),
            expected: ExpectedDigests::default(),
            checksum: None,
            attributes: Attributes::default(),
            storage_class: None,
            condition: WriteCondition::None,
        }
    }

    pub(super) async fn put(&self, at: &str, bytes: &[u8]) -> Written {
        self.engine.put_object(self.put_request(at, bytes)).await.unwrap()
    }

    pub(super) fn get_request(&self, at: &str) -> GetObject {
        GetObject {
            bucket: self.bucket.clone(),
            key: key(at),
            version: None,
            range: None,
            part_number: None,
            conditions: ReadConditions::default(),
        }
    }

    pub(super) async fn get(&self, at: &str) -> Result<(ObjectInfo, Vec<u8>), EngineError> {
        self.read(self.get_request(at)).await
    }

    pub(super) async fn get_range(
        &self,
        at: &str,
        range: RangeSpec,
    ) -> Result<(ObjectInfo, Vec<u8>), EngineError> {
        self.read(GetObject { range: Some(range), ..self.get_request(at) }).await
    }

    pub(super) async fn read(&self, request: GetObject) -> Result<(ObjectInfo, Vec<u8>), EngineError> {
        let (info, mut reader) = self.engine.get_object(request).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok((info, bytes))
    }

    pub(super) async fn keys(&self) -> Vec<String> {
        let query = crate::ListObjects { limit: 1_000, ..Default::default() };
        let listing = self.engine.list_objects(&self.bucket, query).await.unwrap();
        listing.objects.into_iter().map(|object| object.key.as_str().to_owned()).collect()
    }

    /// How many files of the drives hold `bytes`.
    pub(super) fn search_drives(&self, bytes: &[u8]) -> usize {
        fn files(dir: &std::path::Path, all: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => files(&entry.path(), all),
                    false => all.push(entry.path()),
                }
            }
        }
        let mut all = Vec::new();
        files(self.dir.path(), &mut all);
        let finder = |path: &std::path::PathBuf| {
            std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
        };
        all.iter().filter(|path| finder(path)).count()
    }

    /// Every chunk on every drive.
    pub(super) async fn chunk_keys(&self) -> Vec<(DriveId, ChunkKey)> {
        let mut all = Vec::new();
        for drive in self.chunks.drives() {
            let keys = drive.list(None, 100_000).await.unwrap();
            all.extend(keys.into_iter().map(|chunk| (drive.id(), chunk)));
        }
        all
    }
}

pub(super) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// A body that comes in pieces of `piece` bytes.
pub(super) fn body(bytes: &[u8], piece: usize) -> Body {
    let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures_util::stream::iter(pieces).boxed()
}

/// A body whose connection breaks behind `bytes`.
pub(super) fn broken_body(bytes: &[u8]) -> Body {
    body(bytes, 100_000).chain(futures_util::stream::iter([Err(BodyError::Incomplete)])).boxed()
}

/// Bytes without a period that a cut at a power of two could hide behind.
pub(super) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn md5_hex(bytes: &[u8]) -> String {
    let mut md5 = crate::digest::Md5Hasher::default();
    md5.update(bytes);
    data_encoding::HEXLOWER.encode(&md5.finish())
}

pub(super) fn checksum(kind: ChecksumKind, bytes: &[u8]) -> crate::Checksum {
    let mut hasher = crate::digest::ChecksumHasher::new(kind);
    hasher.update(bytes);
    hasher.finish_full()
}

pub(super) fn code<T>(result: Result<T, EngineError>) -> Option<ErrorCode> {
    result.err().map(|error| error.code())
}

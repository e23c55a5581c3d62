//! Stores on temporary folders, and rows to put into them.

use std::sync::Arc;

use grid_types::{
    BucketId, BucketName, Cipher, Compression, DriveId, ObjectKey, Profile, Segment, SegmentId, SegmentOwner,
    Timestamp, VersionId,
};
use sys::{Clock, FaultDisk, RealClock, RealDisk, RealRandom};

use crate::home::HomeDrive;
use crate::root::Bucket;
use crate::rows::VersionRow;
use crate::{Command, MetaConfig, MetaStore, WriteCondition};

/// A runtime that a test may end at any moment.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Drive folders that outlive stores.
pub(super) struct Folders {
    pub dirs: Vec<tempfile::TempDir>,
}

impl Folders {
    pub(super) fn new(count: usize) -> Self {
        Self { dirs: (0..count).map(|_| tempfile::tempdir().unwrap()).collect() }
    }

    pub(super) fn home(&self) -> Vec<HomeDrive> {
        (1u8..)
            .zip(&self.dirs)
            .map(|(number, dir)| HomeDrive {
                id: DriveId::from_bytes([number; 16]),
                disk: Arc::new(RealDisk::open(dir.path()).unwrap()),
            })
            .collect()
    }

    pub(super) async fn found(&self, config: MetaConfig) -> MetaStore {
        MetaStore::found(self.home(), config, Arc::new(RealClock), Arc::new(RealRandom)).await.unwrap()
    }

    pub(super) async fn open(&self, config: MetaConfig) -> MetaStore {
        MetaStore::open(self.home(), config, Arc::new(RealClock), Arc::new(RealRandom)).await.unwrap()
    }
}

/// A home of one simulated disk.
pub(super) fn simulated_home(disk: &FaultDisk) -> Vec<HomeDrive> {
    vec![HomeDrive { id: DriveId::from_bytes([1; 16]), disk: Arc::new(disk.clone()) }]
}

pub(super) fn bucket(number: u8, name: &str) -> Bucket {
    Bucket {
        id: BucketId::from_bytes([number; 16]),
        name: name.parse::<BucketName>().unwrap(),
        created: RealClock.now(),
        owner: "ann".to_owned(),
        generation: 1,
        settings: vec![1],
    }
}

pub(super) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub(super) fn version(number: u64, size: u64) -> VersionRow {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    VersionRow {
        version: VersionId::from_bytes(id),
        stamp: Timestamp(0),
        size,
        etag: format!("{number:032x}"),
        storage_class: "STANDARD".to_owned(),
        key_generation: 1,
        attributes: vec![7; 20],
        checksum_tag: 0,
        part_count: 0,
        segment_count: 0,
        delete_marker: false,
    }
}

pub(super) fn segment(number: u64, length: u64, drive: u8) -> Segment {
    let mut id = [0xee; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Segment {
        id: SegmentId::from_bytes(id),
        seal_id: SegmentId::from_bytes(id),
        length,
        profile: Profile::Copies(1),
        cipher: Cipher::ChaCha20Poly1305,
        compression: Compression::None,
        key_generation: 1,
        block_packets: 2,
        drives: vec![Some(DriveId::from_bytes([drive; 16]))],
    }
}

/// An inline object.
pub(super) fn put_inline(bucket: &Bucket, text: &str, number: u64, body: &[u8]) -> Command {
    Command::PutVersion {
        bucket: bucket.id,
        key: key(text),
        bucket_generation: bucket.generation,
        version: version(number, body.len() as u64),
        inline: Some(body.to_vec()),
        segments: Vec::new(),
        condition: WriteCondition::None,
    }
}

/// An object of one segment.
pub(super) fn put_segment(bucket: &Bucket, text: &str, number: u64, length: u64) -> Command {
    let version = version(number, length);
    let owner = SegmentOwner { version: version.version, part: 1, number: 0 };
    Command::PutVersion {
        bucket: bucket.id,
        key: key(text),
        bucket_generation: bucket.generation,
        version,
        inline: None,
        segments: vec![(owner, segment(number, length, 1))],
        condition: WriteCondition::None,
    }
}

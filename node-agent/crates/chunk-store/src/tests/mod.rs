//! Tests of whole drives, on simulated disks unless a real file is the point.

mod compaction;
mod format;
mod full;
mod garbled;
mod kill_disk;
mod label;
mod power;
mod rot;
mod round_trip;
mod service;

use std::sync::Arc;

use bytes::Bytes;
use codec::{FrameHasher, SegmentLayout};
use grid_types::{ChunkKey, Cipher, Compression, DriveId, GridId, NodeId, Profile, SegmentId, Timestamp};
use sys::{Disk, FaultDisk, Random, RealClock, SeededRandom};

use crate::{ChunkError, ChunkHeader, Drive, DriveConfig, DriveLabel, label as drive_label};

/// Chunks above this payload are files in these tests.
const PACKED_MAX: u64 = 4_096;

fn config() -> DriveConfig {
    DriveConfig {
        pack_chunk_bytes_max: PACKED_MAX,
        pack_bytes_max: 16 << 10,
        reserve_per_mille: 0,
        reserve_bytes_min: 0,
        io_threads: 2,
        ..DriveConfig::default()
    }
}

fn test_label() -> DriveLabel {
    DriveLabel {
        grid: GridId::from_bytes([1; 16]),
        node: NodeId::from_bytes([2; 16]),
        drive: DriveId::from_bytes([3; 16]),
        generation: 1,
        created: Timestamp(4),
    }
}

fn labelled(seed: u64) -> FaultDisk {
    let disk = FaultDisk::new(seed);
    drive_label::create(&disk, &test_label(), false).expect("an empty disk takes a label");
    disk
}

fn open(disk: &FaultDisk) -> Drive {
    open_with(Arc::new(disk.clone()), config()).expect("the drive opens")
}

fn open_with(disk: Arc<dyn Disk>, config: DriveConfig) -> Result<Drive, ChunkError> {
    Drive::open(disk, Arc::new(RealClock), config)
}

/// One chunk, every byte of which follows from few numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    seed: u64,
    plain_len: u64,
    profile: Profile,
    index: u8,
    /// Another content under the same name.
    edition: u8,
}

impl Sample {
    fn copies(seed: u64, plain_len: u64) -> Self {
        Self { seed, plain_len, profile: Profile::Copies(1), index: 0, edition: 0 }
    }

    fn key(&self) -> ChunkKey {
        let mut segment = [0; 16];
        SeededRandom::new(self.seed).fill(&mut segment);
        // Few first bytes, so that directories of chunk files are shared.
        segment[0] %= 4;
        ChunkKey { segment: SegmentId::from_bytes(segment), index: self.index }
    }

    fn layout(&self) -> SegmentLayout {
        SegmentLayout::new(self.plain_len, self.profile.data_chunks(), 1)
    }

    fn header(&self) -> ChunkHeader {
        ChunkHeader {
            chunk: self.key(),
            seal_id: SegmentId::from_bytes([9; 16]),
            profile: self.profile,
            cipher: Cipher::ChaCha20Poly1305,
            compression: Compression::None,
            key_generation: 7,
            block_packets: 1,
            plain_len: 0,
            sealed: vec![self.edition; 40 + (self.seed % 300) as usize],
        }
    }

    fn footer(&self) -> Vec<u8> {
        vec![self.edition ^ 0x5a; (self.seed % 400) as usize]
    }

    fn blocks(&self) -> Vec<Bytes> {
        let layout = self.layout();
        let random = SeededRandom::new(self.seed ^ u64::from(self.edition) << 32 ^ 0xb10c);
        (0..layout.stripes())
            .map(|stripe| {
                let mut block = vec![0; layout.block_len(stripe) as usize];
                random.fill(&mut block);
                Bytes::from(block)
            })
            .collect()
    }

    /// Everything but `finish`.
    async fn begin(&self, drive: &Drive) -> Result<crate::ChunkWriter, ChunkError> {
        let mut writer = drive.begin(self.header(), self.layout().chunk_payload_len()).await?;
        let hasher = FrameHasher::new(self.key());
        for (number, block) in (0..).zip(self.blocks()) {
            let (left, right) = (block.slice(..block.len() / 3), block.slice(block.len() / 3..));
            writer.write_frame(hasher.hash(number, &block), vec![left, right]).await?;
        }
        Ok(writer)
    }

    async fn write(&self, drive: &Drive) -> Result<(), ChunkError> {
        self.begin(drive).await?.finish(self.plain_len, self.footer()).await
    }

    /// Reads all of it in two ways and compares; false when it is missing.
    async fn check(&self, drive: &Drive) -> Result<bool, ChunkError> {
        let key = self.key();
        let info = match drive.info(key).await {
            Err(ChunkError::Missing { .. }) => return Ok(false),
            info => info?,
        };
        assert_eq!(info.header, ChunkHeader { plain_len: self.plain_len, ..self.header() });
        assert_eq!(info.footer, self.footer());
        drive.verify(key).await?;
        let blocks = self.blocks();
        let count = blocks.len() as u64;
        assert_eq!(drive.read_frames(key, 0, count).await?, blocks);
        assert_eq!(drive.read_frames(key, count - 1, 1).await?, blocks[blocks.len() - 1..]);
        Ok(true)
    }
}

//! Whole files on a simulated disk, patched as the input says: what opens must be a part of what was written, and
//! nothing else.

use std::sync::Arc;

use bytes::Bytes;
use chunk_store::{ChunkHeader, Drive, DriveConfig, DriveLabel, label};
use codec::{FrameHasher, SegmentLayout};
use grid_types::{
    ChunkKey, Cipher, Compression, DriveId, GridId, NodeId, Profile, SegmentId, ShardId, Timestamp,
};
use meta_store::Command;
use meta_store::home::HomeDrive;
use meta_store::log::{LogConfig, LogEntry, SharedLog};
use sys::{Disk, FaultDisk, SeededRandom, SimClock};

/// Patches of one input at most.
const PATCHES_MAX: usize = 16;
/// Entries of the log before it is patched.
const ENTRIES: u64 = 12;
/// Chunks in the pack before it is patched.
const CHUNKS: u8 = 4;
/// Plaintext bytes of each of them.
const PLAIN_BYTES: u64 = 3_000;

/// Runs to its end on this thread; the stores bring threads of their own.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// Each five bytes of the input are an offset (u32, within the first 64 KiB) and a mask to flip there.
fn patch(disk: &FaultDisk, folder: &str, input: &[u8]) {
    let mut files = disk.list(folder).expect("the folder was just made");
    files.sort_by(|a, b| a.name.cmp(&b.name));
    for piece in input.chunks_exact(5).take(PATCHES_MAX) {
        let offset = u64::from(u32::from_le_bytes([piece[0], piece[1], piece[2], piece[3]]) % (64 << 10));
        for file in files.iter().filter(|file| file.len > offset) {
            disk.corrupt(&format!("{folder}/{}", file.name), offset, piece[4]).expect("within the file");
        }
    }
}

/// Entry `index` of the log that is patched.
fn entry(index: u64) -> LogEntry {
    let bytes = vec![index as u8 ^ 0x5A; 40 + 900 * (index as usize % 3)];
    LogEntry { index, payload: Bytes::from(bytes) }
}

/// A patched log opens with a prefix of its entries, or says that it is damaged.
pub fn log_file(input: &[u8]) {
    let disk = Arc::new(FaultDisk::new(1));
    let drives = [HomeDrive { id: DriveId::from_bytes([1; 16]), disk: disk.clone() }];
    let config = || LogConfig { file_bytes: 64 << 10, ..LogConfig::default() };
    let shard = ShardId(3);
    let log = SharedLog::create(&drives, config(), &SeededRandom::new(7)).expect("an empty disk takes a log");
    block_on(async {
        let group = log.group(shard);
        group.save_vote(Bytes::from_static(b"vote")).await.expect("a vote is stored");
        for index in 1..=ENTRIES {
            group.append(vec![entry(index)]).await.expect("an entry is stored");
        }
        log.close().await;
    });
    patch(&disk, "meta/log", input);
    let Ok(log) = SharedLog::open(&drives, config()) else { return };
    block_on(async {
        let group = log.group(shard);
        let state = group.state();
        assert!(state.last.is_none_or(|last| last <= ENTRIES), "entries were invented: {state:?}");
        assert!(state.vote.is_none_or(|vote| vote == "vote"), "another vote came back");
        let first = state.purged.map_or(1, |(index, _)| index + 1);
        let end = state.last.map_or(first, |last| last + 1);
        if let Ok(read) = group.read(first..end, u64::MAX).await {
            for found in read {
                assert_eq!(found, entry(found.index), "an entry came back with other bytes");
            }
        }
        log.close().await;
    });
}

fn chunk(index: u8) -> (ChunkKey, Bytes) {
    let key = ChunkKey { segment: SegmentId::from_bytes([index + 1; 16]), index: 0 };
    let layout = SegmentLayout::new(PLAIN_BYTES, 1, 2);
    (key, Bytes::from(vec![index ^ 0xA5; layout.block_len(0) as usize]))
}

/// A drive with a patched pack opens, and every chunk on it reads back exact or not at all.
pub fn pack_file(input: &[u8]) {
    let disk = Arc::new(FaultDisk::new(1));
    let ids = DriveLabel {
        grid: GridId::from_bytes([1; 16]),
        node: NodeId::from_bytes([2; 16]),
        drive: DriveId::from_bytes([3; 16]),
        generation: 1,
        created: Timestamp(1),
    };
    label::create(&*disk, &ids, false).expect("an empty disk takes a label");
    let open = || {
        let config = DriveConfig { reserve_bytes_min: 0, ..DriveConfig::default() };
        Drive::open(disk.clone(), Arc::new(SimClock::new(Timestamp(1))), config)
    };
    let drive = open().expect("a labelled drive opens");
    block_on(async {
        for index in 0..CHUNKS {
            let (key, block) = chunk(index);
            let header = ChunkHeader {
                chunk: key,
                seal_id: key.segment,
                profile: Profile::Copies(1),
                cipher: Cipher::ChaCha20Poly1305,
                compression: Compression::None,
                key_generation: 1,
                block_packets: 2,
                plain_len: 0,
                sealed: vec![7; 20],
            };
            let mut writer = drive.begin(header, block.len() as u64).await.expect("room for a chunk");
            let hash = FrameHasher::new(key).hash(0, &block);
            writer.write_frame(hash, vec![block]).await.expect("a frame is taken");
            writer.finish(PLAIN_BYTES, Vec::new()).await.expect("a chunk is stored");
        }
    });
    drive.close();
    patch(&disk, "packs", input);
    let Ok(drive) = open() else { return };
    block_on(async {
        for index in 0..CHUNKS {
            let (key, block) = chunk(index);
            if let Ok(frames) = drive.read_frames(key, 0, 1).await {
                assert_eq!(frames, [block], "a chunk came back with other bytes");
            }
        }
        let listed = drive.list(None, 100).await.expect("a drive in service lists");
        assert!(listed.len() <= usize::from(CHUNKS), "chunks were invented");
    });
    drive.close();
}

/// What decodes as a command (with its rows and segments) encodes and decodes to itself.
pub fn command(input: &[u8]) {
    if let Ok(command) = postcard::from_bytes::<Command>(input) {
        let bytes = postcard::to_allocvec(&command).expect("a command encodes");
        let again: Command = postcard::from_bytes(&bytes).expect("what was encoded decodes");
        assert_eq!(again, command);
    }
}

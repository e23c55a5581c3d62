//! The words every crate of Shoal speaks: ids, names, sizes, times, states, error codes, the memory budget.
//!
//! Pure data. Invariant: no tokio, no I/O, no clock, no randomness in this crate; whoever needs a fresh id draws it
//! through `sys`. Every length and offset is a `u64`, because `usize` has 32 bits on ARMv7.

mod budget;
mod cipher;
mod drive;
mod error_code;
mod grid_snapshot;
mod id;
mod limits;
mod name;
mod profile;
mod segment;
mod time;

pub use budget::{BudgetError, MemoryBudget, MemoryPermit};
pub use cipher::{Cipher, Compression, UnknownCipher};
pub use drive::{DriveEvent, DriveState};
pub use error_code::ErrorCode;
pub use grid_snapshot::{DriveSnapshot, FailureDomain, GridSnapshot, Score};
pub use id::{
    BucketId, DriveId, GridId, IdParseError, NodeId, OpId, PlacementSetId, SegmentId, ShardId, UploadId,
    VersionId,
};
pub use limits::{
    BLOCK_PACKETS_DEFAULT, CHUNKS_PER_SEGMENT_MAX, COMMAND_BYTES_MAX, INLINE_BYTES_MAX_DEFAULT,
    KEY_BYTES_MAX, PACK_CHUNK_BYTES_MAX, PACKET_PLAIN_BYTES, PACKET_SEALED_BYTES, PACKET_TAG_BYTES,
    PART_COUNT_MAX, SEGMENT_BYTES_MAX, SMALL_BYTES_MAX,
};
pub use name::{BucketName, NameError, ObjectKey};
pub use profile::{Profile, ProfileChoice, ProfileParseError};
pub use segment::{ChunkKey, Segment, SegmentOwner};
pub use time::Timestamp;

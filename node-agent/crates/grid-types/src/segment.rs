//! What a metadata row knows of one segment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cipher, Compression, DriveId, Profile, SegmentId, VersionId};

/// One chunk of one segment; says all about its bytes, since chunks are immutable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkKey {
    /// The segment.
    pub segment: SegmentId,
    /// 0..k data chunks, then parity; for copies any index is the whole.
    pub index: u8,
}

impl fmt::Display for ChunkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.segment, self.index)
    }
}

/// Which piece of which object a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentOwner {
    /// The version (or open upload, whose version id is drawn at its start).
    pub version: VersionId,
    /// Part number; 1 for a plain PUT.
    pub part: u16,
    /// Position within the part, from 0.
    pub number: u32,
}

/// One segment as its row stores it: everything needed to read it but the bucket key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Names the chunks; fresh for each write attempt and each re-coding.
    pub id: SegmentId,
    /// Names the key and the nonces; kept by re-coding.
    pub seal_id: SegmentId,
    /// Plaintext bytes, 1 to `SEGMENT_BYTES_MAX`.
    pub length: u64,
    /// The profile really used.
    pub profile: Profile,
    /// The AEAD that sealed it.
    pub cipher: Cipher,
    /// How it was compressed before sealing.
    pub compression: Compression,
    /// Generation of the bucket key.
    pub key_generation: u32,
    /// Packets in one full block.
    pub block_packets: u8,
    /// Chunk index → drive; `None` where no synced chunk exists yet (listed for repair).
    /// `profile.total_chunks()` entries.
    pub drives: Vec<Option<DriveId>>,
}

impl Segment {
    /// The chunks that exist, with their drives.
    pub fn chunks(&self) -> impl Iterator<Item = (ChunkKey, DriveId)> + '_ {
        (0u8..)
            .zip(&self.drives)
            .filter_map(|(index, drive)| drive.map(|drive| (ChunkKey { segment: self.id, index }, drive)))
    }

    /// True where a chunk is missing from the row.
    pub fn incomplete(&self) -> bool {
        self.drives.iter().any(Option::is_none)
    }
}

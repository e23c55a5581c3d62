//! The rows that callers see. How they are stored is `state`'s business (docs/formats/metadata.md).

use grid_types::{Segment, SegmentOwner, Timestamp, UploadId, VersionId};
use serde::{Deserialize, Serialize};

/// One version of one object, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRow {
    /// Its id; the segments' owner.
    pub version: VersionId,
    /// When it was committed (Last-Modified); set by the leader.
    pub stamp: Timestamp,
    /// Plaintext bytes.
    pub size: u64,
    /// The ETag without quotes: 32 hex digits of the MD5, or `md5-N`.
    pub etag: String,
    /// Storage class, `STANDARD` unless named.
    pub storage_class: String,
    /// Generation of the bucket key that sealed `attributes` and the inline body.
    pub key_generation: u32,
    /// Content headers, user metadata, checksums: sealed by the object engine.
    pub attributes: Vec<u8>,
    /// Number and type of the checksum, for listings: opaque to this crate (0 = none).
    pub checksum_tag: u8,
    /// Parts, 0 for a plain PUT.
    pub part_count: u16,
    /// Segments, 0 where the body is inline or empty.
    pub segment_count: u32,
    /// A marker of a versioned delete.
    pub delete_marker: bool,
}

/// A version with the body that lives in its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// The version.
    pub version: VersionRow,
    /// The sealed inline body, if there is one.
    pub inline: Option<Vec<u8>>,
    /// The first segments (at most `query::SEGMENTS_PAGE`), so that a GET of one segment needs one read.
    pub segments: Vec<SegmentRow>,
}

/// A segment with its place in the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Version, part, number.
    pub owner: SegmentOwner,
    /// Offset of its first byte within its part.
    pub part_offset: u64,
    /// The segment, with the drives that hold it now.
    pub segment: Segment,
}

/// One part of an upload or of a completed multipart object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// 1..=10,000.
    pub number: u16,
    /// Plaintext bytes.
    pub size: u64,
    /// Offset within the object; 0 until completed.
    pub offset: u64,
    /// MD5 in hex.
    pub etag: String,
    /// When it was committed.
    pub stamp: Timestamp,
    /// Checksum of the part: opaque to this crate.
    pub checksum: Vec<u8>,
    /// Segments of this part.
    pub segment_count: u32,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// Its id, given to the client.
    pub upload: UploadId,
    /// The version it will become; owner of its segments.
    pub version: VersionId,
    /// When it was created.
    pub stamp: Timestamp,
    /// Storage class.
    pub storage_class: String,
    /// Generation of the bucket key that sealed `attributes`.
    pub key_generation: u32,
    /// Content headers, user metadata, checksum choice: sealed by the object engine.
    pub attributes: Vec<u8>,
}

/// Chunks that no row names any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageRow {
    /// Orders rows within a shard; names the row in `Command::GarbageDone`.
    pub sequence: u64,
    /// When the row moved here; chunks go 15 minutes later.
    pub stamp: Timestamp,
    /// The segment, with the drives that hold chunks.
    pub segment: Segment,
}

//! Questions a shard answers, linearizably.

use std::sync::Arc;

use grid_types::{BucketId, ObjectKey, Segment, UploadId};

use crate::rows::{SegmentRow, UploadRow, VersionRow};

/// Segments in one answer at most.
pub const SEGMENTS_PAGE: usize = 1_024;

/// Segments that one page of a scan looks at: a few milliseconds of a small board.
pub const SCAN_SEGMENTS_MAX: usize = 1_024;

/// Which segments a scan is to find.
pub type SegmentFilter = Arc<dyn Fn(&Segment) -> bool + Send + Sync>;

/// A segment with what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassedSegment {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The segment.
    pub row: SegmentRow,
    /// The storage class of its version, or of its open upload.
    pub storage_class: String,
}

/// Segments that a scan found, and the cursor of the next page.
pub type ClassedSegmentPage = (Vec<ClassedSegment>, Option<Vec<u8>>);

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Keys must begin with this.
    pub prefix: String,
    /// Keys that hold it after the prefix are rolled up to a common prefix.
    pub delimiter: Option<String>,
    /// Only keys (and common prefixes) after this text, byte order, exclusive.
    pub after: Option<String>,
    /// Entries at most (keys and common prefixes together).
    pub limit: usize,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// An object's current version.
    Object {
        /// Its key.
        key: ObjectKey,
        /// Its row.
        version: VersionRow,
    },
    /// A common prefix.
    Prefix(String),
}

impl ListEntry {
    /// The text that orders it.
    pub fn text(&self) -> &str {
        match self {
            Self::Object { key, .. } => key.as_str(),
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// One page of a listing, in byte order.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// The entries.
    pub entries: Vec<ListEntry>,
    /// More follow: ask again with `after` = the last entry's text.
    pub truncated: bool,
}

/// What uploads to list.
#[derive(Debug, Clone, Default)]
pub struct UploadQuery {
    /// Keys must begin with this.
    pub prefix: String,
    /// See `ListQuery`.
    pub delimiter: Option<String>,
    /// Keys after this one, or at it with uploads after `upload_after`.
    pub key_after: Option<String>,
    /// See `key_after`.
    pub upload_after: Option<UploadId>,
    /// Entries at most.
    pub limit: usize,
}

/// One entry of a listing of uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadEntry {
    /// An open upload.
    Upload {
        /// Its key.
        key: ObjectKey,
        /// Its row.
        upload: UploadRow,
    },
    /// A common prefix.
    Prefix(String),
}

/// One page of uploads, ordered by key, then by upload id.
#[derive(Debug, Clone, Default)]
pub struct UploadPage {
    /// The entries.
    pub entries: Vec<UploadEntry>,
    /// More follow.
    pub truncated: bool,
}

/// Objects and bytes of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Current and older versions.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
}

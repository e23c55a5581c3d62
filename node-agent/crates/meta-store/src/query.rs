//! Questions a shard answers, linearizably.

use grid_types::{ObjectKey, UploadId};

use crate::rows::{UploadRow, VersionRow};

/// Segments in one answer at most.
pub const SEGMENTS_PAGE: usize = 1_024;

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

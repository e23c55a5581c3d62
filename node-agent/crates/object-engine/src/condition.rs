//! The four read conditions, in the order of RFC 9110 section 13.2.2.

use grid_types::Timestamp;

/// Conditions of a GET, HEAD or copy source.
#[derive(Debug, Clone, Default)]
pub struct ReadConditions {
    /// `If-Match`: ETags without quotes; `*` as one element.
    pub if_match: Option<Vec<String>>,
    /// `If-None-Match`: likewise.
    pub if_none_match: Option<Vec<String>>,
    /// `If-Modified-Since`, whole seconds.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`, whole seconds.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadVerdict {
    /// Answer.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

impl ReadConditions {
    /// Holds the conditions against an object's ETag and modification time.
    pub fn check(&self, _etag: &str, _modified: Timestamp) -> ReadVerdict {
        todo!()
    }
}

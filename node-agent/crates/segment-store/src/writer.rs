//! One segment being written.

use bytes::Bytes;
use grid_types::{ProfileChoice, Segment};
use keyring::BucketKey;

use crate::SegmentError;
use crate::format::SegmentIdentity;

/// What a writer needs to know before the first byte.
#[derive(Clone)]
pub struct SegmentSpec {
    /// Seals it.
    pub bucket_key: BucketKey,
    /// Sealed into the chunk headers.
    pub identity: SegmentIdentity,
    /// What the user asked for.
    pub profile: ProfileChoice,
    /// Plaintext bytes at most (exact where the client announced a length); ≤ `SEGMENT_BYTES_MAX`. Decides
    /// small or large in the table of `auto`, and pack or file.
    pub plain_len_max: u64,
}

/// One segment being written. Dropping it leaves only unpublished bytes, which the drives remove.
pub struct SegmentWriter {}

impl SegmentWriter {
    /// Takes plaintext; waits at the pace of the ack set. Never more than `plain_len_max` in all.
    pub async fn write(&mut self, _plain: Bytes) -> Result<(), SegmentError> {
        todo!()
    }

    /// Seals the rest and syncs. `record` (the object record, for a version's last segment) is sealed into the
    /// footers. Returns when the ack set is reached; stragglers are dropped and their index is `None`.
    pub async fn finish(self, _record: Option<Vec<u8>>) -> Result<Segment, SegmentError> {
        todo!()
    }
}

//! What the sealed part of a chunk header and a footer hold; the page is docs/formats/chunk.md.

use grid_types::{BucketId, ObjectKey, SegmentOwner};
use serde::{Deserialize, Serialize};

/// Which piece of which object this is: sealed into every chunk header, for rebuilds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentIdentity {
    /// The bucket.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// Version, part and number.
    pub owner: SegmentOwner,
}

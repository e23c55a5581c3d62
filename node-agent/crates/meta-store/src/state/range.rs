//! Which keys a shard owns: a half-open range of routing keys.

use grid_types::BucketId;
use serde::{Deserialize, Serialize};

/// bucket id ‖ key: orders as (bucket, key), because bucket ids have one length. All versions, uploads and parts of one
/// key share it, so a split never separates them.
pub(crate) fn routing_key(bucket: BucketId, key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + key.len());
    bytes.extend_from_slice(bucket.as_bytes());
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// `start ..< end`; an absent end is the end of the key space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardRange {
    pub start: Vec<u8>,
    pub end: Option<Vec<u8>>,
    /// Grows with each change of the range.
    pub generation: u64,
}

impl ShardRange {
    pub(crate) fn contains(&self, routing: &[u8]) -> bool {
        routing >= self.start.as_slice() && self.end.as_deref().is_none_or(|end| routing < end)
    }

    /// May the range hold keys of this bucket?
    pub(crate) fn touches(&self, bucket: BucketId) -> bool {
        let last = {
            let mut last = bucket.as_bytes().to_vec();
            last.push(0xff);
            last
        };
        last.as_slice() >= self.start.as_slice()
            && self.end.as_deref().is_none_or(|end| bucket.as_bytes().as_slice() < end)
    }
}

/// The smallest text that is larger than every text with this prefix; `None` if there is none.
pub(crate) fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.last_mut() {
        if *last < 0xff {
            *last += 1;
            return Some(bytes);
        }
        bytes.pop();
    }
    None
}

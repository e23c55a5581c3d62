//! MD5 and the five additional checksums of S3, over streams, full-object and composite.
//!
//! `checksum` holds the values and their texts, `hasher` the algorithms, `pipeline` runs them beside the coding of a
//! large body.

mod checksum;
mod hasher;
mod pipeline;

pub use checksum::{Checksum, ChecksumKind, ChecksumType};
pub(crate) use checksum::{checksum_of_tag, checksum_tag};
pub use hasher::{ChecksumHasher, Md5Hasher, combine_crc};
pub use pipeline::{DIGEST_OFFLOAD_BYTES, DigestLost, DigestPipeline, Digests};

#[cfg(test)]
mod tests;

//! MD5 and the five additional checksums of S3, over streams, full-object and composite.
//!
//! `checksum` holds the values and their texts, `hasher` the algorithms, `pipeline` runs them beside the coding of a
//! large body, and `pool` brings the MD5s of several bodies together.

mod checksum;
mod hasher;
mod pipeline;
mod pool;

pub use checksum::{Checksum, ChecksumKind, ChecksumType};
pub(crate) use checksum::{checksum_of_tag, checksum_tag};
pub use codec::Md5 as Md5Hasher;
pub use hasher::{ChecksumHasher, combine_crc};
pub use pipeline::{DIGEST_OFFLOAD_BYTES, DigestLost, DigestPipeline, Digests};
pub use pool::DigestPool;

#[cfg(test)]
mod tests;

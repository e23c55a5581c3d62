//! The algorithms, incremental. Which crate computes which is decided by measurement: SHA-256 is ring's (assembly on
//! every target of ours), SHA-1 the sha1 crate's (ring's is portable code), CRC32 and CRC32C have crates that use the
//! CRC instructions of boards without carry-less multiplication, CRC64NVME is crc-fast's alone.

use sha1::Digest;

use super::checksum::{Checksum, ChecksumKind};

/// One of the additional checksums.
pub struct ChecksumHasher {
    kind: ChecksumKind,
    state: State,
}

enum State {
    Crc32(crc32fast::Hasher),
    Crc32c(u32),
    Crc64Nvme(Box<crc_fast::Digest>),
    Sha1(Box<sha1::Sha1>),
    Sha256(Box<ring::digest::Context>),
}

impl ChecksumHasher {
    /// Starts one.
    pub fn new(kind: ChecksumKind) -> Self {
        let state = match kind {
            ChecksumKind::Crc32 => State::Crc32(crc32fast::Hasher::new()),
            ChecksumKind::Crc32c => State::Crc32c(0),
            ChecksumKind::Crc64Nvme => {
                State::Crc64Nvme(Box::new(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme)))
            }
            ChecksumKind::Sha1 => State::Sha1(Box::default()),
            ChecksumKind::Sha256 => {
                State::Sha256(Box::new(ring::digest::Context::new(&ring::digest::SHA256)))
            }
        };
        Self { kind, state }
    }

    /// Takes bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc32(hasher) => hasher.update(bytes),
            State::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            State::Crc64Nvme(digest) => digest.update(bytes),
            State::Sha1(hasher) => hasher.update(bytes),
            State::Sha256(context) => context.update(bytes),
        }
    }

    /// The raw value, big endian for the CRCs.
    pub fn finish(self) -> Vec<u8> {
        match self.state {
            State::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
            State::Crc32c(crc) => crc.to_be_bytes().to_vec(),
            State::Crc64Nvme(digest) => digest.finalize().to_be_bytes().to_vec(),
            State::Sha1(hasher) => hasher.finalize().to_vec(),
            State::Sha256(context) => context.finish().as_ref().to_vec(),
        }
    }

    /// The value as the checksum of everything hashed.
    pub fn finish_full(self) -> Checksum {
        Checksum::full(self.kind, self.finish())
    }
}

/// The CRC of two texts one behind the other, from the CRC of each and the length of the second. `None` for SHA, and
/// for values of a wrong length.
pub fn combine_crc(kind: ChecksumKind, first: &[u8], second: &[u8], second_len: u64) -> Option<Vec<u8>> {
    let algorithm = match kind {
        ChecksumKind::Crc32 => crc_fast::CrcAlgorithm::Crc32IsoHdlc,
        ChecksumKind::Crc32c => crc_fast::CrcAlgorithm::Crc32Iscsi,
        ChecksumKind::Crc64Nvme => crc_fast::CrcAlgorithm::Crc64Nvme,
        ChecksumKind::Sha1 | ChecksumKind::Sha256 => return None,
    };
    let length = kind.value_bytes();
    if first.len() != length || second.len() != length {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let combined = crc_fast::checksum_combine(algorithm, number(first), number(second), second_len);
    Some(combined.to_be_bytes()[8 - length..].to_vec())
}

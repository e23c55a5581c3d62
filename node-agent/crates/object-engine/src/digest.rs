//! MD5 and the five additional checksums of S3, over streams, full-object and composite.

use serde::{Deserialize, Serialize};

/// The additional checksums of S3. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ChecksumKind {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32 = 1,
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32c = 2,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme = 3,
    /// SHA-1, 20 bytes.
    Sha1 = 4,
    /// SHA-256, 32 bytes.
    Sha256 = 5,
}

/// How the checksum of a multipart object is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ChecksumType {
    /// Over all bytes of the object.
    FullObject = 1,
    /// Over the checksums of the parts; shown with `-N`.
    Composite = 2,
}

/// A checksum value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// The algorithm.
    pub kind: ChecksumKind,
    /// Full-object (also every plain PUT) or composite.
    pub r#type: ChecksumType,
    /// Raw bytes, big endian for the CRCs.
    pub value: Vec<u8>,
    /// Parts of a composite one; 0 otherwise.
    pub parts: u16,
}

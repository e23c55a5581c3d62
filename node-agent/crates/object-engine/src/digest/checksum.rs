//! Checksum values, their names and texts.

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

impl ChecksumKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// S3's name: `CRC32`, `CRC32C`, `CRC64NVME`, `SHA1`, `SHA256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// By S3's name, in any case (header names carry it in lower case).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of a value.
    pub const fn value_bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Can the checksum of a whole be had from those of its parts?
    pub const fn is_crc(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }

    /// What S3 allows for a multipart upload: full-object for the CRCs, composite for all but CRC64NVME.
    pub const fn allows(self, r#type: ChecksumType) -> bool {
        match r#type {
            ChecksumType::FullObject => self.is_crc(),
            ChecksumType::Composite => !matches!(self, Self::Crc64Nvme),
        }
    }

    /// What S3 takes for a multipart upload that names none.
    pub const fn default_type(self) -> ChecksumType {
        if matches!(self, Self::Crc64Nvme) { ChecksumType::FullObject } else { ChecksumType::Composite }
    }
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

impl ChecksumType {
    /// S3's name: `FULL_OBJECT` or `COMPOSITE`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// By S3's name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|r#type| r#type.name() == name)
    }
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

impl Checksum {
    /// Over all bytes.
    pub fn full(kind: ChecksumKind, value: Vec<u8>) -> Self {
        Self { kind, r#type: ChecksumType::FullObject, value, parts: 0 }
    }

    /// Over the checksums of `parts` parts.
    pub fn composite(kind: ChecksumKind, value: Vec<u8>, parts: u16) -> Self {
        Self { kind, r#type: ChecksumType::Composite, value, parts }
    }

    /// From a header's or XML element's text: base64, with `-N` behind it where it is composite. `None` where it is
    /// neither or has the wrong length.
    pub fn parse(kind: ChecksumKind, text: &str) -> Option<Self> {
        let (base64, parts) = match text.split_once('-') {
            Some((base64, digits)) => (base64, Some(digits.parse::<u16>().ok().filter(|parts| *parts > 0)?)),
            None => (text, None),
        };
        let value = data_encoding::BASE64.decode(base64.as_bytes()).ok()?;
        (value.len() == kind.value_bytes()).then(|| match parts {
            Some(parts) => Self::composite(kind, value, parts),
            None => Self::full(kind, value),
        })
    }

    /// S3's text: base64, with `-N` behind it where it is composite.
    pub fn text(&self) -> String {
        let base64 = data_encoding::BASE64.encode(&self.value);
        match self.r#type {
            ChecksumType::FullObject => base64,
            ChecksumType::Composite => format!("{base64}-{}", self.parts),
        }
    }
}

/// What a listing's row keeps of a checksum in one byte: algorithm in the low four bits, type in the high ones; 0 = none.
pub(crate) fn checksum_tag(checksum: Option<&Checksum>) -> u8 {
    checksum.map_or(0, |checksum| checksum.kind as u8 | (checksum.r#type as u8) << 4)
}

/// What `checksum_tag` says; `None` for 0 and for what a later release wrote.
pub(crate) fn checksum_of_tag(tag: u8) -> Option<(ChecksumKind, ChecksumType)> {
    let kind = ChecksumKind::ALL.into_iter().find(|kind| *kind as u8 == tag & 0x0f)?;
    let r#type =
        [ChecksumType::FullObject, ChecksumType::Composite].into_iter().find(|t| *t as u8 == tag >> 4)?;
    Some((kind, r#type))
}

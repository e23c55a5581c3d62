//! What the headers announce of a body: its length, its digests, its trailers.

use data_encoding::BASE64;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use object_engine::{Checksum, ChecksumKind};

use crate::{S3Error, S3ErrorCode};

const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
const KINDS: [(&str, ChecksumKind, &str, usize); 5] = [
    ("x-amz-checksum-crc32", ChecksumKind::Crc32, "CRC32", 4),
    ("x-amz-checksum-crc32c", ChecksumKind::Crc32c, "CRC32C", 4),
    ("x-amz-checksum-crc64nvme", ChecksumKind::Crc64Nvme, "CRC64NVME", 8),
    ("x-amz-checksum-sha1", ChecksumKind::Sha1, "SHA1", 20),
    ("x-amz-checksum-sha256", ChecksumKind::Sha256, "SHA256", 32),
];

/// The header that carries a checksum of this kind.
pub fn checksum_header_name(kind: ChecksumKind) -> &'static str {
    KINDS.iter().find(|(_, known, ..)| *known == kind).map_or("", |(name, ..)| name)
}

/// A checksum header or trailer, by its name in lower case; `None` for other names.
pub fn parse_checksum(name: &str, value: &str) -> Option<Result<Checksum, S3Error>> {
    let (_, kind, _, length) = KINDS.into_iter().find(|(known, ..)| *known == name)?;
    let bytes = BASE64.decode(value.as_bytes()).ok().filter(|bytes| bytes.len() == length);
    Some(match bytes {
        Some(value) => Ok(Checksum::full(kind, value)),
        None => Err(invalid(format!("Value for {name} header is invalid."))),
    })
}

/// What the headers say of a body before its first byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// Decoded bytes.
    pub length: Option<u64>,
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// A checksum header.
    pub checksum: Option<Checksum>,
    /// The algorithm that a checksum header, `x-amz-trailer` or `x-amz-sdk-checksum-algorithm` names.
    pub kind: Option<ChecksumKind>,
    /// The checksum trailer that must come.
    pub trailer: Option<ChecksumKind>,
}

impl Announced {
    /// Reads the headers of a document whose checksum headers speak of something else.
    pub fn of_document(headers: &HeaderMap, chunked: bool) -> Result<Self, S3Error> {
        let trailer = if chunked { trailer_header(headers)? } else { None };
        let length = length_header(headers, chunked)?;
        Ok(Self { length, md5: md5_header(headers)?, trailer, ..Self::default() })
    }

    /// Reads the headers. `chunked`: the body is aws-chunked, so its length stands in `x-amz-decoded-content-length`.
    pub fn parse(headers: &HeaderMap, chunked: bool) -> Result<Self, S3Error> {
        let checksum = checksum_header(headers)?;
        let trailer = if chunked { trailer_header(headers)? } else { None };
        if checksum.is_some() && trailer.is_some() {
            return Err(several());
        }
        let named = algorithm_header(headers)?;
        let sent = checksum.as_ref().map(|checksum| checksum.kind).or(trailer);
        if let (Some(named), Some(sent)) = (named, sent)
            && named != sent
        {
            return Err(invalid("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        Ok(Self {
            length: length_header(headers, chunked)?,
            md5: md5_header(headers)?,
            checksum,
            kind: sent.or(named),
            trailer,
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("").trim())
}

fn length_header(headers: &HeaderMap, chunked: bool) -> Result<Option<u64>, S3Error> {
    let name = if chunked { DECODED_LENGTH } else { CONTENT_LENGTH.as_str() };
    let Some(value) = text(headers, name) else { return Ok(None) };
    let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let length = plain.then(|| value.parse().ok()).flatten();
    length.map(Some).ok_or_else(|| invalid(format!("Value for {name} header is invalid.")))
}

fn md5_header(headers: &HeaderMap) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(value) = text(headers, "content-md5") else { return Ok(None) };
    let bytes = BASE64.decode(value.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| S3ErrorCode::INVALID_DIGEST.into())
}

fn checksum_header(headers: &HeaderMap) -> Result<Option<Checksum>, S3Error> {
    let mut found = None;
    for (name, ..) in KINDS {
        for value in headers.get_all(name) {
            if found.is_some() {
                return Err(several());
            }
            found = parse_checksum(name, value.to_str().unwrap_or("").trim());
        }
    }
    found.transpose()
}

fn trailer_header(headers: &HeaderMap) -> Result<Option<ChecksumKind>, S3Error> {
    let mut found = None;
    for value in headers.get_all("x-amz-trailer") {
        for name in value.to_str().unwrap_or("").split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let name = name.to_ascii_lowercase();
            let Some((_, kind, ..)) = KINDS.into_iter().find(|(known, ..)| *known == name) else {
                return Err(invalid("The value specified in the x-amz-trailer header is not supported"));
            };
            if found.replace(kind).is_some() {
                return Err(several());
            }
        }
    }
    Ok(found)
}

fn algorithm_header(headers: &HeaderMap) -> Result<Option<ChecksumKind>, S3Error> {
    let Some(value) = text(headers, "x-amz-sdk-checksum-algorithm") else { return Ok(None) };
    let found = KINDS.into_iter().find(|(_, _, word, _)| word.eq_ignore_ascii_case(value));
    match found {
        Some((_, kind, ..)) => Ok(Some(kind)),
        None => Err(invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")),
    }
}

fn several() -> S3Error {
    invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

fn invalid(words: impl Into<String>) -> S3Error {
    S3Error::new(S3ErrorCode::INVALID_REQUEST, words)
}

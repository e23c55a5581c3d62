//! The additional checksums: names, headers, elements.

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue};
use object_engine::{Checksum, ChecksumKind, ChecksumType};

use super::{invalid_argument, text};
use crate::{S3Error, S3ErrorCode};

/// Kind, S3's name of the algorithm, header, XML element, bytes of a value.
const KINDS: [(ChecksumKind, &str, &str, &str, usize); 5] = [
    (ChecksumKind::Crc32, "CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4),
    (ChecksumKind::Crc32c, "CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4),
    (ChecksumKind::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8),
    (ChecksumKind::Sha1, "SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20),
    (ChecksumKind::Sha256, "SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32),
];

fn row(kind: ChecksumKind) -> &'static (ChecksumKind, &'static str, &'static str, &'static str, usize) {
    KINDS.iter().find(|row| row.0 == kind).expect("each kind has a row")
}

/// S3's name of an algorithm.
pub(crate) fn algorithm_name(kind: ChecksumKind) -> &'static str {
    row(kind).1
}

/// S3's name of a checksum type.
pub(crate) fn type_name(r#type: ChecksumType) -> &'static str {
    match r#type {
        ChecksumType::FullObject => "FULL_OBJECT",
        ChecksumType::Composite => "COMPOSITE",
    }
}

/// The XML element of a kind; also the reverse.
pub(crate) fn checksum_element(kind: ChecksumKind) -> &'static str {
    row(kind).3
}

/// Is this header the value of a checksum?
pub(crate) fn is_checksum_value(header: &str) -> bool {
    KINDS.iter().any(|row| row.2 == header)
}

/// The value as S3 shows it: base64, with `-N` where it is composite.
pub(crate) fn checksum_value(checksum: &Checksum) -> String {
    let value = BASE64.encode(&checksum.value);
    match checksum.r#type {
        ChecksumType::Composite if checksum.parts > 0 => format!("{value}-{}", checksum.parts),
        _ => value,
    }
}

/// An algorithm by its name.
pub(crate) fn parse_algorithm(name: &str) -> Result<ChecksumKind, S3Error> {
    KINDS.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0).ok_or_else(|| {
        S3Error::new(
            S3ErrorCode::INVALID_REQUEST,
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, \
             CRC64NVME, SHA1, SHA256]",
        )
    })
}

/// A type by its name.
pub(crate) fn parse_checksum_type(name: &str) -> Result<ChecksumType, S3Error> {
    match name {
        "FULL_OBJECT" => Ok(ChecksumType::FullObject),
        "COMPOSITE" => Ok(ChecksumType::Composite),
        other => Err(invalid_argument(
            "Value for x-amz-checksum-type header is invalid.",
            "x-amz-checksum-type",
            other,
        )),
    }
}

/// A value in base64, with `-N` where it is composite; `None` where it is not of its kind.
pub(crate) fn parse_checksum(kind: ChecksumKind, value: &str) -> Option<Checksum> {
    let (digest, parts) = match value.trim().rsplit_once('-') {
        Some((digest, parts)) => (digest, parts.parse::<u16>().ok().filter(|parts| *parts > 0)?),
        None => (value.trim(), 0),
    };
    let bytes = BASE64.decode(digest.as_bytes()).ok().filter(|bytes| bytes.len() == row(kind).4)?;
    let r#type = if parts > 0 { ChecksumType::Composite } else { ChecksumType::FullObject };
    Some(Checksum { kind, r#type, value: bytes, parts })
}

/// The kind of an XML element such as `ChecksumCRC32`.
pub(crate) fn kind_of_element(name: &str) -> Option<ChecksumKind> {
    KINDS.iter().find(|row| row.3 == name).map(|row| row.0)
}

/// `x-amz-checksum-*` of a Complete: what the client says of the whole object.
pub fn object_checksum(headers: &HeaderMap) -> Result<Option<Checksum>, S3Error> {
    let mut found = None;
    for (kind, _, header, _, _) in KINDS {
        let Some(value) = text(headers, header) else { continue };
        if found.is_some() {
            return Err(S3Error::new(
                S3ErrorCode::INVALID_REQUEST,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let checksum = parse_checksum(kind, &value).ok_or_else(|| {
            S3Error::new(S3ErrorCode::INVALID_REQUEST, format!("Value for {header} header is invalid."))
        })?;
        found = Some(checksum);
    }
    Ok(found)
}

/// The choice that opens an upload. CRC-64/NVME is full-object alone, the SHAs are composite alone; the other CRCs
/// are composite unless asked otherwise. Source: Amazon S3 User Guide, "Checking object integrity".
pub(crate) fn upload_checksum(headers: &HeaderMap) -> Result<Option<(ChecksumKind, ChecksumType)>, S3Error> {
    let r#type = text(headers, "x-amz-checksum-type").map(|name| parse_checksum_type(&name)).transpose()?;
    let Some(name) = text(headers, "x-amz-checksum-algorithm") else {
        return match r#type {
            None => Ok(None),
            Some(_) => Err(S3Error::new(
                S3ErrorCode::INVALID_REQUEST,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let kind = parse_algorithm(&name)?;
    let (allowed, default): (&[ChecksumType], _) = match kind {
        ChecksumKind::Crc64Nvme => (&[ChecksumType::FullObject], ChecksumType::FullObject),
        ChecksumKind::Sha1 | ChecksumKind::Sha256 => (&[ChecksumType::Composite], ChecksumType::Composite),
        ChecksumKind::Crc32 | ChecksumKind::Crc32c => {
            (&[ChecksumType::Composite, ChecksumType::FullObject], ChecksumType::Composite)
        }
    };
    let chosen = r#type.unwrap_or(default);
    if !allowed.contains(&chosen) {
        return Err(S3Error::new(
            S3ErrorCode::INVALID_REQUEST,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                type_name(chosen),
                algorithm_name(kind).to_ascii_lowercase()
            ),
        ));
    }
    Ok(Some((kind, chosen)))
}

/// Puts a checksum and its type into an answer.
pub(crate) fn checksum_headers(headers: &mut HeaderMap, checksum: &Checksum) {
    if let Ok(value) = HeaderValue::from_str(&checksum_value(checksum)) {
        headers.insert(HeaderName::from_static(row(checksum.kind).2), value);
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(type_name(checksum.r#type)));
    }
}

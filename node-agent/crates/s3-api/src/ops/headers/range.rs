//! `Range`, `If-Range` and `x-amz-copy-source-range`.

use http::HeaderMap;
use object_engine::{ObjectInfo, RangeSpec};

use super::{invalid_argument, text};
use crate::S3Error;

/// The range of a GET. S3 answers one range; several, another unit or a malformed one give the whole object
/// (RFC 9110 section 14.2 allows a server to ignore `Range`).
pub fn range(headers: &HeaderMap) -> Option<RangeSpec> {
    let header = text(headers, "range")?;
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(RangeSpec::Suffix(number(last)?)),
        (first, "") => Some(RangeSpec::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeSpec::FromTo(first, last))
        }
    }
}

/// Digits alone; more than u64 holds is beyond any object and counts as its greatest value.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Does `If-Range` (if any) hold for the object as it is? If not, the range is ignored: the client's copy is outdated.
pub fn if_range_holds(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    let Some(validator) = text(headers, "if-range") else { return true };
    let validator = validator.trim();
    if validator.starts_with("W/") {
        return false;
    }
    if let Some(tag) = validator.strip_prefix('"') {
        return tag.strip_suffix('"') == Some(info.etag.as_str());
    }
    match httpdate::parse_http_date(validator) {
        Ok(date) => date
            .duration_since(std::time::UNIX_EPOCH)
            .is_ok_and(|since| since.as_secs() == info.modified.as_secs()),
        Err(_) => validator == info.etag,
    }
}

/// `x-amz-copy-source-range`: both ends, inclusive.
pub fn copy_source_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, S3Error> {
    let Some(header) = text(headers, "x-amz-copy-source-range") else { return Ok(None) };
    let parse = || {
        let (first, last) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    match parse() {
        Some(range) => Ok(Some(range)),
        None => Err(invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            &header,
        )),
    }
}

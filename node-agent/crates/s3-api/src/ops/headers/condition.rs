//! Conditions on reads, copy sources and writes.

use grid_types::Timestamp;
use http::HeaderMap;
use object_engine::{ReadConditions, WriteCondition};

use super::text;
use crate::{S3Error, S3ErrorCode};

/// The four read conditions.
pub fn read_conditions(headers: &HeaderMap) -> ReadConditions {
    conditions(headers, ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
}

/// The same for the source of a copy.
pub fn copy_source_conditions(headers: &HeaderMap) -> ReadConditions {
    conditions(
        headers,
        [
            "x-amz-copy-source-if-match",
            "x-amz-copy-source-if-none-match",
            "x-amz-copy-source-if-modified-since",
            "x-amz-copy-source-if-unmodified-since",
        ],
    )
}

fn conditions(headers: &HeaderMap, names: [&str; 4]) -> ReadConditions {
    let [matches, none_match, modified, unmodified] = names;
    ReadConditions {
        if_match: text(headers, matches).map(|list| etags(&list)),
        if_none_match: text(headers, none_match).map(|list| etags(&list)),
        if_modified_since: date(headers, modified),
        if_unmodified_since: date(headers, unmodified),
    }
}

/// A list of entity tags, quoted or (as many S3 clients send them) bare; `W/` is dropped, for S3 has no weak tags.
fn etags(list: &str) -> Vec<String> {
    list.split(',').map(etag_of_header).filter(|tag| !tag.is_empty()).collect()
}

/// One entity tag without quotes and `W/`.
pub fn etag_of_header(tag: &str) -> String {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.trim_matches('"').to_owned()
}

/// An HTTP date; RFC 9110 says to ignore the field where it is none. A date before 1970 is 1970: no object is older.
fn date(headers: &HeaderMap, name: &str) -> Option<Timestamp> {
    let parsed = httpdate::parse_http_date(text(headers, name)?.trim()).ok()?;
    let since = parsed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Some(Timestamp::from_secs(since.as_secs()))
}

/// `If-None-Match: *` or `If-Match` of a write. S3 takes no other form, and not both. `If-Match: *` is the
/// tag `*`, which every object has for the engine.
pub fn write_condition(headers: &HeaderMap) -> Result<WriteCondition, S3Error> {
    let not_built = |name: &str| {
        S3Error::new(
            S3ErrorCode::NOT_IMPLEMENTED,
            "A header you provided implies functionality that is not implemented",
        )
        .detail("Header", name)
    };
    match (text(headers, "if-match"), text(headers, "if-none-match")) {
        (None, None) => Ok(WriteCondition::None),
        (None, Some(none)) if etag_of_header(&none) == "*" => Ok(WriteCondition::Absent),
        (None, Some(_)) => Err(not_built("If-None-Match")),
        (Some(_), Some(_)) => Err(not_built("If-None-Match")),
        (Some(tag), None) => match etag_of_header(&tag).as_str() {
            "" => Err(S3Error::new(S3ErrorCode::INVALID_ARGUMENT, "If-Match names no entity tag")),
            tag if tag.contains(',') => Err(not_built("If-Match")),
            tag => Ok(WriteCondition::ETag(tag.to_owned())),
        },
    }
}

//! Headers that travel in the query. Who presigns a request hands out nothing but its URL, so presigners move the
//! operation's `x-amz-*` headers (user metadata, storage class, copy source …) into it, where the signature covers
//! them; S3 takes them as the headers that they stand for.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::is_version_2;
use crate::ops::headers::is_checksum_value;
use crate::request::Query;
use crate::{S3Error, S3ErrorCode};

/// What an `x-amz-*` parameter must not be to be a header: it belongs to the signature, or says how a body travels.
const NO_HEADERS: [&str; 11] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-expires",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-trailer",
];

/// Signatures of version 2 cover these as well, so they are moved with the others.
const OF_VERSION_2: [&str; 2] = ["content-md5", "content-type"];

/// Does a parameter stand for a header? The value of a checksum does not: SDKs presign that of the empty body which
/// they have at the time, and S3 ignores it.
fn stands_for_header(name: &str, version_2: bool) -> bool {
    (name.starts_with("x-amz-") && !NO_HEADERS.contains(&name) && !is_checksum_value(name))
        || (version_2 && OF_VERSION_2.contains(&name))
}

/// The headers with those of the query beside them; `None` where the query has none. What comes as a header counts
/// for more than what comes in the query.
pub(crate) fn with_query_headers(query: &Query, headers: &HeaderMap) -> Result<Option<HeaderMap>, S3Error> {
    let version_2 = is_version_2(query);
    let mut merged = None;
    for (name, value) in &query.0 {
        let lower = name.to_ascii_lowercase();
        if !stands_for_header(&lower, version_2) || headers.contains_key(&lower) {
            continue;
        }
        let (Ok(lower), Ok(value)) = (HeaderName::try_from(lower), HeaderValue::from_bytes(value.as_bytes()))
        else {
            return Err(S3Error::new(S3ErrorCode::INVALID_ARGUMENT, "The parameter cannot be a header")
                .detail("ArgumentName", name)
                .detail("ArgumentValue", value));
        };
        merged.get_or_insert_with(|| headers.clone()).append(lower, value);
    }
    Ok(merged)
}

#[cfg(test)]
#[path = "query_headers_tests.rs"]
mod query_headers_tests;

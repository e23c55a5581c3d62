//! Signature Version 2, in the header and the query, for clients that presign with nothing else: boto3 does so for
//! every endpoint that is not AWS's own. Behind a switch, for it is HMAC-SHA1 over a part of the request: neither the
//! body nor most of the query is covered, and a URL may live for any time.
//!
//! Source: AWS, "Signing and authenticating REST requests" (Amazon S3 Developer Guide, API version 2006-03-01).

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64;
use grid_types::Timestamp;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, DATE};
use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY};
use subtle::ConstantTimeEq;

use crate::address::percent_decode;
use crate::auth::verify::check_skew;
use crate::auth::{PayloadHash, SignedRequest, format_extended, parse_basic, parse_http};
use crate::request::Query;
use crate::{S3Error, S3ErrorCode};

/// The scheme of the `Authorization` header.
pub(super) const SCHEME: &str = "AWS";
/// Query parameters that are signed as a part of the resource. `list-type` and most others are not.
const SIGNED_PARAMETERS: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// What a request says that is signed so. Checked in form and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version2 {
    /// Access key id.
    pub key_id: String,
    /// In base64, as sent.
    signature: String,
    /// The fourth line of the string to sign: `Date`, nothing where `x-amz-date` is there, or `Expires`.
    date: String,
    /// What it says of its body.
    pub payload: PayloadHash,
}

/// True where the query is signed so.
pub fn is_version_2(query: &Query) -> bool {
    query.has("AWSAccessKeyId") && query.has("Signature")
}

/// From `Authorization: AWS KEY:SIGNATURE`.
pub(super) fn parse_header(
    header: &str,
    headers: &HeaderMap,
    payload: PayloadHash,
    now: Timestamp,
    skew_max: Duration,
) -> Result<Version2, S3Error> {
    let credential = header.trim().strip_prefix(SCHEME).unwrap_or_default().trim();
    let (key_id, signature) = credential
        .rsplit_once(':')
        .filter(|(key, signature)| !key.is_empty() && !signature.is_empty())
        .ok_or_else(|| {
            S3Error::new(
                S3ErrorCode::INVALID_ARGUMENT,
                "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            )
            .detail("ArgumentName", "Authorization")
            .detail("ArgumentValue", header)
        })?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let date = text("x-amz-date").or_else(|| text(DATE.as_str())).unwrap_or_default();
    let signed_at = parse_http(date).or_else(|| parse_basic(date)).ok_or_else(|| {
        S3Error::new(
            S3ErrorCode::ACCESS_DENIED,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    })?;
    check_skew(signed_at, now, skew_max)?;
    let date = if headers.contains_key("x-amz-date") { "" } else { date };
    Ok(Version2 {
        key_id: key_id.to_owned(),
        signature: signature.to_owned(),
        date: date.to_owned(),
        payload,
    })
}

/// From `AWSAccessKeyId`, `Signature` and `Expires`, seconds since 1970.
pub(super) fn parse_query(query: &Query, payload: PayloadHash, now: Timestamp) -> Result<Version2, S3Error> {
    let wanted = |name| {
        query.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            S3Error::new(
                S3ErrorCode::ACCESS_DENIED,
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
            )
        })
    };
    let (key_id, signature, expires) = (wanted("AWSAccessKeyId")?, wanted("Signature")?, wanted("Expires")?);
    let end: u64 = expires.parse().map_err(|_| {
        S3Error::new(S3ErrorCode::ACCESS_DENIED, "Invalid date (should be seconds since epoch): ")
            .detail("Expires", expires)
    })?;
    if now.as_secs() > end {
        return Err(S3Error::new(S3ErrorCode::ACCESS_DENIED, "Request has expired")
            .detail("Expires", format_extended(Timestamp::from_secs(end)))
            .detail("ServerTime", format_extended(now)));
    }
    Ok(Version2 {
        key_id: key_id.to_owned(),
        signature: signature.to_owned(),
        date: expires.to_owned(),
        payload,
    })
}

/// Holds a signature against the secret of its key. `bucket_in_host` is the bucket of a virtual-host request.
pub fn verify_version_2(
    request: &SignedRequest<'_>,
    proof: &Version2,
    bucket_in_host: Option<&str>,
    secret: &str,
) -> Result<(), S3Error> {
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let right = |text: &str| -> bool {
        let right = BASE64.encode(hmac::sign(&key, text.as_bytes()).as_ref());
        right.as_bytes().ct_eq(proof.signature.as_bytes()).into()
    };
    let text = string_to_sign(request, &proof.date, bucket_in_host)?;
    if right(&text) {
        return Ok(());
    }
    // Some sign a bucket's path as it is sent; boto3 sends `/bucket` and signs `/bucket/`.
    if bucket_in_host.is_none() && !request.path[1..].contains('/') {
        let with_slash = format!("{}/", request.path);
        let request = SignedRequest { path: &with_slash, ..*request };
        if right(&string_to_sign(&request, &proof.date, None)?) {
            return Ok(());
        }
    }
    Err(S3Error::from(S3ErrorCode::SIGNATURE_DOES_NOT_MATCH)
        .detail("AWSAccessKeyId", proof.key_id.clone())
        .detail("StringToSign", text)
        .detail("SignatureProvided", proof.signature.clone()))
}

/// Headers that were moved into the query count as headers: presigners move all that the signature covers.
fn string_to_sign(
    request: &SignedRequest<'_>,
    date: &str,
    bucket_in_host: Option<&str>,
) -> Result<String, S3Error> {
    let (mut amz, mut plain, mut parameters) =
        (BTreeMap::<String, String>::new(), BTreeMap::new(), Vec::new());
    let mut take = |name: String, value: &str| {
        if name.starts_with("x-amz-") {
            let values = amz.entry(name).or_default();
            if !values.is_empty() {
                values.push(',');
            }
            values.push_str(value.trim());
        } else {
            plain.entry(name).or_insert_with(|| value.trim().to_owned());
        }
    };
    for (name, value) in request.headers {
        take(name.as_str().to_owned(), &String::from_utf8_lossy(value.as_bytes()));
    }
    for pair in request.query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
        let name = percent_decode(name, true)?;
        if SIGNED_PARAMETERS.contains(&name.as_str()) {
            let value = value.map(|value| percent_decode(value, false)).transpose()?;
            parameters.push((name, value));
        } else {
            take(name.to_ascii_lowercase(), &percent_decode(value.unwrap_or_default(), true)?);
        }
    }
    parameters.sort();

    let plain = |name: &str| plain.get(name).map_or("", String::as_str);
    let mut text =
        format!("{}\n{}\n{}\n{date}\n", request.method, plain("content-md5"), plain(CONTENT_TYPE.as_str()),);
    for (name, value) in &amz {
        text.push_str(&format!("{name}:{value}\n"));
    }
    if let Some(bucket) = bucket_in_host {
        text.push('/');
        text.push_str(&bucket.to_ascii_lowercase());
    }
    text.push_str(request.path);
    for (position, (name, value)) in parameters.iter().enumerate() {
        text.push(if position == 0 { '?' } else { '&' });
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    Ok(text)
}

#[cfg(test)]
#[path = "version_2_tests.rs"]
mod version_2_tests;

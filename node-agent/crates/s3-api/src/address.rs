//! Path style and virtual-host style: which bucket and key a request addresses.
//!
//! Keys are decoded from percent-encoding exactly once and never normalised: `a//b`, `./x` and `..` are keys like any
//! other. What does not decode to UTF-8 is InvalidURI.

use grid_types::{BucketName, ObjectKey};

use crate::table::Level;
use crate::{S3Error, S3ErrorCode};

/// Virtual-host style works under this name without any configuration; resolvers send it to loopback (RFC 6761).
const LOCAL_SUFFIX: &str = "localhost";

/// What a request addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The bucket, in the path or the host.
    pub bucket: Option<BucketName>,
    /// The key.
    pub key: Option<ObjectKey>,
}

impl Address {
    /// From `Host` (or `:authority`, with or without port) and the path as sent.
    pub fn parse(host: &str, path: &str, host_suffixes: &[String]) -> Result<Self, S3Error> {
        let Some(path) = path.strip_prefix('/') else {
            return Err(S3ErrorCode::INVALID_URI.into());
        };
        let (bucket, key) = match bucket_of_host(host, host_suffixes) {
            Some(bucket) => (Some(bucket.to_ascii_lowercase()), path),
            None => match path.split_once('/') {
                Some((bucket, key)) => (Some(percent_decode(bucket, false)?), key),
                None if path.is_empty() => (None, ""),
                None => (Some(percent_decode(path, false)?), ""),
            },
        };
        let bucket = bucket
            .map(|name| {
                name.parse::<BucketName>()
                    .map_err(|_| S3Error::from(S3ErrorCode::INVALID_BUCKET_NAME).detail("BucketName", name))
            })
            .transpose()?;
        let key = percent_decode(key, false)?;
        let key = if key.is_empty() {
            None
        } else {
            let length = key.len();
            let key = ObjectKey::new(key).map_err(|_| {
                S3Error::from(S3ErrorCode::KEY_TOO_LONG)
                    .detail("Size", length.to_string())
                    .detail("MaxSizeAllowed", grid_types::KEY_BYTES_MAX.to_string())
            })?;
            Some(key)
        };
        Ok(Self { bucket, key })
    }

    /// The level of the table's rows that can take this.
    pub fn level(&self) -> Level {
        match (&self.bucket, &self.key) {
            (None, _) => Level::Service,
            (Some(_), None) => Level::Bucket,
            (Some(_), Some(_)) => Level::Object,
        }
    }

    /// `bucket`, `bucket/key` or empty: what `iam` decides on.
    pub fn resource(&self) -> String {
        match (&self.bucket, &self.key) {
            (None, _) => String::new(),
            (Some(bucket), None) => bucket.to_string(),
            (Some(bucket), Some(key)) => format!("{bucket}/{key}"),
        }
    }
}

/// The host without its port; an IPv6 literal keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// `bucket` of `bucket.SUFFIX`, by the longest suffix that fits; none where the host is a suffix itself.
pub(crate) fn bucket_of_host<'a>(host: &'a str, suffixes: &[String]) -> Option<&'a str> {
    let host = without_port(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    let all = || suffixes.iter().map(|suffix| suffix.trim_matches('.')).chain([LOCAL_SUFFIX]);
    if all().any(|suffix| host.eq_ignore_ascii_case(suffix)) {
        return None;
    }
    all()
        .filter_map(|suffix| {
            let dot = host.len().checked_sub(suffix.len() + 1)?;
            let fits = host.as_bytes()[dot] == b'.'
                && host.as_bytes()[dot + 1..].eq_ignore_ascii_case(suffix.as_bytes());
            (fits && dot > 0 && !suffix.is_empty()).then(|| &host[..dot])
        })
        .min_by_key(|bucket| bucket.len())
}

/// Decodes percent-encoding once. Broken escapes and what is not UTF-8 are InvalidURI.
pub fn percent_decode(text: &str, plus_is_space: bool) -> Result<String, S3Error> {
    let plain = |b: &u8| *b != b'%' && !(plus_is_space && *b == b'+');
    if text.as_bytes().iter().all(plain) {
        return Ok(text.to_owned());
    }
    let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(S3ErrorCode::INVALID_URI.into()),
            },
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| S3ErrorCode::INVALID_URI.into())
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod address_tests;

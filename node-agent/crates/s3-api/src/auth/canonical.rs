//! The canonical request.
//!
//! S3's own rule differs from other services of AWS: the path is encoded once, `/` is kept, and nothing is normalised.

use http::HeaderMap;
use http::header::HOST;

use crate::S3Error;
use crate::address::percent_decode;

/// The parts of a request that a signature covers.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path as sent.
    pub path: &'a str,
    /// The query as sent, without `?`.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// `Host` or `:authority`, as sent.
    pub host: &'a str,
}

/// Appends `bytes` with everything but unreserved characters (and `/` where it is kept) as `%XX`, upper case.
pub fn uri_encode(to: &mut Vec<u8>, bytes: &[u8], keep_slash: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => to.push(byte),
            b'/' if keep_slash => to.push(byte),
            _ => to.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

/// The query, each name and value encoded anew, sorted by encoded name and value; without `X-Amz-Signature`.
pub fn canonical_query(query: &str) -> Result<Vec<u8>, S3Error> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode(name, true)?;
        if name == "X-Amz-Signature" {
            continue;
        }
        let (mut encoded_name, mut encoded_value) = (Vec::new(), Vec::new());
        uri_encode(&mut encoded_name, name.as_bytes(), false);
        uri_encode(&mut encoded_value, percent_decode(value, true)?.as_bytes(), false);
        pairs.push((encoded_name, encoded_value));
    }
    pairs.sort_unstable();
    let mut canonical = Vec::with_capacity(query.len() + 16);
    for (name, value) in pairs {
        if !canonical.is_empty() {
            canonical.push(b'&');
        }
        canonical.extend(name);
        canonical.push(b'=');
        canonical.extend(value);
    }
    Ok(canonical)
}

/// Appends a header value, trimmed, its runs of blanks folded into one.
fn fold_blanks(to: &mut Vec<u8>, value: &[u8]) {
    let mut first = true;
    for word in value.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty()) {
        if !first {
            to.push(b' ');
        }
        first = false;
        to.extend(word);
    }
}

/// The canonical request, whose SHA-256 is signed. Refuses paths and queries that do not decode.
pub fn canonical_request(
    request: &SignedRequest<'_>,
    signed_headers: &[String],
    payload_hash: &str,
) -> Result<Vec<u8>, S3Error> {
    let mut text = Vec::with_capacity(512);
    text.extend(request.method.as_bytes());
    text.push(b'\n');
    uri_encode(&mut text, percent_decode(request.path, false)?.as_bytes(), true);
    text.push(b'\n');
    text.extend(canonical_query(request.query)?);
    text.push(b'\n');
    for name in signed_headers {
        text.extend(name.as_bytes());
        text.push(b':');
        if name == HOST.as_str() {
            text.extend(request.host.trim().as_bytes());
        } else {
            for (position, value) in request.headers.get_all(name).iter().enumerate() {
                if position > 0 {
                    text.push(b',');
                }
                fold_blanks(&mut text, value.as_bytes());
            }
        }
        text.push(b'\n');
    }
    text.push(b'\n');
    for (position, name) in signed_headers.iter().enumerate() {
        if position > 0 {
            text.push(b';');
        }
        text.extend(name.as_bytes());
    }
    text.push(b'\n');
    text.extend(payload_hash.as_bytes());
    Ok(text)
}

//! From a request to a verified caller: find the proof, hold it against the secret.

use std::time::Duration;

use data_encoding::HEXLOWER;
use grid_types::Timestamp;
use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE, HOST};
use ring::digest::{SHA256, digest};

use crate::auth::authorization::{malformed, version_2_refused};
use crate::auth::version_2::{self, Version2};
use crate::auth::{
    ALGORITHM, Authorization, CredentialScope, Payload, PayloadHash, Presigned, SignedRequest,
    SigningKeyCache, canonical_request, format_basic, format_extended, parse_authorization, parse_basic,
    parse_http, parse_presigned,
};
use crate::body::ChunkSigner;
use crate::request::Query;
use crate::{S3Error, S3ErrorCode};

const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// How a request says who sends it. Checked in form and time, not yet against a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Not at all.
    Anonymous {
        /// What it says of its body nevertheless.
        payload: PayloadHash,
    },
    /// A signature of version 2.
    Version2(Version2),
    /// A signature.
    Signature {
        /// Who signs.
        scope: CredentialScope,
        /// Which headers are covered.
        signed_headers: Vec<String>,
        /// The signature as sent.
        signature: String,
        /// The time of signing, `yyyymmddThhmmssZ`.
        date: String,
        /// What stands in the canonical request for the body.
        payload_text: String,
        /// The same, understood.
        payload: PayloadHash,
    },
}

impl Proof {
    /// The access key to look up.
    pub fn key_id(&self) -> Option<&str> {
        match self {
            Self::Anonymous { .. } => None,
            Self::Version2(proof) => Some(&proof.key_id),
            Self::Signature { scope, .. } => Some(&scope.key_id),
        }
    }
}

/// What a right signature gives.
pub struct Verified {
    /// How to read the body.
    pub payload: Payload,
}

/// What a proof may be.
#[derive(Debug, Clone, Copy)]
pub struct ProofRules {
    /// Clock difference that a signature may have.
    pub skew_max: Duration,
    /// Are signatures of version 2 taken?
    pub version_2: bool,
}

/// Finds and checks the proof of a request, all but the signature itself.
pub fn parse_proof(
    headers: &HeaderMap,
    query: &Query,
    now: Timestamp,
    rules: ProofRules,
) -> Result<Proof, S3Error> {
    let skew_max = rules.skew_max;
    let presigned =
        query.has("X-Amz-Algorithm") || query.has("X-Amz-Signature") || query.has("X-Amz-Credential");
    let header = headers.get(AUTHORIZATION);
    let old_query = version_2::is_version_2(query);
    if header.is_some() && (presigned || old_query) {
        return Err(S3Error::new(
            S3ErrorCode::INVALID_ARGUMENT,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        )
        .detail("ArgumentName", "Authorization"));
    }
    if headers.contains_key("x-amz-security-token") || query.has("X-Amz-Security-Token") {
        return Err(S3ErrorCode::INVALID_TOKEN.into());
    }
    if let Some(header) = header {
        let text = header.to_str().map_err(|_| malformed("it holds bytes that are no text."))?;
        if rules.version_2 && text.split_whitespace().next() == Some(version_2::SCHEME) {
            let payload = payload_beside_signature(headers)?;
            return version_2::parse_header(text, headers, payload, now, skew_max).map(Proof::Version2);
        }
        return in_header(parse_authorization(text)?, headers, now, skew_max);
    }
    if presigned {
        return in_query(parse_presigned(query)?, headers, now, skew_max);
    }
    if old_query && !rules.version_2 {
        return Err(version_2_refused());
    }
    let payload = payload_beside_signature(headers)?;
    if old_query {
        return version_2::parse_query(query, payload, now).map(Proof::Version2);
    }
    Ok(Proof::Anonymous { payload })
}

/// What is said of a body that no signature covers.
fn payload_beside_signature(headers: &HeaderMap) -> Result<PayloadHash, S3Error> {
    let payload = match headers.get(CONTENT_SHA256) {
        None => PayloadHash::Unsigned,
        Some(value) => PayloadHash::parse(value.to_str().unwrap_or(""))?,
    };
    if matches!(payload, PayloadHash::StreamingSigned { .. }) {
        return Err(S3Error::new(
            S3ErrorCode::INVALID_REQUEST,
            "Signed chunks need a request that is signed with AWS4-HMAC-SHA256.",
        ));
    }
    Ok(payload)
}

fn in_header(
    authorization: Authorization,
    headers: &HeaderMap,
    now: Timestamp,
    skew_max: Duration,
) -> Result<Proof, S3Error> {
    let Authorization { scope, signed_headers, signature } = authorization;
    let signed_at = request_time(headers)?;
    let date = format_basic(signed_at);
    if !date.starts_with(&scope.date) {
        return Err(malformed(&format!(
            "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\".",
            scope.date,
            &date[..8]
        )));
    }
    check_skew(signed_at, now, skew_max)?;
    check_signed_headers(headers, &signed_headers, |_| false)?;
    let Some(payload_text) = headers.get(CONTENT_SHA256) else {
        return Err(S3Error::new(
            S3ErrorCode::INVALID_REQUEST,
            "Missing required header for this request: x-amz-content-sha256",
        ));
    };
    let payload_text = String::from_utf8_lossy(payload_text.as_bytes()).trim().to_owned();
    let payload = PayloadHash::parse(&payload_text)?;
    Ok(Proof::Signature { scope, signed_headers, signature, date, payload_text, payload })
}

fn in_query(
    presigned: Presigned,
    headers: &HeaderMap,
    now: Timestamp,
    skew_max: Duration,
) -> Result<Proof, S3Error> {
    let Presigned { scope, signed_at, date, expires, signed_headers, signature, payload_hash } = presigned;
    if signed_at.since(now) > skew_max {
        return Err(S3Error::new(S3ErrorCode::ACCESS_DENIED, "Request is not yet valid")
            .detail("X-Amz-Date", date)
            .detail("ServerTime", format_extended(now)));
    }
    let end = signed_at.plus(expires);
    if now > end {
        return Err(S3Error::new(S3ErrorCode::ACCESS_DENIED, "Request has expired")
            .detail("X-Amz-Expires", expires.as_secs().to_string())
            .detail("Expires", format_extended(end))
            .detail("ServerTime", format_extended(now)));
    }
    // Many clients add this header to a presigned URL by habit; where it is not signed it binds nothing.
    check_signed_headers(headers, &signed_headers, |name| name == CONTENT_SHA256)?;
    let in_header =
        headers.get(CONTENT_SHA256).filter(|_| signed_headers.iter().any(|name| name == CONTENT_SHA256));
    let payload_text = payload_hash
        .or_else(|| in_header.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()))
        .unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned());
    let payload = PayloadHash::parse(&payload_text)?;
    Ok(Proof::Signature { scope, signed_headers, signature, date, payload_text, payload })
}

/// A request may be signed a little before or after our own time.
pub(super) fn check_skew(signed_at: Timestamp, now: Timestamp, skew_max: Duration) -> Result<(), S3Error> {
    if now.since(signed_at) <= skew_max && signed_at.since(now) <= skew_max {
        return Ok(());
    }
    Err(S3Error::from(S3ErrorCode::REQUEST_TIME_TOO_SKEWED)
        .detail("RequestTime", format_basic(signed_at))
        .detail("ServerTime", format_extended(now))
        .detail("MaxAllowedSkewMilliseconds", skew_max.as_millis().to_string()))
}

/// `x-amz-date`, or `Date` in either form.
fn request_time(headers: &HeaderMap) -> Result<Timestamp, S3Error> {
    let missing = || {
        S3Error::new(
            S3ErrorCode::ACCESS_DENIED,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key("x-amz-date") {
        return text("x-amz-date").and_then(parse_basic).ok_or_else(missing);
    }
    let date = text(DATE.as_str()).ok_or_else(missing)?;
    parse_basic(date).or_else(|| parse_http(date)).ok_or_else(missing)
}

/// `Host` and every `x-amz-*` header that is there must be signed: else anybody on the way could add one.
fn check_signed_headers(
    headers: &HeaderMap,
    signed: &[String],
    exempt: impl Fn(&str) -> bool,
) -> Result<(), S3Error> {
    let is_signed = |name: &str| signed.iter().any(|known| known == name);
    let mut unsigned: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && !is_signed(name) && !exempt(name))
        .collect();
    if !is_signed(HOST.as_str()) {
        unsigned.push(HOST.as_str());
    }
    if unsigned.is_empty() {
        return Ok(());
    }
    unsigned.sort_unstable();
    Err(S3Error::new(
        S3ErrorCode::ACCESS_DENIED,
        "There were headers present in the request which were not signed",
    )
    .detail("HeadersNotSigned", unsigned.join(", ")))
}

/// Holds a proof against the secret of its key. `cache` keeps signing keys that proved right.
pub fn verify(
    request: &SignedRequest<'_>,
    proof: &Proof,
    secret: &str,
    cache: &SigningKeyCache,
) -> Result<Verified, S3Error> {
    let Proof::Signature { scope, signed_headers, signature, date, payload_text, payload } = proof else {
        return Err(S3ErrorCode::ACCESS_DENIED.into());
    };
    let canonical = canonical_request(request, signed_headers, payload_text)?;
    let hash = HEXLOWER.encode(digest(&SHA256, &canonical).as_ref());
    let string_to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
    let key = cache.get(secret, scope);
    if !key.verify(string_to_sign.as_bytes(), signature) {
        return Err(S3Error::from(S3ErrorCode::SIGNATURE_DOES_NOT_MATCH)
            .detail("AWSAccessKeyId", scope.key_id.clone())
            .detail("StringToSign", string_to_sign)
            .detail("SignatureProvided", signature.clone())
            .detail("CanonicalRequest", String::from_utf8_lossy(&canonical).into_owned()));
    }
    cache.keep(secret, scope, &key);
    let payload = match *payload {
        PayloadHash::Unsigned => Payload::Plain,
        PayloadHash::Sha256(hash) => Payload::Sha256(hash),
        PayloadHash::StreamingUnsignedTrailer => Payload::Chunked { signer: None, trailer: true },
        PayloadHash::StreamingSigned { trailer } => {
            let signer = ChunkSigner::new(key, date.clone(), scope.to_string(), signature.clone());
            Payload::Chunked { signer: Some(Box::new(signer)), trailer }
        }
    };
    Ok(Verified { payload })
}

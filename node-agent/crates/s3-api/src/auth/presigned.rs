//! The query form: presigned URLs.

use std::time::Duration;

use grid_types::Timestamp;

use crate::auth::authorization::header_names;
use crate::auth::{ALGORITHM, CredentialScope, parse_basic};
use crate::request::Query;
use crate::{S3Error, S3ErrorCode};

/// A presigned URL lives a week at most.
pub const EXPIRES_SECONDS_MAX: u64 = 604_800;

/// What the query of a presigned URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presigned {
    /// Who signed.
    pub scope: CredentialScope,
    /// When.
    pub signed_at: Timestamp,
    /// `X-Amz-Date` as sent.
    pub date: String,
    /// For how long.
    pub expires: Duration,
    /// Lower-case names, in the order sent.
    pub signed_headers: Vec<String>,
    /// 64 hex digits, as sent.
    pub signature: String,
    /// `X-Amz-Content-Sha256`, where the signer bound the body.
    pub payload_hash: Option<String>,
}

/// Takes the query of a presigned URL apart.
pub fn parse_presigned(query: &Query) -> Result<Presigned, S3Error> {
    let wanted = |name| {
        query.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            wrong(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            )
        })
    };
    let algorithm = wanted("X-Amz-Algorithm")?;
    let credential = wanted("X-Amz-Credential")?;
    let signature = wanted("X-Amz-Signature")?;
    let date = wanted("X-Amz-Date")?;
    let signed_headers = wanted("X-Amz-SignedHeaders")?;
    let expires = wanted("X-Amz-Expires")?;
    if algorithm != ALGORITHM {
        return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let scope = CredentialScope::parse(credential)
        .map_err(|error| wrong(&format!("Error parsing the X-Amz-Credential parameter; {error}")))?;
    let signed_at = parse_basic(date)
        .ok_or_else(|| wrong("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    if !date.starts_with(&scope.date) {
        return Err(wrong(&format!(
            "Error parsing the X-Amz-Credential parameter; incorrect date \"{}\". This date is not the same as X-Amz-Date: \"{}\".",
            scope.date,
            &date[..8]
        )));
    }
    Ok(Presigned {
        scope,
        signed_at,
        date: date.to_owned(),
        expires: parse_expires(expires)?,
        signed_headers: header_names(signed_headers),
        signature: signature.to_owned(),
        payload_hash: query.get("X-Amz-Content-Sha256").map(str::to_owned),
    })
}

fn parse_expires(text: &str) -> Result<Duration, S3Error> {
    let seconds: i64 = text.parse().map_err(|_| wrong("X-Amz-Expires should be a number"))?;
    let seconds = u64::try_from(seconds).map_err(|_| wrong("X-Amz-Expires must be non-negative"))?;
    match seconds {
        0 => Err(wrong("X-Amz-Expires must be at least 1 second")),
        1..=EXPIRES_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
        )),
    }
}

fn wrong(words: &str) -> S3Error {
    S3Error::new(S3ErrorCode::AUTHORIZATION_QUERY_PARAMETERS_ERROR, words)
}

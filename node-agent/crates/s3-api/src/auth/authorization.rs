//! The `Authorization` header.

use crate::auth::version_2::SCHEME;
use crate::auth::{ALGORITHM, CredentialScope};
use crate::{S3Error, S3ErrorCode};

/// What an `Authorization` header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Who signs.
    pub scope: CredentialScope,
    /// Lower-case names, in the order sent.
    pub signed_headers: Vec<String>,
    /// 64 hex digits, as sent.
    pub signature: String,
}

/// Takes an `Authorization` header apart.
pub fn parse_authorization(header: &str) -> Result<Authorization, S3Error> {
    let header = header.trim();
    let (algorithm, fields) = header.split_once(char::is_whitespace).unwrap_or((header, ""));
    if algorithm != ALGORITHM {
        return Err(unsupported(algorithm, header));
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let Some((name, value)) = field.trim().split_once('=') else { return Err(incomplete()) };
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(incomplete()),
        };
        if value.is_empty() || place.replace(value).is_some() {
            return Err(incomplete());
        }
    }
    let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature)
    else {
        return Err(incomplete());
    };
    let scope = CredentialScope::parse(credential).map_err(|error| malformed(&error.to_string()))?;
    Ok(Authorization { scope, signed_headers: header_names(signed_headers), signature: signature.to_owned() })
}

/// `host;x-amz-date` as names.
pub(crate) fn header_names(list: &str) -> Vec<String> {
    list.split(';').filter(|name| !name.is_empty()).map(str::to_ascii_lowercase).collect()
}

pub(crate) fn malformed(words: &str) -> S3Error {
    let words = format!("The authorization header is malformed; {words}");
    S3Error::new(S3ErrorCode::AUTHORIZATION_HEADER_MALFORMED, words)
}

fn incomplete() -> S3Error {
    malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
}

/// AWS's answer to signatures of version 2, where they are not taken.
pub(super) fn version_2_refused() -> S3Error {
    S3Error::new(
        S3ErrorCode::INVALID_REQUEST,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

fn unsupported(algorithm: &str, header: &str) -> S3Error {
    match algorithm {
        SCHEME => version_2_refused(),
        "AWS4-ECDSA-P256-SHA256" => S3Error::new(
            S3ErrorCode::NOT_IMPLEMENTED,
            "Signature Version 4A is not implemented. Please use AWS4-HMAC-SHA256.",
        ),
        _ => S3Error::new(S3ErrorCode::INVALID_ARGUMENT, "Unsupported Authorization Type")
            .detail("ArgumentName", "Authorization")
            .detail("ArgumentValue", header),
    }
}

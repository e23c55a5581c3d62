//! Content headers and user metadata, in and out.

use data_encoding::BASE64;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use object_engine::Attributes;

use super::{decode, text};
use crate::{S3Error, S3ErrorCode};

const USER_METADATA: &str = "x-amz-meta-";
/// What an object without a type is shown as.
const CONTENT_TYPE_DEFAULT: &str = "binary/octet-stream";

/// The attributes that a write's headers ask for.
pub fn attributes(headers: &HeaderMap, user_metadata_bytes_max: usize) -> Result<Attributes, S3Error> {
    let present = |name: HeaderName| text(headers, name.as_str()).filter(|value| !value.is_empty());
    Ok(Attributes {
        content_type: present(CONTENT_TYPE),
        content_encoding: present(CONTENT_ENCODING).and_then(|value| without_aws_chunked(&value)),
        content_disposition: present(CONTENT_DISPOSITION),
        content_language: present(CONTENT_LANGUAGE),
        cache_control: present(CACHE_CONTROL),
        expires: present(EXPIRES),
        website_redirect: redirect(headers)?,
        user_metadata: user_metadata(headers, user_metadata_bytes_max)?,
    })
}

/// `x-amz-website-redirect-location`: a path or an HTTP address.
pub fn redirect(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    let Some(target) = text(headers, "x-amz-website-redirect-location") else { return Ok(None) };
    if ["/", "http://", "https://"].iter().any(|start| target.starts_with(start)) {
        return Ok(Some(target));
    }
    Err(S3Error::new(
        S3ErrorCode::INVALID_REDIRECT_LOCATION,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ))
}

/// `aws-chunked` says how the body travelled, not what it is. All else stays as the client wrote it.
fn without_aws_chunked(value: &str) -> Option<String> {
    let travels = |coding: &&str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    if !value.split(',').any(|coding| travels(&coding)) {
        return Some(value.to_owned());
    }
    let codings: Vec<&str> = value.split(',').filter(|coding| !travels(coding)).collect();
    let rest = codings.join(",");
    let rest = rest.trim();
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn user_metadata(headers: &HeaderMap, bytes_max: usize) -> Result<Vec<(String, String)>, S3Error> {
    let mut metadata: Vec<(String, String)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(short) = name.as_str().strip_prefix(USER_METADATA) else { continue };
        let value = decode(value.as_bytes());
        match metadata.iter_mut().find(|(known, _)| known == short) {
            // Fields of one name are one list.
            Some((_, before)) => {
                bytes += 1 + value.len();
                before.push(',');
                before.push_str(&value);
            }
            None => {
                bytes += short.len() + value.len();
                metadata.push((short.to_owned(), value));
            }
        }
    }
    if bytes > bytes_max {
        return Err(S3Error::from(S3ErrorCode::METADATA_TOO_LARGE)
            .detail("Size", bytes.to_string())
            .detail("MaxSizeAllowed", bytes_max.to_string()));
    }
    Ok(metadata)
}

/// Writes stored attributes into an answer.
pub fn put_attributes(headers: &mut HeaderMap, attributes: &Attributes) {
    let kept = [
        (CONTENT_ENCODING, &attributes.content_encoding),
        (CONTENT_DISPOSITION, &attributes.content_disposition),
        (CONTENT_LANGUAGE, &attributes.content_language),
        (CACHE_CONTROL, &attributes.cache_control),
        (EXPIRES, &attributes.expires),
        (HeaderName::from_static("x-amz-website-redirect-location"), &attributes.website_redirect),
    ];
    let r#type = attributes.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT);
    if let Ok(value) = HeaderValue::from_bytes(r#type.as_bytes()) {
        headers.insert(CONTENT_TYPE, value);
    }
    for (name, value) in kept {
        if let Some(value) = value
            && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
        {
            headers.insert(name, value);
        }
    }
    for (name, value) in &attributes.user_metadata {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(format!("{USER_METADATA}{name}")), HeaderValue::from_str(&rfc2047(value)))
        {
            headers.insert(name, value);
        }
    }
}

/// A metadata value as S3 returns it: US-ASCII as it is, anything else as one RFC 2047 encoded word.
pub(crate) fn rfc2047(value: &str) -> String {
    if value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        value.to_owned()
    } else {
        format!("=?UTF-8?B?{}?=", BASE64.encode(value.as_bytes()))
    }
}

//! The handlers, a file a family of operations.

pub(crate) mod attributes;
pub(crate) mod bucket;
pub(crate) mod copy;
pub mod headers;
mod keep_alive;
pub(crate) mod list;
pub(crate) mod multipart;
pub(crate) mod object_delete;
pub(crate) mod object_get;
pub(crate) mod object_put;
pub(crate) mod service;
mod token;

use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use grid_types::{BucketName, ErrorCode, ObjectKey, Timestamp, VersionId};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_server::ResponseBody;
use object_engine::digest::{ChecksumHasher, Md5Hasher};
use object_engine::{EngineError, ExpectedDigests};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::request::{Query, S3Body, S3Request};
use crate::xml::XmlWriter;
use crate::{S3Error, S3ErrorCode, S3Front};

/// What every handler gives.
pub(crate) type Answered = Result<Response<ResponseBody>, S3Error>;

/// Entries of one page of any listing (S3's limit).
const PAGE_MAX: usize = 1_000;
/// The id of the one version that a bucket without versioning keeps of a key.
const NULL_VERSION: &str = "null";
/// S3's name for sealing under keys that the service manages. Everything here is sealed, so every answer says so.
const SEALED: HeaderValue = HeaderValue::from_static("AES256");

/// What holds for all operations: headers of features that are not built are refused, and `x-amz-expected-bucket-owner`
/// must be right.
pub(crate) async fn guard(front: &S3Front, request: &S3Request) -> Result<(), S3Error> {
    headers::refuse_unsupported(&request.headers)?;
    if let (Some(expected), Some(bucket)) =
        (headers::text(&request.headers, "x-amz-expected-bucket-owner"), &request.bucket)
    {
        expect_owner(front, bucket, &expected).await?;
    }
    Ok(())
}

async fn expect_owner(front: &S3Front, bucket: &BucketName, expected: &str) -> Result<(), S3Error> {
    let owner = owner_of(front, bucket).await?;
    if owner_id(&owner) == expected || owner == expected {
        Ok(())
    } else {
        Err(S3ErrorCode::ACCESS_DENIED.into())
    }
}

/// Who owns a bucket and all that is in it; NoSuchBucket where there is none.
async fn owner_of(front: &S3Front, bucket: &BucketName) -> Result<String, S3Error> {
    let found = front.engine.bucket(bucket).await.map_err(|error| refused(error, bucket, None))?;
    Ok(found.owner)
}

/// An answer with a document.
fn xml_answer(document: String) -> Response<ResponseBody> {
    let mut answer = Response::new(http_server::full(document));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

/// An answer without a body.
fn empty_answer(status: StatusCode) -> Response<ResponseBody> {
    let mut answer = Response::new(http_server::empty());
    *answer.status_mut() = status;
    answer
}

/// A header, unless its value cannot be one.
fn set(headers: &mut HeaderMap, name: &'static str, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        headers.insert(name, value);
    }
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// A stamp as S3's documents write it. S3 keeps whole seconds, and clients compare them with `Last-Modified`.
fn iso_time(at: Timestamp) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    match OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(at) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.000Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        ),
        Err(_) => "9999-12-31T23:59:59.000Z".to_owned(),
    }
}

/// A user as S3 names owners: 64 hex digits, the same for the same user everywhere.
fn owner_id(user: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(user.as_bytes()))
}

fn write_owner(xml: &mut XmlWriter, element: &'static str, user: &str) {
    xml.open(element).element("ID", owner_id(user)).element("DisplayName", user).close();
}

/// An engine error with the details that S3 shows for it.
fn refused(error: EngineError, bucket: &BucketName, key: Option<&ObjectKey>) -> S3Error {
    let code = error.code();
    let error = S3Error::from(error);
    match (code, key) {
        (ErrorCode::NoSuchBucket | ErrorCode::BucketNotEmpty, _)
        | (ErrorCode::BucketAlreadyExists | ErrorCode::BucketAlreadyOwnedByYou, _) => {
            error.detail("BucketName", bucket.as_str())
        }
        (ErrorCode::NoSuchKey, Some(key)) => error.detail("Key", key.as_str()),
        _ => error,
    }
}

/// `versionId`: `null` is the version that there is; another one is looked for.
fn version_parameter(query: &Query) -> Result<Option<VersionId>, S3Error> {
    query.get("versionId").map_or(Ok(None), parse_version)
}

fn parse_version(text: &str) -> Result<Option<VersionId>, S3Error> {
    match text {
        NULL_VERSION => Ok(None),
        "" => Err(headers::invalid_argument("Version id cannot be the empty string", "versionId", "")),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| headers::invalid_argument("Invalid version id specified", "versionId", text)),
    }
}

/// A whole number among the query parameters, within bounds.
fn number_parameter(query: &Query, name: &'static str, max: u64) -> Result<Option<u64>, S3Error> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let not_integer =
        || headers::invalid_argument("Provided value not an integer or within integer range", name, text);
    match text.parse::<i64>() {
        Ok(value) => match u64::try_from(value) {
            Ok(value) if value <= max => Ok(Some(value)),
            Ok(_) => Err(not_integer()),
            Err(_) => Err(headers::invalid_argument(
                &format!("Argument {name} must be an integer between 0 and {max}"),
                name,
                text,
            )),
        },
        Err(_) => Err(not_integer()),
    }
}

/// The page size of a listing: `max-keys` and its kin; more than S3's page is the page.
fn page_parameter(query: &Query, name: &'static str) -> Result<usize, S3Error> {
    let asked = number_parameter(query, name, i32::MAX.unsigned_abs().into())?;
    Ok(asked.map_or(PAGE_MAX, |asked| usize::try_from(asked).unwrap_or(PAGE_MAX).min(PAGE_MAX)))
}

/// `encoding-type`: `url` or nothing.
fn url_encoding(query: &Query) -> Result<bool, S3Error> {
    match query.get("encoding-type") {
        None | Some("") => Ok(false),
        Some(name) if name.eq_ignore_ascii_case("url") => Ok(true),
        Some(other) => Err(headers::invalid_argument(
            "Invalid Encoding Method specified in Request",
            "encoding-type",
            other,
        )),
    }
}

/// The document that a request carries, verified against its digests.
async fn collect_xml(front: &S3Front, body: S3Body) -> Result<Bytes, S3Error> {
    let limit = front.config.xml_bytes_max;
    let too_large = || {
        S3Error::from(S3ErrorCode::MAX_MESSAGE_LENGTH_EXCEEDED)
            .detail("MaxMessageLengthBytes", limit.to_string())
    };
    if body.length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let S3Body { stream, expected, .. } = body;
    let mut stream = stream.into_inner();
    let mut collected = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(S3Error::from)?;
        if collected.len() + piece.len() > limit {
            return Err(too_large());
        }
        collected.extend_from_slice(&piece);
    }
    let collected = collected.freeze();
    verify_digests(&collected, &expected)?;
    Ok(collected)
}

/// Holds a document against the digests that came with it, in headers or in a trailer.
fn verify_digests(document: &[u8], expected: &ExpectedDigests) -> Result<(), S3Error> {
    if let Some(md5) = expected.md5() {
        let mut hasher = Md5Hasher::default();
        hasher.update(document);
        if hasher.finish() != md5 {
            return Err(S3ErrorCode::BAD_DIGEST.into());
        }
    }
    if let Some(checksum) = expected.checksum() {
        let mut hasher = ChecksumHasher::new(checksum.kind);
        hasher.update(document);
        if hasher.finish() != checksum.value {
            let message = format!(
                "The {} you specified did not match the calculated checksum.",
                headers::algorithm_name(checksum.kind)
            );
            return Err(S3Error::new(S3ErrorCode::BAD_DIGEST, message));
        }
    }
    Ok(())
}

/// `x-amz-storage-class`, one that this grid has.
fn storage_class(front: &S3Front, headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    let class = headers::text(headers, "x-amz-storage-class").filter(|class| !class.is_empty());
    match class {
        Some(class) if !front.engine.has_storage_class(&class) => {
            Err(S3Error::from(S3ErrorCode::INVALID_STORAGE_CLASS).detail("StorageClassRequested", class))
        }
        class => Ok(class),
    }
}

/// What a caller is called where a document names an initiator or an owner and the bucket does not say.
fn caller_name(request: &S3Request) -> &str {
    match &request.caller {
        iam::Caller::Key(key) => &key.user,
        iam::Caller::Anonymous => "anonymous",
    }
}

#[cfg(test)]
mod tests;

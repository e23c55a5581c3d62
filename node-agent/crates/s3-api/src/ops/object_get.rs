//! GetObject and HeadObject, and the getters of an object's sub-resources.

use futures_util::{StreamExt, stream};
use grid_types::{ErrorCode, PART_COUNT_MAX};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_server::{BoxError, ResponseBody};
use iam::Caller;
use object_engine::{Checksum, EngineError, GetObject, ObjectInfo};

use super::headers::{
    checksum_headers, if_range_holds, invalid_argument, put_attributes, range, read_conditions, text,
    type_name,
};
use super::{Answered, SEALED, bucket, owner_of, quoted, refused, set, version_parameter, xml_answer};
use crate::error::http_date;
use crate::request::{Query, S3Request};
use crate::xml::XmlWriter;
use crate::{S3Error, S3ErrorCode, S3Front};

/// `response-*` parameters and the headers they set. Source: Amazon S3 API Reference, GetObject.
const OVERRIDES: [(&str, &str); 6] = [
    ("response-content-type", "content-type"),
    ("response-content-language", "content-language"),
    ("response-expires", "expires"),
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
];

pub(crate) async fn get_object(front: &S3Front, request: S3Request) -> Answered {
    let mut asked = parse(&request)?;
    pin_if_range(front, &request, &mut asked).await?;
    let (info, mut reader) = match front.engine.get_object(asked.clone()).await {
        Ok(found) => found,
        Err(error) => return Err(explain(&asked, error)),
    };
    // The first piece comes before the headers go, so that an object that cannot be read is a 500 and not a cut body.
    let first = match reader.next().await {
        Some(Err(error)) => return Err(explain(&asked, error)),
        Some(Ok(piece)) => Some(Ok(piece)),
        None => None,
    };
    let rest = reader.into_stream().map(|piece| piece.map_err(BoxError::from));
    answer(&request, &asked, &info, http_server::stream(stream::iter(first).chain(rest)))
}

pub(crate) async fn head_object(front: &S3Front, request: S3Request) -> Answered {
    let mut asked = parse(&request)?;
    pin_if_range(front, &request, &mut asked).await?;
    match front.engine.head_object(asked.clone()).await {
        Ok(info) => answer(&request, &asked, &info, http_server::empty()),
        Err(error) => Err(explain(&asked, error)),
    }
}

fn parse(request: &S3Request) -> Result<GetObject, S3Error> {
    if request.caller == Caller::Anonymous && OVERRIDES.iter().any(|(name, _)| request.query.has(name)) {
        let message = "Request specific response headers cannot be used for anonymous GET requests.";
        return Err(S3Error::new(S3ErrorCode::INVALID_REQUEST, message));
    }
    let range = range(&request.headers);
    let part_number = part_number(&request.query)?;
    if range.is_some() && part_number.is_some() {
        let message = "Cannot specify both Range header and partNumber query parameter";
        return Err(S3Error::new(S3ErrorCode::INVALID_REQUEST, message));
    }
    Ok(GetObject {
        bucket: request.bucket().clone(),
        key: request.key().clone(),
        version: version_parameter(&request.query)?,
        range,
        part_number,
        conditions: read_conditions(&request.headers),
    })
}

/// `partNumber` of a read or an upload: 1 to 10,000.
pub(crate) fn part_number(query: &Query) -> Result<Option<u16>, S3Error> {
    let Some(text) = query.get("partNumber") else { return Ok(None) };
    match text.parse::<u16>() {
        Ok(number) if (1..=PART_COUNT_MAX).contains(&number) => Ok(Some(number)),
        _ => Err(invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            text,
        )),
    }
}

/// Answers `If-Range`: where it does not hold, all of the object is answered. Where it holds, the version that it was
/// held against is the one that is read.
async fn pin_if_range(front: &S3Front, request: &S3Request, asked: &mut GetObject) -> Result<(), S3Error> {
    if asked.range.is_none() || text(&request.headers, "if-range").is_none() {
        return Ok(());
    }
    let whole = GetObject { range: None, ..asked.clone() };
    match front.engine.head_object(whole.clone()).await {
        Ok(info) if if_range_holds(&request.headers, &info) => asked.version = Some(info.version),
        Ok(_) => asked.range = None,
        Err(error) => return Err(explain(&whole, error)),
    }
    Ok(())
}

fn answer(request: &S3Request, asked: &GetObject, info: &ObjectInfo, body: ResponseBody) -> Answered {
    let mut answer = Response::new(body);
    if info.partial {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let headers = answer.headers_mut();
    object_headers(headers, info);
    let length = info.range.end - info.range.start;
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if info.partial && length > 0 {
        let range = format!("bytes {}-{}/{}", info.range.start, info.range.end - 1, info.size);
        set(headers, "content-range", range);
    }
    if asked.part_number.is_some() && info.part_count > 0 {
        headers.insert("x-amz-mp-parts-count", HeaderValue::from(info.part_count));
    }
    let wanted = text(&request.headers, "x-amz-checksum-mode")
        .is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if wanted && let Some(checksum) = checksum_of_answer(info) {
        checksum_headers(headers, checksum);
        // A part's own value says nothing of how the object's is made.
        if let Some(whole) = &info.checksum {
            set(headers, "x-amz-checksum-type", type_name(whole.r#type));
        }
    }
    for (parameter, header) in OVERRIDES {
        if let Some(value) = request.query.get(parameter) {
            match HeaderValue::from_bytes(value.as_bytes()) {
                Ok(value) => {
                    headers.insert(header, value);
                }
                Err(_) => return Err(invalid_argument("The value cannot be a header", parameter, value)),
            }
        }
    }
    Ok(answer)
}

/// The checksum of what is answered: SDKs hold it against the bytes that they received. A range has none.
fn checksum_of_answer(info: &ObjectInfo) -> Option<&Checksum> {
    let whole = info.range.start == 0 && info.range.end == info.size;
    info.part_checksum.as_ref().or(info.checksum.as_ref().filter(|_| whole))
}

/// What every answer about an object carries.
fn object_headers(headers: &mut HeaderMap, info: &ObjectInfo) {
    put_attributes(headers, &info.attributes);
    set(headers, "last-modified", http_date(info.modified));
    set(headers, "etag", quoted(&info.etag));
    headers.insert("x-amz-server-side-encryption", SEALED);
    if info.storage_class != "STANDARD" {
        set(headers, "x-amz-storage-class", &info.storage_class);
    }
}

/// An error of a read with what S3 adds to it.
fn explain(asked: &GetObject, error: EngineError) -> S3Error {
    match (error, asked.version) {
        (EngineError::InvalidRange { size }, _) => S3Error::from(S3ErrorCode::INVALID_RANGE)
            .detail("ActualObjectSize", size.to_string())
            .header(CONTENT_RANGE, format!("bytes */{size}")),
        (EngineError::PartNotSatisfiable { part, part_count }, _) => {
            S3Error::from(S3ErrorCode::INVALID_PART_NUMBER)
                .detail("PartNumberRequested", part.to_string())
                .detail("ActualPartCount", part_count.max(1).to_string())
        }
        (error, Some(version)) if error.code() == ErrorCode::NoSuchKey => {
            S3Error::from(S3ErrorCode::NO_SUCH_VERSION)
                .detail("Key", asked.key.as_str())
                .detail("VersionId", version.to_string())
        }
        (error, _) => refused(error, &asked.bucket, Some(&asked.key)),
    }
}

/// The object that a sub-resource is asked of, or NoSuchKey.
pub(crate) async fn require(front: &S3Front, request: &S3Request) -> Result<ObjectInfo, S3Error> {
    let asked = GetObject {
        bucket: request.bucket().clone(),
        key: request.key().clone(),
        version: version_parameter(&request.query)?,
        range: None,
        part_number: None,
        conditions: Default::default(),
    };
    match front.engine.head_object(asked.clone()).await {
        Ok(info) => Ok(info),
        Err(error) => Err(explain(&asked, error)),
    }
}

pub(crate) async fn get_acl(front: &S3Front, request: S3Request) -> Answered {
    require(front, &request).await?;
    let owner = owner_of(front, request.bucket()).await?;
    Ok(xml_answer(bucket::private_acl(&owner)))
}

/// An object has no tags yet; S3's answer for none is an empty set, not an error.
pub(crate) async fn get_tagging(front: &S3Front, request: S3Request) -> Answered {
    require(front, &request).await?;
    let mut xml = XmlWriter::new("Tagging");
    xml.open("TagSet");
    Ok(xml_answer(xml.finish()))
}

/// Retention and legal hold: S3's answer for a bucket without Object Lock.
pub(crate) async fn get_retention(front: &S3Front, request: S3Request) -> Answered {
    require(front, &request).await?;
    Err(S3Error::new(S3ErrorCode::INVALID_REQUEST, "Bucket is missing Object Lock Configuration"))
}

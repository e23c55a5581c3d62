//! CopyObject and UploadPartCopy.

use grid_types::{BucketName, ErrorCode, ObjectKey};
use http::HeaderMap;
use iam::Action;
use object_engine::{Attributes, Checksum, CopySource, EngineError, GetObject};
use percent_encoding::percent_decode_str;

use super::headers::{
    attributes, checksum_element, checksum_value, copy_source_conditions, copy_source_range,
    invalid_argument, parse_algorithm, redirect, text, type_name, write_condition,
};
use super::keep_alive::{self, About, Finished};
use super::multipart::{part_number_required, upload_id};
use super::{Answered, SEALED, iso_time, parse_version, quoted, refused, storage_class};
use crate::request::S3Request;
use crate::xml::XmlWriter;
use crate::{S3Error, S3ErrorCode, S3Front};

/// S3's sentence for a copy that would change nothing.
const ONTO_ITSELF: &str = "This copy request is illegal because it is trying to copy an object to itself without \
                           changing the object's metadata, storage class, website redirect location or encryption \
                           attributes.";

/// `x-amz-copy-source`: `[/]bucket/key[?versionId=…]`, percent-encoded; `+` is a blank, as S3 reads it.
pub(crate) fn parse_source(header: &str) -> Result<CopySource, S3Error> {
    let refuse = |message: &str| invalid_argument(message, "x-amz-copy-source", header);
    if header.starts_with("arn:") {
        return Err(S3ErrorCode::NOT_IMPLEMENTED.into());
    }
    let (path, version) = match header.rsplit_once("?versionId=") {
        Some((path, version)) => (path, parse_version(version)?),
        None => (header, None),
    };
    let path = path.replace('+', " ");
    let path = percent_decode_str(&path)
        .decode_utf8()
        .map_err(|_| refuse("The x-amz-copy-source header is not valid UTF-8"))?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let (bucket, key) =
        path.split_once('/').filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty()).ok_or_else(
            || refuse("Copy Source must mention the source bucket and key: sourcebucket/sourcekey"),
        )?;
    let bucket: BucketName = bucket.parse().map_err(|_| refuse("Invalid copy source bucket name"))?;
    let key = ObjectKey::new(key).map_err(|_| S3Error::from(S3ErrorCode::KEY_TOO_LONG))?;
    Ok(CopySource { bucket, key, version, conditions: Default::default(), range: None })
}

/// The source that a request names, which its caller may read.
async fn source(front: &S3Front, request: &S3Request) -> Result<CopySource, S3Error> {
    let header = text(&request.headers, "x-amz-copy-source").unwrap_or_default();
    let mut source = parse_source(&header)?;
    source.conditions = copy_source_conditions(&request.headers);
    if let Some(expected) = text(&request.headers, "x-amz-source-expected-bucket-owner") {
        super::expect_owner(front, &source.bucket, &expected).await?;
    }
    let resource = format!("{}/{}", source.bucket, source.key);
    let action = Action(if source.version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" });
    front.iam.authorize(&request.caller, action, &resource).await.map_err(S3Error::from)?;
    Ok(source)
}

/// What to keep of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Copy,
    Replace,
}

fn directive(headers: &HeaderMap, name: &str, message: &str) -> Result<Directive, S3Error> {
    match text(headers, name).as_deref() {
        None | Some("COPY") => Ok(Directive::Copy),
        Some("REPLACE") => Ok(Directive::Replace),
        Some(other) => Err(invalid_argument(message, name, other)),
    }
}

/// Errors of a copy: one about the source carries the source's key, NotModified becomes a failed condition.
fn explain(error: EngineError, source: &CopySource, bucket: &BucketName, key: &ObjectKey) -> S3Error {
    match error {
        EngineError::NotModified { .. } => S3ErrorCode::PRECONDITION_FAILED.into(),
        error if error.code() == ErrorCode::NoSuchKey && source.version.is_some() => {
            S3Error::from(S3ErrorCode::NO_SUCH_VERSION).detail("Key", source.key.as_str())
        }
        error if error.code() == ErrorCode::NoSuchKey => refused(error, &source.bucket, Some(&source.key)),
        // A source that is too large, or a copy onto itself into the class that it has.
        EngineError::Refused { code: ErrorCode::InvalidArgument, detail } if source.range.is_none() => {
            S3Error::new(S3ErrorCode::INVALID_REQUEST, detail)
        }
        error => refused(error, bucket, Some(key)),
    }
}

pub(crate) async fn copy_object(front: &S3Front, request: S3Request) -> Answered {
    let headers = &request.headers;
    let source = source(front, &request).await?;
    // No object has tags, so either directive keeps them all; `guard` has refused new ones.
    directive(headers, "x-amz-tagging-directive", "Unknown tagging directive.")?;
    let replace = directive(headers, "x-amz-metadata-directive", "Unknown metadata directive.")?;
    let attributes = match replace {
        Directive::Replace => Some(attributes(headers, front.config.user_metadata_bytes_max)?),
        Directive::Copy => None,
    };
    let storage_class = storage_class(front, headers)?;
    let checksum =
        text(headers, "x-amz-checksum-algorithm").map(|name| parse_algorithm(&name)).transpose()?;
    let redirect = redirect(headers)?;
    let (bucket, key) = (request.bucket().clone(), request.key().clone());
    let onto_itself = source.bucket == bucket && source.key == key && source.version.is_none();
    let encryption = headers.contains_key("x-amz-server-side-encryption");
    if onto_itself
        && attributes.is_none()
        && storage_class.is_none()
        && checksum.is_none()
        && redirect.is_none()
        && !encryption
    {
        return Err(S3Error::new(S3ErrorCode::INVALID_REQUEST, ONTO_ITSELF));
    }
    // Attributes that are kept while something beside them changes are the source's, given anew.
    let attributes = match attributes {
        None if redirect.is_some() || (onto_itself && storage_class.is_none()) => {
            Some(Attributes { website_redirect: redirect, ..source_attributes(front, &source).await? })
        }
        attributes => attributes,
    };
    let condition = write_condition(&request.headers)?;
    let engine = front.engine.clone();
    let work = async move {
        let written = engine
            .copy_object(source.clone(), &bucket, &key, attributes, storage_class, checksum, condition)
            .await
            .map_err(|error| explain(error, &source, &bucket, &key))?;
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-server-side-encryption", SEALED);
        let mut xml = XmlWriter::new("CopyObjectResult");
        xml.element("LastModified", iso_time(written.modified)).element("ETag", quoted(&written.etag));
        write_checksum(&mut xml, written.checksum.as_ref());
        if let Some(checksum) = &written.checksum {
            xml.element("ChecksumType", type_name(checksum.r#type));
        }
        Ok(Finished { headers, document: xml.finish() })
    };
    let about = About::of(front, &request);
    keep_alive::answer(front.config.keep_alive_every, about, work).await
}

async fn source_attributes(front: &S3Front, source: &CopySource) -> Result<Attributes, S3Error> {
    let asked = GetObject {
        bucket: source.bucket.clone(),
        key: source.key.clone(),
        version: source.version,
        range: None,
        part_number: None,
        conditions: source.conditions.clone(),
    };
    match front.engine.head_object(asked).await {
        Ok(info) => Ok(info.attributes),
        Err(error) => Err(explain(error, source, &source.bucket, &source.key)),
    }
}

/// `ChecksumCRC32` and its kin.
pub(crate) fn write_checksum(xml: &mut XmlWriter, checksum: Option<&Checksum>) {
    if let Some(checksum) = checksum {
        xml.element(checksum_element(checksum.kind), checksum_value(checksum));
    }
}

pub(crate) async fn upload_part_copy(front: &S3Front, request: S3Request) -> Answered {
    let number = part_number_required(&request.query)?;
    let upload = upload_id(&request.query)?;
    let mut source = source(front, &request).await?;
    source.range = copy_source_range(&request.headers)?;
    let (bucket, key) = (request.bucket().clone(), request.key().clone());
    let engine = front.engine.clone();
    let work = async move {
        let written = engine
            .copy_part(source.clone(), &bucket, &key, upload, number)
            .await
            .map_err(|error| explain(error, &source, &bucket, &key))?;
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-server-side-encryption", SEALED);
        let mut xml = XmlWriter::new("CopyPartResult");
        xml.element("LastModified", iso_time(written.modified)).element("ETag", quoted(&written.etag));
        write_checksum(&mut xml, written.checksum.as_ref());
        Ok(Finished { headers, document: xml.finish() })
    };
    let about = About::of(front, &request);
    keep_alive::answer(front.config.keep_alive_every, about, work).await
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod copy_tests;

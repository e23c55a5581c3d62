//! DeleteObject and DeleteObjects.

use futures_util::{StreamExt, stream};
use grid_types::{ErrorCode, ObjectKey, VersionId};
use http::StatusCode;
use iam::{Action, Caller};
use object_engine::WriteCondition;

use super::headers::{etag_of_header, write_condition};
use super::{
    Answered, NULL_VERSION, collect_xml, empty_answer, owner_of, parse_version, refused, version_parameter,
    xml_answer,
};
use crate::request::S3Request;
use crate::xml::{XmlError, XmlReader, XmlWriter};
use crate::{S3Error, S3ErrorCode, S3Front};

/// Keys of one DeleteObjects (S3's limit).
const KEYS_MAX: usize = 1_000;
/// Deletes of one DeleteObjects under way at a time; commits of different keys share a sync.
const DELETES_AT_ONCE: usize = 16;

pub(crate) async fn delete_object(front: &S3Front, request: S3Request) -> Answered {
    let named = request.query.has("versionId");
    let version = version_parameter(&request.query)?;
    let condition = write_condition(&request.headers)?;
    let (bucket, key) = (request.bucket(), request.key());
    match front.engine.delete_object(bucket, key, version, condition).await {
        Ok(_) => {}
        // What is not there needs no delete; a condition on it was answered by the engine before.
        Err(error) if error.code() == ErrorCode::NoSuchKey && version.is_some() => {}
        Err(error) => return Err(refused(error, bucket, Some(key))),
    }
    let mut answer = empty_answer(StatusCode::NO_CONTENT);
    if named && version.is_none() {
        super::set(answer.headers_mut(), "x-amz-version-id", NULL_VERSION);
    }
    Ok(answer)
}

/// One object of the document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    key: String,
    /// As sent.
    version: Option<String>,
    etag: Option<String>,
    /// A condition that is not built: the object is answered with NotImplemented.
    unsupported: bool,
}

pub(crate) fn parse_delete(document: &[u8]) -> Result<(Vec<Doomed>, bool), S3Error> {
    let mut xml = XmlReader::new(document)?;
    let (mut objects, mut quiet) = (Vec::new(), false);
    xml.root("Delete")?;
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "Object" if objects.len() == KEYS_MAX => return Err(S3ErrorCode::MALFORMED_XML.into()),
            "Object" => objects.push(parse_object(&mut xml)?),
            "Quiet" => quiet = xml.text()?.trim().eq_ignore_ascii_case("true"),
            other => return Err(XmlError::Schema(format!("`{other}` is not expected")).into()),
        }
    }
    xml.finish()?;
    if objects.is_empty() {
        return Err(S3ErrorCode::MALFORMED_XML.into());
    }
    Ok((objects, quiet))
}

fn parse_object(xml: &mut XmlReader<'_>) -> Result<Doomed, S3Error> {
    let (mut key, mut version, mut etag, mut unsupported) = (None, None, None, false);
    while let Some(name) = xml.child()? {
        let text = xml.text()?;
        match name.as_str() {
            "Key" => key = Some(text),
            "VersionId" => version = Some(text),
            "ETag" => etag = Some(text),
            "LastModifiedTime" | "Size" => unsupported = true,
            other => return Err(XmlError::Schema(format!("`{other}` is not expected")).into()),
        }
    }
    let key = key.ok_or_else(|| XmlError::Schema("an Object has no Key".to_owned()))?;
    Ok(Doomed { key, version, etag, unsupported })
}

pub(crate) async fn delete_objects(front: &S3Front, request: S3Request) -> Answered {
    if request.body.expected.md5().is_none() && request.body.checksum.is_none() {
        let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
        return Err(S3Error::new(S3ErrorCode::INVALID_REQUEST, message));
    }
    let bucket = request.bucket().clone();
    let caller = request.caller;
    let document = collect_xml(front, request.body).await?;
    let (objects, quiet) = parse_delete(&document)?;
    drop(document);
    owner_of(front, &bucket).await?;
    let delete = |doomed: Doomed| {
        let (bucket, caller) = (&bucket, &caller);
        async move {
            let done = delete_one(front, caller, bucket, &doomed).await;
            (doomed, done)
        }
    };
    let mut done = stream::iter(objects.into_iter().map(delete)).buffered(DELETES_AT_ONCE);
    let mut xml = XmlWriter::new("DeleteResult");
    while let Some((doomed, outcome)) = done.next().await {
        write_outcome(&mut xml, &doomed, outcome.err().as_ref(), quiet);
    }
    Ok(xml_answer(xml.finish()))
}

pub(crate) fn write_outcome(xml: &mut XmlWriter, doomed: &Doomed, error: Option<&S3Error>, quiet: bool) {
    let version = doomed.version.as_deref();
    match error {
        None if quiet => {}
        None => {
            xml.open("Deleted").element("Key", &doomed.key).optional("VersionId", version).close();
        }
        Some(error) => {
            xml.open("Error").element("Key", &doomed.key).optional("VersionId", version);
            xml.element("Code", error.code.0).element("Message", &error.message).close();
        }
    }
}

async fn delete_one(
    front: &S3Front,
    caller: &Caller,
    bucket: &grid_types::BucketName,
    doomed: &Doomed,
) -> Result<(), S3Error> {
    if doomed.unsupported {
        return Err(S3ErrorCode::NOT_IMPLEMENTED.into());
    }
    let key = ObjectKey::new(doomed.key.clone()).map_err(|_| S3Error::from(S3ErrorCode::KEY_TOO_LONG))?;
    let version: Option<VersionId> = doomed.version.as_deref().map_or(Ok(None), parse_version)?;
    let condition = match &doomed.etag {
        Some(tag) => WriteCondition::ETag(etag_of_header(tag)),
        None => WriteCondition::None,
    };
    let resource = format!("{bucket}/{key}");
    front.iam.authorize(caller, Action("s3:DeleteObject"), &resource).await.map_err(S3Error::from)?;
    match front.engine.delete_object(bucket, &key, version, condition).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == ErrorCode::NoSuchKey && version.is_some() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "object_delete_tests.rs"]
mod object_delete_tests;

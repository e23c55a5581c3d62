//! PutObject, and the ACL of an object.

use http::{HeaderMap, StatusCode};
use object_engine::{Checksum, GetObject, PutObject, WriteCondition};

use super::headers::{ConditionHeader, attributes, checksum_headers, storage_class, write_condition};
use super::{Answered, SEALED, bucket, empty_answer, object_get, quoted, refused, set};
use crate::request::S3Request;
use crate::{S3Error, S3ErrorCode, S3Front};

pub(crate) async fn put_object(front: &S3Front, request: S3Request) -> Answered {
    if request.body.length.is_none() {
        return Err(S3ErrorCode::MISSING_CONTENT_LENGTH.into());
    }
    let condition = condition(front, &request).await?;
    let (bucket, key) = (request.bucket().clone(), request.key().clone());
    let put = PutObject {
        bucket: bucket.clone(),
        key: key.clone(),
        attributes: attributes(&request.headers, front.config.user_metadata_bytes_max)?,
        storage_class: storage_class(&request.headers),
        condition,
        length: request.body.length,
        expected: request.body.expected,
        checksum: request.body.checksum,
        body: request.body.stream.into_inner(),
    };
    let written = front.engine.put_object(put).await.map_err(|error| refused(error, &bucket, Some(&key)))?;
    let mut answer = empty_answer(StatusCode::OK);
    written_headers(answer.headers_mut(), &written.etag, written.checksum.as_ref());
    Ok(answer)
}

/// What the answer to a write says of what was written.
pub(crate) fn written_headers(headers: &mut HeaderMap, etag: &str, checksum: Option<&Checksum>) {
    set(headers, "etag", quoted(etag));
    headers.insert("x-amz-server-side-encryption", SEALED);
    if let Some(checksum) = checksum {
        checksum_headers(headers, checksum);
    }
}

/// The write condition of a request. `If-Match: *` becomes the entity tag of what is there now, so that it is checked at
/// commit like any other; an object that changes meanwhile fails the write, and the client may try again.
pub(crate) async fn condition(front: &S3Front, request: &S3Request) -> Result<WriteCondition, S3Error> {
    match write_condition(&request.headers)? {
        ConditionHeader::Ready(condition) => Ok(condition),
        ConditionHeader::Exists => {
            let asked = GetObject {
                bucket: request.bucket().clone(),
                key: request.key().clone(),
                version: None,
                range: None,
                part_number: None,
                conditions: Default::default(),
            };
            let found = front.engine.head_object(asked).await;
            let info = found.map_err(|error| refused(error, request.bucket(), request.key.as_ref()))?;
            Ok(WriteCondition::ETag(info.etag))
        }
    }
}

/// See `bucket::put_acl`.
pub(crate) async fn put_acl(front: &S3Front, request: S3Request) -> Answered {
    object_get::require(front, &request).await?;
    bucket::accept_private_acl(front, request).await
}

//! PutObject, and the ACL of an object.

use http::{HeaderMap, StatusCode};
use object_engine::{Checksum, PutObject};

use super::headers::{attributes, checksum_headers, write_condition};
use super::{Answered, SEALED, bucket, empty_answer, object_get, quoted, refused, set, storage_class};
use crate::request::S3Request;
use crate::{S3ErrorCode, S3Front};

pub(crate) async fn put_object(front: &S3Front, request: S3Request) -> Answered {
    if request.body.length.is_none() {
        return Err(S3ErrorCode::MISSING_CONTENT_LENGTH.into());
    }
    let condition = write_condition(&request.headers)?;
    let (bucket, key) = (request.bucket().clone(), request.key().clone());
    let put = PutObject {
        bucket: bucket.clone(),
        key: key.clone(),
        attributes: attributes(&request.headers, front.config.user_metadata_bytes_max)?,
        storage_class: storage_class(front, &request.headers)?,
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

/// See `bucket::put_acl`.
pub(crate) async fn put_acl(front: &S3Front, request: S3Request) -> Answered {
    object_get::require(front, &request).await?;
    bucket::accept_private_acl(front, request).await
}

//! Operations of a bucket: create, head, delete, and the getters of its sub-resources.
//!
//! A bucket has no settings yet. Getters say so as S3 does for a fresh bucket; setters are NotImplemented by the table.

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use super::{Answered, collect_xml, empty_answer, headers, owner_of, refused, set, write_owner, xml_answer};
use crate::request::S3Request;
use crate::xml::{XmlError, XmlReader, XmlWriter};
use crate::{S3Error, S3ErrorCode, S3Front};

/// The region whose GetBucketLocation is empty, for historical reasons of S3.
const REGION_OF_NO_NAME: &str = "us-east-1";

/// Makes a bucket. A bucket that the caller has already is BucketAlreadyOwnedByYou in every region; S3 answers 200 in
/// us-east-1 alone, to old clients' benefit.
pub(crate) async fn create_bucket(front: &S3Front, request: S3Request) -> Answered {
    let owner = super::caller_name(&request).to_owned();
    let bucket = request.bucket().clone();
    let document = collect_xml(front, request.body).await?;
    if !document.iter().all(u8::is_ascii_whitespace) {
        let constraint = parse_configuration(&document)?;
        if let Some(constraint) = constraint {
            accept_location(&constraint)?;
        }
    }
    front.engine.create_bucket(&bucket, &owner).await.map_err(|error| refused(error, &bucket, None))?;
    let mut answer = empty_answer(StatusCode::OK);
    if let Ok(value) = HeaderValue::from_str(&format!("/{bucket}")) {
        answer.headers_mut().insert(LOCATION, value);
    }
    Ok(answer)
}

/// The location constraint of a CreateBucketConfiguration.
fn parse_configuration(document: &[u8]) -> Result<Option<String>, S3Error> {
    let mut xml = XmlReader::new(document)?;
    xml.root("CreateBucketConfiguration")?;
    let mut constraint = None;
    while let Some(name) = xml.child()? {
        match name.as_str() {
            "LocationConstraint" => constraint = Some(xml.text()?),
            "Location" | "Bucket" | "Tags" => return Err(S3ErrorCode::NOT_IMPLEMENTED.into()),
            other => return Err(XmlError::Schema(format!("`{other}` is not expected")).into()),
        }
    }
    xml.finish()?;
    Ok(constraint)
}

/// A grid is one place. As with signatures, clients that are set to another region are served all the same; what
/// cannot be a region is refused.
fn accept_location(constraint: &str) -> Result<(), S3Error> {
    let plausible = constraint.len() <= 63
        && constraint.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if plausible {
        Ok(())
    } else {
        Err(S3Error::from(S3ErrorCode::INVALID_LOCATION_CONSTRAINT).detail("LocationConstraint", constraint))
    }
}

pub(crate) async fn head_bucket(front: &S3Front, request: S3Request) -> Answered {
    require(front, &request).await?;
    let mut answer = empty_answer(StatusCode::OK);
    set(answer.headers_mut(), "x-amz-bucket-region", &front.config.region);
    set(answer.headers_mut(), "x-amz-access-point-alias", "false");
    Ok(answer)
}

pub(crate) async fn delete_bucket(front: &S3Front, request: S3Request) -> Answered {
    let bucket = request.bucket();
    front.engine.delete_bucket(bucket).await.map_err(|error| refused(error, bucket, None))?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}

/// The bucket's owner, or NoSuchBucket.
async fn require(front: &S3Front, request: &S3Request) -> Result<String, S3Error> {
    owner_of(front, request.bucket()).await
}

/// For a bucket that there is: its `code` says that it has no such setting.
async fn unset(front: &S3Front, request: &S3Request, code: S3ErrorCode) -> Answered {
    require(front, request).await?;
    Err(S3Error::from(code).detail("BucketName", request.bucket().as_str()))
}

/// For a bucket that there is: the document of a setting that was never made.
async fn fresh(front: &S3Front, request: &S3Request, document: XmlWriter) -> Answered {
    require(front, request).await?;
    Ok(xml_answer(document.finish()))
}

pub(crate) async fn get_location(front: &S3Front, request: S3Request) -> Answered {
    require(front, &request).await?;
    Ok(xml_answer(location_document(&front.config.region)))
}

fn location_document(region: &str) -> String {
    let text = if region == REGION_OF_NO_NAME { "" } else { region };
    XmlWriter::with_text("LocationConstraint", text)
}

pub(crate) async fn get_versioning(front: &S3Front, request: S3Request) -> Answered {
    fresh(front, &request, XmlWriter::new("VersioningConfiguration")).await
}

pub(crate) async fn get_logging(front: &S3Front, request: S3Request) -> Answered {
    fresh(front, &request, XmlWriter::new("BucketLoggingStatus")).await
}

pub(crate) async fn get_notification(front: &S3Front, request: S3Request) -> Answered {
    fresh(front, &request, XmlWriter::new("NotificationConfiguration")).await
}

pub(crate) async fn get_accelerate(front: &S3Front, request: S3Request) -> Answered {
    fresh(front, &request, XmlWriter::new("AccelerateConfiguration")).await
}

pub(crate) async fn get_request_payment(front: &S3Front, request: S3Request) -> Answered {
    let mut xml = XmlWriter::new("RequestPaymentConfiguration");
    xml.element("Payer", "BucketOwner");
    fresh(front, &request, xml).await
}

pub(crate) async fn get_ownership_controls(front: &S3Front, request: S3Request) -> Answered {
    let mut xml = XmlWriter::new("OwnershipControls");
    xml.open("Rule").element("ObjectOwnership", "BucketOwnerEnforced").close();
    fresh(front, &request, xml).await
}

/// Everything is sealed under keys that the service manages, which S3 calls AES256.
pub(crate) async fn get_encryption(front: &S3Front, request: S3Request) -> Answered {
    let mut xml = XmlWriter::new("ServerSideEncryptionConfiguration");
    xml.open("Rule").open("ApplyServerSideEncryptionByDefault").element("SSEAlgorithm", "AES256").close();
    xml.element("BucketKeyEnabled", false).close();
    fresh(front, &request, xml).await
}

pub(crate) async fn get_acl(front: &S3Front, request: S3Request) -> Answered {
    let owner = require(front, &request).await?;
    Ok(xml_answer(private_acl(&owner)))
}

/// The owner has full control and nobody else has any.
pub(crate) fn private_acl(owner: &str) -> String {
    let mut xml = XmlWriter::new("AccessControlPolicy");
    write_owner(&mut xml, "Owner", owner);
    xml.open("AccessControlList").open("Grant").open_grantee("CanonicalUser");
    xml.element("ID", super::owner_id(owner)).element("DisplayName", owner).close();
    xml.element("Permission", "FULL_CONTROL");
    xml.finish()
}

/// `x-amz-acl: private` changes nothing and is accepted; `guard` has refused all others. A policy in the body is not.
pub(crate) async fn put_acl(front: &S3Front, request: S3Request) -> Answered {
    require(front, &request).await?;
    accept_private_acl(front, request).await
}

/// For buckets and objects alike.
pub(crate) async fn accept_private_acl(front: &S3Front, request: S3Request) -> Answered {
    let canned = headers::text(&request.headers, "x-amz-acl").is_some();
    let document = collect_xml(front, request.body).await?;
    match (canned, document.is_empty()) {
        (true, true) => Ok(empty_answer(StatusCode::OK)),
        (false, true) => Err(S3ErrorCode::MISSING_SECURITY_HEADER.into()),
        (_, false) => Err(S3ErrorCode::NOT_IMPLEMENTED.into()),
    }
}

pub(crate) async fn get_policy(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::NO_SUCH_BUCKET_POLICY).await
}

pub(crate) async fn get_lifecycle(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::NO_SUCH_LIFECYCLE_CONFIGURATION).await
}

pub(crate) async fn get_cors(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::NO_SUCH_CORS_CONFIGURATION).await
}

pub(crate) async fn get_tagging(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::NO_SUCH_TAG_SET).await
}

pub(crate) async fn get_object_lock(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::OBJECT_LOCK_CONFIGURATION_NOT_FOUND).await
}

pub(crate) async fn get_public_access_block(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::NO_SUCH_PUBLIC_ACCESS_BLOCK).await
}

pub(crate) async fn get_website(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::NO_SUCH_WEBSITE_CONFIGURATION).await
}

pub(crate) async fn get_replication(front: &S3Front, request: S3Request) -> Answered {
    unset(front, &request, S3ErrorCode::REPLICATION_CONFIGURATION_NOT_FOUND).await
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod bucket_tests;

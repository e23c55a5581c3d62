//! The one declarative table of operations. A row: name, method, bucket/object/service level, the query or header that
//! selects it, the parameters it takes besides, the IAM action, how its body is taken, and its handler. Later issues
//! add rows.
//!
//! Invariant: a request that names a sub-resource (`?acl`, `?policy`, one that S3 gets next year) never falls through
//! to the plain operation of its path. It has a row, or it is NotImplemented.

use std::pin::Pin;

use http::{HeaderMap, Method, Response};
use http_server::ResponseBody;

use crate::ops::{attributes, bucket, copy, list, multipart, object_delete, object_get, object_put, service};
use crate::request::{Query, S3Request};
use crate::{S3Error, S3ErrorCode, S3Front};

/// What a path addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `/`
    Service,
    /// `/bucket`
    Bucket,
    /// `/bucket/key`
    Object,
}

/// How the body of an operation is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyUse {
    /// There is none; one that comes is drained up to a small limit.
    None,
    /// Collected up to `xml_bytes_max`.
    Xml,
    /// Streamed to the handler.
    Stream,
}

/// A handler's future.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, S3Error>> + Send + 'a>>;

/// One row.
pub struct Operation {
    /// AWS's name, for example `PutObject`.
    pub name: &'static str,
    /// The method.
    pub method: Method,
    /// What the path must address.
    pub level: Level,
    /// Query parameters that must be there (`uploads`, `uploadId` …).
    pub query: &'static [&'static str],
    /// A header that must be there (`x-amz-copy-source`).
    pub header: Option<&'static str>,
    /// Further query parameters that it takes (`prefix`, `versionId` …).
    pub optional: &'static [&'static str],
    /// The IAM action, for example `s3:PutObject`.
    pub action: &'static str,
    /// The body.
    pub body: BodyUse,
    /// The handler.
    pub handler: for<'a> fn(&'a S3Front, S3Request) -> Answer<'a>,
}

/// Query parameters that select operations in S3, beyond those of the table. One that the chosen row does not take is
/// refused, whatever its value.
const SELECTORS: &[&str] = &[
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metadata",
    "metadataAnnotationTable",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "position",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "replication-metrics",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "tagging",
    "torrent",
    "update",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Parameters that any request may carry: those of a signature (checked before), and SDKs' names of operations.
fn taken_by_all(name: &str) -> bool {
    const SIGNATURE_V2: [&str; 3] = ["AWSAccessKeyId", "Signature", "Expires"];
    name == "x-id"
        || SIGNATURE_V2.contains(&name)
        || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// Finds the row for a request. Rows with more selectors win. A known sub-resource without a row (`?acl`, `?policy` …)
/// is NotImplemented, never a fall-through to the plain operation.
pub fn find(
    method: &Method,
    level: Level,
    query: &Query,
    headers: &HeaderMap,
) -> Result<&'static Operation, S3Error> {
    let selected = |row: &&Operation| {
        row.method == *method
            && row.level == level
            && row.query.iter().all(|name| query.has(name))
            && row.header.is_none_or(|name| headers.contains_key(name))
    };
    let weight = |row: &&Operation| row.query.len() + usize::from(row.header.is_some());
    let Some(row) = OPERATIONS.iter().filter(selected).max_by_key(weight) else {
        return Err(no_row(method, level, query));
    };
    for (name, value) in &query.0 {
        let name = name.as_str();
        if row.query.contains(&name) || row.optional.contains(&name) || taken_by_all(name) {
            continue;
        }
        if name == "versionId" {
            let message = "This operation does not accept a version-id.";
            return Err(S3Error::new(S3ErrorCode::INVALID_ARGUMENT, message)
                .detail("ArgumentName", "versionId")
                .detail("ArgumentValue", value));
        }
        // A parameter without a value is how S3 writes sub-resources, so an unknown one may be a feature that the
        // client counts on. One with a value is passed over, as S3 does.
        if SELECTORS.contains(&name) || value.is_empty() {
            return Err(S3Error::from(S3ErrorCode::NOT_IMPLEMENTED).detail("Parameter", name));
        }
    }
    Ok(row)
}

fn no_row(method: &Method, level: Level, query: &Query) -> S3Error {
    if let Some((name, _)) = query.0.iter().find(|(name, _)| SELECTORS.contains(&name.as_str())) {
        return S3Error::from(S3ErrorCode::NOT_IMPLEMENTED).detail("Parameter", name);
    }
    // POST to a bucket is the browser's form, of a later issue; POST to an object needs a sub-resource.
    if *method == Method::POST && level != Level::Service {
        return S3ErrorCode::NOT_IMPLEMENTED.into();
    }
    if *method == Method::OPTIONS {
        return S3ErrorCode::CORS_FORBIDDEN.into();
    }
    S3Error::from(S3ErrorCode::METHOD_NOT_ALLOWED)
        .detail("Method", method.as_str())
        .detail("ResourceType", if level == Level::Object { "OBJECT" } else { "BUCKET" })
}

macro_rules! operations {
    ($($name:ident $method:ident $level:ident
       [$($query:literal)*] $(($header:literal))? [$($optional:literal)*] $action:literal $body:ident $handler:path;)*) => {
        /// All operations.
        pub static OPERATIONS: &[Operation] = &[$(Operation {
            name: stringify!($name),
            method: Method::$method,
            level: Level::$level,
            query: &[$($query),*],
            header: operations!(@header $($header)?),
            optional: &[$($optional),*],
            action: $action,
            body: BodyUse::$body,
            handler: |front, request| Box::pin(async move {
                crate::ops::guard(front, &request).await?;
                $handler(front, request).await
            }),
        },)*];
    };
    (@header) => { None };
    (@header $header:literal) => { Some($header) };
}

// Columns: name, method, level, [parameters that select it], (header that selects it), [further parameters], IAM action,
// body, handler.
operations! {
    ListBuckets GET Service [] ["prefix" "max-buckets" "continuation-token" "bucket-region"]
        "s3:ListAllMyBuckets" None service::list_buckets;

    CreateBucket PUT Bucket [] [] "s3:CreateBucket" Xml bucket::create_bucket;
    HeadBucket HEAD Bucket [] [] "s3:ListBucket" None bucket::head_bucket;
    DeleteBucket DELETE Bucket [] [] "s3:DeleteBucket" None bucket::delete_bucket;
    GetBucketLocation GET Bucket ["location"] [] "s3:GetBucketLocation" None bucket::get_location;
    GetBucketVersioning GET Bucket ["versioning"] [] "s3:GetBucketVersioning" None bucket::get_versioning;
    GetBucketAcl GET Bucket ["acl"] [] "s3:GetBucketAcl" None bucket::get_acl;
    PutBucketAcl PUT Bucket ["acl"] [] "s3:PutBucketAcl" Xml bucket::put_acl;
    GetBucketPolicy GET Bucket ["policy"] [] "s3:GetBucketPolicy" None bucket::get_policy;
    GetBucketPolicyStatus GET Bucket ["policyStatus"] [] "s3:GetBucketPolicyStatus" None bucket::get_policy;
    GetBucketLifecycleConfiguration GET Bucket ["lifecycle"] []
        "s3:GetLifecycleConfiguration" None bucket::get_lifecycle;
    GetBucketCors GET Bucket ["cors"] [] "s3:GetBucketCORS" None bucket::get_cors;
    GetBucketTagging GET Bucket ["tagging"] [] "s3:GetBucketTagging" None bucket::get_tagging;
    GetObjectLockConfiguration GET Bucket ["object-lock"] []
        "s3:GetBucketObjectLockConfiguration" None bucket::get_object_lock;
    GetBucketEncryption GET Bucket ["encryption"] [] "s3:GetEncryptionConfiguration" None bucket::get_encryption;
    GetBucketRequestPayment GET Bucket ["requestPayment"] []
        "s3:GetBucketRequestPayment" None bucket::get_request_payment;
    GetBucketLogging GET Bucket ["logging"] [] "s3:GetBucketLogging" None bucket::get_logging;
    GetBucketNotificationConfiguration GET Bucket ["notification"] []
        "s3:GetBucketNotification" None bucket::get_notification;
    GetBucketAccelerateConfiguration GET Bucket ["accelerate"] []
        "s3:GetAccelerateConfiguration" None bucket::get_accelerate;
    GetBucketOwnershipControls GET Bucket ["ownershipControls"] []
        "s3:GetBucketOwnershipControls" None bucket::get_ownership_controls;
    GetPublicAccessBlock GET Bucket ["publicAccessBlock"] []
        "s3:GetBucketPublicAccessBlock" None bucket::get_public_access_block;
    GetBucketWebsite GET Bucket ["website"] [] "s3:GetBucketWebsite" None bucket::get_website;
    GetBucketReplication GET Bucket ["replication"] []
        "s3:GetReplicationConfiguration" None bucket::get_replication;

    ListObjects GET Bucket [] ["prefix" "delimiter" "marker" "max-keys" "encoding-type"]
        "s3:ListBucket" None list::list_objects;
    ListObjectsV2 GET Bucket ["list-type"]
        ["prefix" "delimiter" "max-keys" "encoding-type" "continuation-token" "start-after" "fetch-owner"]
        "s3:ListBucket" None list::list_objects_v2;
    ListObjectVersions GET Bucket ["versions"]
        ["prefix" "delimiter" "key-marker" "version-id-marker" "max-keys" "encoding-type"]
        "s3:ListBucketVersions" None list::list_object_versions;
    ListMultipartUploads GET Bucket ["uploads"]
        ["prefix" "delimiter" "key-marker" "upload-id-marker" "max-uploads" "encoding-type"]
        "s3:ListBucketMultipartUploads" None multipart::list_uploads;
    DeleteObjects POST Bucket ["delete"] [] "s3:DeleteObject" Xml object_delete::delete_objects;

    PutObject PUT Object [] [] "s3:PutObject" Stream object_put::put_object;
    CopyObject PUT Object [] ("x-amz-copy-source") [] "s3:PutObject" None copy::copy_object;
    GetObject GET Object []
        ["versionId" "partNumber" "response-content-type" "response-content-language" "response-expires"
         "response-cache-control" "response-content-disposition" "response-content-encoding"]
        "s3:GetObject" None object_get::get_object;
    HeadObject HEAD Object []
        ["versionId" "partNumber" "response-content-type" "response-content-language" "response-expires"
         "response-cache-control" "response-content-disposition" "response-content-encoding"]
        "s3:GetObject" None object_get::head_object;
    DeleteObject DELETE Object [] ["versionId"] "s3:DeleteObject" None object_delete::delete_object;
    GetObjectAttributes GET Object ["attributes"] ["versionId"] "s3:GetObject" None attributes::get_attributes;
    GetObjectAcl GET Object ["acl"] ["versionId"] "s3:GetObjectAcl" None object_get::get_acl;
    PutObjectAcl PUT Object ["acl"] ["versionId"] "s3:PutObjectAcl" Xml object_put::put_acl;
    GetObjectTagging GET Object ["tagging"] ["versionId"] "s3:GetObjectTagging" None object_get::get_tagging;
    GetObjectRetention GET Object ["retention"] ["versionId"]
        "s3:GetObjectRetention" None object_get::get_retention;
    GetObjectLegalHold GET Object ["legal-hold"] ["versionId"]
        "s3:GetObjectLegalHold" None object_get::get_retention;

    CreateMultipartUpload POST Object ["uploads"] [] "s3:PutObject" None multipart::create_upload;
    UploadPart PUT Object ["uploadId" "partNumber"] [] "s3:PutObject" Stream multipart::upload_part;
    UploadPartCopy PUT Object ["uploadId" "partNumber"] ("x-amz-copy-source") []
        "s3:PutObject" None copy::upload_part_copy;
    ListParts GET Object ["uploadId"] ["max-parts" "part-number-marker" "encoding-type"]
        "s3:ListMultipartUploadParts" None multipart::list_parts;
    CompleteMultipartUpload POST Object ["uploadId"] [] "s3:PutObject" Xml multipart::complete_upload;
    AbortMultipartUpload DELETE Object ["uploadId"] []
        "s3:AbortMultipartUpload" None multipart::abort_upload;
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod table_tests;

//! Headers that ask for what is not built: refused, never silently dropped.

use http::HeaderMap;

use super::{invalid_argument, text};
use crate::{S3Error, S3ErrorCode};

/// Canned ACLs that say what is the case anyway: the owner of the bucket owns and controls every object.
const CANNED_ACLS_HELD: [&str; 2] = ["private", "bucket-owner-full-control"];
/// Canned ACLs that S3 knows and that need ACLs of our own.
const CANNED_ACLS_OTHER: [&str; 6] = [
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "log-delivery-write",
];
/// Headers of features that are not built. `refuse_unsupported` checks others by value.
const NOT_BUILT: [&str; 14] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key-md5",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-lock-legal-hold",
    "x-amz-write-offset-bytes",
    "x-amz-if-match-last-modified-time",
    "x-amz-if-match-size",
];

fn not_built(header: &str) -> S3Error {
    S3Error::new(
        S3ErrorCode::NOT_IMPLEMENTED,
        "A header you provided implies functionality that is not implemented",
    )
    .detail("Header", header)
}

/// Refuses headers that no operation of the table keeps its promise for.
pub(crate) fn refuse_unsupported(headers: &HeaderMap) -> Result<(), S3Error> {
    for name in headers.keys() {
        let name = name.as_str();
        if NOT_BUILT.contains(&name) || name.starts_with("x-amz-grant-") {
            return Err(not_built(name));
        }
    }
    if let Some(acl) = text(headers, "x-amz-acl") {
        if CANNED_ACLS_OTHER.contains(&acl.as_str()) {
            return Err(not_built("x-amz-acl"));
        }
        if !CANNED_ACLS_HELD.contains(&acl.as_str()) {
            return Err(invalid_argument("", "x-amz-acl", &acl));
        }
    }
    match text(headers, "x-amz-server-side-encryption").as_deref() {
        // Everything is sealed under keys that the service manages, which is what this value asks for.
        None | Some("AES256") => {}
        Some("aws:kms" | "aws:kms:dsse" | "aws:fsx") => {
            return Err(not_built("x-amz-server-side-encryption"));
        }
        Some(_) => return Err(S3ErrorCode::INVALID_ENCRYPTION_ALGORITHM.into()),
    }
    let set = |name: &str| text(headers, name).filter(|value| !value.is_empty());
    if set("x-amz-server-side-encryption-bucket-key-enabled")
        .is_some_and(|value| !value.eq_ignore_ascii_case("false"))
    {
        return Err(not_built("x-amz-server-side-encryption-bucket-key-enabled"));
    }
    if set("x-amz-tagging").is_some() {
        return Err(not_built("x-amz-tagging"));
    }
    if set("x-amz-bucket-object-lock-enabled").is_some_and(|value| !value.eq_ignore_ascii_case("false")) {
        return Err(not_built("x-amz-bucket-object-lock-enabled"));
    }
    match set("x-amz-object-ownership").as_deref() {
        None | Some("BucketOwnerEnforced") => Ok(()),
        Some("BucketOwnerPreferred" | "ObjectWriter") => Err(not_built("x-amz-object-ownership")),
        Some(other) => {
            Err(invalid_argument("Invalid x-amz-object-ownership header", "x-amz-object-ownership", other))
        }
    }
}

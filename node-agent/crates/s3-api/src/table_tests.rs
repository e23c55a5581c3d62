use http::{HeaderMap, HeaderValue, Method};

use super::{BodyUse, Level, OPERATIONS, find};
use crate::request::Query;

fn query(text: &str) -> Query {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    Query(
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect(),
    )
}

/// The operation's name, or the error's code.
fn found(method: &str, level: Level, parameters: &str, copy: bool) -> &'static str {
    let mut headers = HeaderMap::new();
    if copy {
        headers.insert("x-amz-copy-source", HeaderValue::from_static("/b/k"));
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match find(&method, level, &query(parameters), &headers) {
        Ok(row) => row.name,
        Err(error) => error.code.0,
    }
}

#[test]
fn requests_find_their_operation() {
    use Level::{Bucket, Object, Service};
    let cases = [
        ("GET", Service, "", "ListBuckets"),
        ("GET", Service, "prefix=a&max-buckets=3&x-id=ListBuckets", "ListBuckets"),
        ("PUT", Bucket, "", "CreateBucket"),
        ("HEAD", Bucket, "", "HeadBucket"),
        ("DELETE", Bucket, "", "DeleteBucket"),
        ("GET", Bucket, "", "ListObjects"),
        ("GET", Bucket, "prefix=&delimiter=/&marker=", "ListObjects"),
        ("GET", Bucket, "encoding-type=url&list-type=2&prefix=", "ListObjectsV2"),
        ("GET", Bucket, "list-type=2&continuation-token=x&fetch-owner=true&start-after=", "ListObjectsV2"),
        ("GET", Bucket, "versions", "ListObjectVersions"),
        ("GET", Bucket, "versions&key-marker=", "ListObjectVersions"),
        ("GET", Bucket, "uploads", "ListMultipartUploads"),
        ("GET", Bucket, "uploads=&key-marker=&prefix=&max-uploads=7", "ListMultipartUploads"),
        ("GET", Bucket, "location", "GetBucketLocation"),
        ("GET", Bucket, "versioning", "GetBucketVersioning"),
        ("GET", Bucket, "acl", "GetBucketAcl"),
        ("GET", Bucket, "policy", "GetBucketPolicy"),
        ("GET", Bucket, "lifecycle", "GetBucketLifecycleConfiguration"),
        ("GET", Bucket, "cors", "GetBucketCors"),
        ("GET", Bucket, "tagging", "GetBucketTagging"),
        ("GET", Bucket, "object-lock", "GetObjectLockConfiguration"),
        ("GET", Bucket, "encryption", "GetBucketEncryption"),
        ("POST", Bucket, "delete", "DeleteObjects"),
        ("POST", Bucket, "delete=&x-id=DeleteObjects", "DeleteObjects"),
        ("PUT", Object, "", "PutObject"),
        ("PUT", Object, "x-id=PutObject", "PutObject"),
        ("GET", Object, "", "GetObject"),
        ("GET", Object, "partNumber=2&versionId=null&response-content-type=", "GetObject"),
        ("GET", Object, "X-Amz-Algorithm=a&X-Amz-Signature=b&X-Amz-Security-Token=", "GetObject"),
        ("GET", Object, "unknown=value", "GetObject"),
        ("HEAD", Object, "partNumber=1", "HeadObject"),
        ("DELETE", Object, "versionId=null", "DeleteObject"),
        ("GET", Object, "attributes", "GetObjectAttributes"),
        ("GET", Object, "acl&versionId=null", "GetObjectAcl"),
        ("PUT", Object, "acl", "PutObjectAcl"),
        ("GET", Object, "tagging", "GetObjectTagging"),
        ("POST", Object, "uploads", "CreateMultipartUpload"),
        ("PUT", Object, "partNumber=1&uploadId=u", "UploadPart"),
        ("GET", Object, "uploadId=u&max-parts=2&part-number-marker=1", "ListParts"),
        ("POST", Object, "uploadId=u", "CompleteMultipartUpload"),
        ("DELETE", Object, "uploadId=u", "AbortMultipartUpload"),
    ];
    for (method, level, parameters, name) in cases {
        assert_eq!(found(method, level, parameters, false), name, "{method} {level:?} ?{parameters}");
    }
    assert_eq!(found("PUT", Object, "", true), "CopyObject");
    assert_eq!(found("PUT", Object, "uploadId=u&partNumber=1", true), "UploadPartCopy");
}

#[test]
fn sub_resources_without_a_row_are_not_implemented() {
    let on_buckets = [
        "accelerate",
        "acl",
        "analytics&id=x",
        "cors",
        "encryption",
        "intelligent-tiering&id=x",
        "inventory&id=x",
        "lifecycle",
        "logging",
        "metrics&id=x",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "tagging",
        "versioning",
        "website",
        "metadataTable",
        "session",
        "abac",
        "notYetInvented",
        "policy=x",
    ];
    for parameters in on_buckets {
        if parameters != "acl" {
            assert_eq!(found("PUT", Level::Bucket, parameters, false), "NotImplemented", "PUT ?{parameters}");
        }
        assert_eq!(
            found("DELETE", Level::Bucket, parameters, false),
            "NotImplemented",
            "DELETE ?{parameters}"
        );
        assert_eq!(found("POST", Level::Bucket, parameters, false), "NotImplemented", "POST ?{parameters}");
    }
    for parameters in
        ["analytics", "inventory", "metrics", "intelligent-tiering", "session", "notYetInvented"]
    {
        assert_eq!(found("GET", Level::Bucket, parameters, false), "NotImplemented", "GET ?{parameters}");
    }
    let on_objects = [
        "tagging",
        "retention",
        "legal-hold",
        "restore",
        "select&select-type=2",
        "torrent",
        "renameObject",
        "append",
        "uploads",
        "partNumber=1",
        "notYetInvented",
        "policy",
    ];
    for parameters in on_objects {
        assert_eq!(found("PUT", Level::Object, parameters, false), "NotImplemented", "PUT ?{parameters}");
        assert_eq!(
            found("DELETE", Level::Object, parameters, false),
            "NotImplemented",
            "DELETE ?{parameters}"
        );
        if parameters != "uploads" {
            assert_eq!(
                found("POST", Level::Object, parameters, false),
                "NotImplemented",
                "POST ?{parameters}"
            );
        }
    }
    for parameters in ["torrent", "policy", "uploads", "notYetInvented", "acl&tagging"] {
        assert_eq!(found("GET", Level::Object, parameters, false), "NotImplemented", "GET ?{parameters}");
    }
    assert_eq!(found("PUT", Level::Object, "acl&x=", true), "NotImplemented");
}

#[test]
fn what_no_row_takes_is_refused() {
    let cases = [
        ("POST", Level::Bucket, "", "NotImplemented"),
        ("POST", Level::Object, "", "NotImplemented"),
        ("PUT", Level::Object, "versionId=null", "InvalidArgument"),
        ("PUT", Level::Service, "", "MethodNotAllowed"),
        ("POST", Level::Service, "", "MethodNotAllowed"),
        ("PATCH", Level::Object, "", "MethodNotAllowed"),
        ("BREW", Level::Bucket, "", "MethodNotAllowed"),
        ("OPTIONS", Level::Object, "", "AccessForbidden"),
        ("HEAD", Level::Bucket, "acl", "NotImplemented"),
    ];
    for (method, level, parameters, code) in cases {
        assert_eq!(found(method, level, parameters, false), code, "{method} {level:?} ?{parameters}");
    }
}

#[test]
fn the_rows_are_consistent() {
    for row in OPERATIONS {
        assert!(row.action.starts_with("s3:"), "{}", row.name);
        let reads = row.method == Method::GET || row.method == Method::HEAD;
        assert!(!reads || row.body == BodyUse::None, "{}", row.name);
        let same = OPERATIONS.iter().filter(|other| {
            (&other.method, other.level, other.query, other.header)
                == (&row.method, row.level, row.query, row.header)
        });
        assert_eq!(same.count(), 1, "{} is selected like another row", row.name);
        assert_eq!(OPERATIONS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
    }
}

#[test]
fn the_page_for_users_names_every_operation() {
    let page = include_str!("../../../../docs/s3.md");
    let words: Vec<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let missing: Vec<&str> =
        OPERATIONS.iter().map(|row| row.name).filter(|name| !words.contains(name)).collect();
    assert!(missing.is_empty(), "docs/s3.md lacks {missing:?}");
}

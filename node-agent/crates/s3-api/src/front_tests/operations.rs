//! Every operation of the table over the wire, and what clients compare in its answers.

use std::collections::BTreeSet;

use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_engine::digest::Md5Hasher;

use super::rig::{Rig, rig};
use super::{Answer, code, is};
use crate::address::Address;
use crate::request::Query;
use crate::table::{OPERATIONS, find};

fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut hasher = Md5Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

const COMPLETE_NONE: &[u8] = b"<CompleteMultipartUpload></CompleteMultipartUpload>";

/// Sends requests and keeps which rows of the table they reached.
struct Walk {
    rig: Rig,
    reached: BTreeSet<&'static str>,
}

impl Walk {
    async fn step(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        expect: (u16, &str),
    ) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let level = Address::parse("h", path, &[]).unwrap().level();
        let query = Query::parse(query).unwrap();
        if let Ok(row) = find(&Method::from_bytes(method.as_bytes()).unwrap(), level, &query, &map) {
            self.reached.insert(row.name);
        }
        let answer = self.rig.send(method, target, headers, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(code(&answer), is(expect.0, expect.1), "{method} {target}: {text}");
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers() {
    let mut walk = Walk { rig: rig().await, reached: BTreeSet::new() };
    buckets(&mut walk).await;
    objects(&mut walk).await;
    uploads(&mut walk).await;
    let wanted: BTreeSet<_> = OPERATIONS.iter().map(|row| row.name).collect();
    let missed: Vec<_> = wanted.difference(&walk.reached).collect();
    assert!(missed.is_empty(), "no request of this test reaches {missed:?}");
}

async fn buckets(walk: &mut Walk) {
    let made = walk.step("PUT", "/second", &[], b"", (200, "")).await;
    assert_eq!(made.header("location"), "/second");
    walk.step("PUT", "/second", &[], b"", (409, "BucketAlreadyOwnedByYou")).await;
    walk.step("PUT", "/third", &[("x-amz-acl", "public-read")], b"", (501, "NotImplemented")).await;
    let listed = walk.step("GET", "/", &[], b"", (200, "")).await;
    assert!(String::from_utf8_lossy(&listed.body).contains("<Bucket><Name>bucket</Name>"));
    let page = walk.step("GET", "/?max-buckets=1", &[], b"", (200, "")).await;
    let token = page.element("ContinuationToken");
    let rest = walk.step("GET", &format!("/?continuation-token={token}"), &[], b"", (200, "")).await;
    assert_eq!((page.element("Name").as_str(), rest.element("Name").as_str()), ("bucket", "second"));
    let head = walk.step("HEAD", "/second", &[], b"", (200, "")).await;
    assert_eq!(head.header("x-amz-bucket-region"), "us-east-1");
    for parameter in [
        "location",
        "versioning",
        "acl",
        "encryption",
        "requestPayment",
        "logging",
        "notification",
        "accelerate",
        "ownershipControls",
    ] {
        let answer = walk.step("GET", &format!("/second?{parameter}"), &[], b"", (200, "")).await;
        assert_eq!(answer.header("content-type"), "application/xml", "{parameter}");
        walk.step("GET", &format!("/absent?{parameter}"), &[], b"", (404, "NoSuchBucket")).await;
    }
    for (parameter, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("policyStatus", "NoSuchBucketPolicy"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("cors", "NoSuchCORSConfiguration"),
        ("tagging", "NoSuchTagSet"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("replication", "ReplicationConfigurationNotFoundError"),
    ] {
        walk.step("GET", &format!("/second?{parameter}"), &[], b"", (404, code)).await;
    }
    walk.step("PUT", "/second?acl", &[("x-amz-acl", "private")], b"", (200, "")).await;
    walk.step("PUT", "/second?acl", &[], b"<AccessControlPolicy/>", (501, "NotImplemented")).await;
    walk.step("PUT", "/second?acl", &[], b"", (400, "MissingSecurityHeader")).await;
    walk.step("GET", "/second", &[("x-amz-expected-bucket-owner", "alice")], b"", (200, "")).await;
    walk.step("GET", "/second", &[("x-amz-expected-bucket-owner", "bob")], b"", (403, "AccessDenied")).await;
    walk.step("DELETE", "/second", &[], b"", (204, "")).await;
    walk.step("DELETE", "/second", &[], b"", (404, "NoSuchBucket")).await;
}

async fn objects(walk: &mut Walk) {
    let put = walk
        .step("PUT", "/bucket/k", &[("content-type", "text/x"), ("x-amz-meta-a", "b")], b"hello", (200, ""))
        .await;
    assert_eq!(put.header("x-amz-server-side-encryption"), "AES256");
    let etag = put.header("etag").to_owned();
    let get = walk.step("GET", "/bucket/k?versionId=null", &[], b"", (200, "")).await;
    assert_eq!((get.body.as_slice(), get.header("etag")), (&b"hello"[..], etag.as_str()));
    let head = walk.step("HEAD", "/bucket/k", &[], b"", (200, "")).await;
    assert_eq!((head.header("content-length"), head.header("accept-ranges")), ("5", "bytes"));
    walk.step(
        "GET",
        "/bucket/k?versionId=0123456789abcdef0123456789abcdef",
        &[],
        b"",
        (404, "NoSuchVersion"),
    )
    .await;
    for (target, status, element, value) in [
        ("/bucket/k?acl", (200, ""), "Permission", "FULL_CONTROL"),
        ("/bucket/k?tagging", (200, ""), "TagSet", ""),
        (
            "/bucket/k?retention",
            (400, "InvalidRequest"),
            "Message",
            "Bucket is missing Object Lock Configuration",
        ),
        (
            "/bucket/k?legal-hold",
            (400, "InvalidRequest"),
            "Message",
            "Bucket is missing Object Lock Configuration",
        ),
        ("/bucket/absent?acl", (404, "NoSuchKey"), "Key", "absent"),
    ] {
        assert_eq!(walk.step("GET", target, &[], b"", status).await.element(element), value, "{target}");
    }
    walk.step("PUT", "/bucket/k?acl", &[("x-amz-acl", "private")], b"", (200, "")).await;
    let wanted = [("x-amz-object-attributes", "ETag,ObjectSize")];
    let attributes = walk.step("GET", "/bucket/k?attributes", &wanted, b"", (200, "")).await;
    assert_eq!(attributes.element("ObjectSize"), "5");
    assert_eq!(format!("\"{}\"", attributes.element("ETag")), etag);

    let source = [("x-amz-copy-source", "/bucket/k")];
    let copied = walk.step("PUT", "/bucket/copy", &source, b"", (200, "")).await;
    assert_eq!(copied.element("ETag"), etag.replace('"', "&quot;"));
    walk.step("PUT", "/bucket/k", &source, b"", (400, "InvalidRequest")).await;
    walk.step("PUT", "/bucket/c", &[("x-amz-copy-source", "/bucket/absent")], b"", (404, "NoSuchKey")).await;
    let unlike = [source[0], ("x-amz-copy-source-if-none-match", etag.as_str())];
    walk.step("PUT", "/bucket/c", &unlike, b"", (412, "PreconditionFailed")).await;

    let v1 = walk.step("GET", "/bucket?max-keys=1&delimiter=/", &[], b"", (200, "")).await;
    assert_eq!((v1.element("IsTruncated").as_str(), v1.element("NextMarker").as_str()), ("true", "copy"));
    let v2 = walk.step("GET", "/bucket?list-type=2&max-keys=1", &[], b"", (200, "")).await;
    let token = v2.element("NextContinuationToken");
    let rest = format!("/bucket?list-type=2&continuation-token={token}");
    assert_eq!(walk.step("GET", &rest, &[], b"", (200, "")).await.element("Key"), "k");
    walk.step("GET", "/bucket?list-type=3", &[], b"", (400, "InvalidArgument")).await;
    let versions = walk.step("GET", "/bucket?versions", &[], b"", (200, "")).await;
    assert_eq!(versions.element("VersionId"), "null");

    walk.step("DELETE", "/bucket", &[], b"", (409, "BucketNotEmpty")).await;
    walk.step("DELETE", "/bucket/copy", &[("if-match", "\"other\"")], b"", (412, "PreconditionFailed")).await;
    walk.step("DELETE", "/bucket/copy", &[("if-match", etag.as_str())], b"", (204, "")).await;
    let document = b"<Delete><Object><Key>k</Key></Object><Object><Key>absent</Key></Object></Delete>";
    walk.step("POST", "/bucket?delete", &[], document, (400, "InvalidRequest")).await;
    let sum = BASE64.encode(&md5(document));
    walk.step("POST", "/bucket?delete", &[("content-md5", &sum)], b"<Delete/>", (400, "BadDigest")).await;
    let deleted = walk.step("POST", "/bucket?delete", &[("content-md5", &sum)], document, (200, "")).await;
    assert_eq!(String::from_utf8_lossy(&deleted.body).matches("<Deleted>").count(), 2);
    let empty = walk.step("GET", "/bucket?list-type=2", &[], b"", (200, "")).await;
    assert_eq!(empty.element("KeyCount"), "0");
}

async fn uploads(walk: &mut Walk) {
    let crc = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")];
    let made = walk.step("POST", "/bucket/m?uploads", &crc, b"", (200, "")).await;
    assert_eq!(made.header("x-amz-checksum-type"), "FULL_OBJECT");
    let upload = format!("/bucket/m?uploadId={}", made.element("UploadId"));
    walk.step("PUT", &format!("{upload}&partNumber=0"), &[], b"x", (400, "InvalidArgument")).await;
    let put = walk.step("PUT", &format!("{upload}&partNumber=1"), &[], b"hello", (200, "")).await;
    walk.step("PUT", "/bucket/from", &[], b"hello", (200, "")).await;
    let copy = [("x-amz-copy-source", "bucket/from"), ("x-amz-copy-source-range", "bytes=1-3")];
    let copied = walk.step("PUT", &format!("{upload}&partNumber=2"), &copy, b"", (200, "")).await;
    assert_eq!(copied.element("ETag"), format!("&quot;{}&quot;", HEXLOWER.encode(&md5(b"ell"))));
    let parts = walk.step("GET", &upload, &[], b"", (200, "")).await;
    assert_eq!(String::from_utf8_lossy(&parts.body).matches("<Part>").count(), 2);
    let listed = walk.step("GET", "/bucket?uploads", &[], b"", (200, "")).await;
    assert_eq!(listed.element("Key"), "m");
    walk.step("POST", &upload, &[], COMPLETE_NONE, (400, "MalformedXML")).await;
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        put.header("etag")
    );
    let wrong = [("x-amz-mp-object-size", "6")];
    walk.step("POST", &upload, &wrong, document.as_bytes(), (400, "InvalidRequest")).await;
    let mode = [("x-amz-checksum-type", "COMPOSITE")];
    walk.step("POST", &upload, &mode, document.as_bytes(), (400, "InvalidRequest")).await;
    let right = [("x-amz-mp-object-size", "5"), ("x-amz-checksum-crc32", "NhCmhg==")];
    let done = walk.step("POST", &upload, &right, document.as_bytes(), (200, "")).await;
    assert_eq!((done.element("Key").as_str(), done.element("ChecksumCRC32").as_str()), ("m", "NhCmhg=="));
    assert!(done.element("Location").starts_with("http://127.0.0.1:"), "{}", done.element("Location"));
    let part = walk.step("GET", "/bucket/m?partNumber=1", &[], b"", (206, "")).await;
    assert_eq!((part.header("x-amz-mp-parts-count"), part.header("content-range")), ("1", "bytes 0-4/5"));
    walk.step("GET", "/bucket/m?partNumber=2", &[], b"", (416, "InvalidPartNumber")).await;
    let all = [("x-amz-object-attributes", "Checksum,ObjectParts")];
    let attributes = walk.step("GET", "/bucket/m?attributes", &all, b"", (200, "")).await;
    assert_eq!(
        (attributes.element("PartsCount").as_str(), attributes.element("ChecksumCRC32").as_str()),
        ("1", "NhCmhg==")
    );

    let made = walk.step("POST", "/bucket/n?uploads", &[], b"", (200, "")).await;
    let upload = format!("/bucket/n?uploadId={}", made.element("UploadId"));
    walk.step("DELETE", &upload, &[], b"", (204, "")).await;
    walk.step("DELETE", &upload, &[], b"", (404, "NoSuchUpload")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_and_conditions_of_a_read() {
    let rig = rig().await;
    let put = rig.send("PUT", "/bucket/k", &[("cache-control", "max-age=5")], b"0123456789").await;
    let etag = put.header("etag").to_owned();
    let stale = "Sun, 06 Nov 1994 08:49:37 GMT";
    let future = "Sun, 06 Nov 2044 08:49:37 GMT";
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Fields<'_>, u16, &str); 14] = [
        (&[("range", "bytes=2-4")], 206, "234"),
        (&[("range", "bytes=-3")], 206, "789"),
        (&[("range", "bytes=8-99")], 206, "89"),
        (&[("range", "bytes=0-1,3-4")], 200, "0123456789"),
        (&[("range", "octets=0-1")], 200, "0123456789"),
        (&[("range", "bytes=2-4"), ("if-range", &etag)], 206, "234"),
        (&[("range", "bytes=2-4"), ("if-range", "\"old\"")], 200, "0123456789"),
        (&[("if-match", &etag)], 200, "0123456789"),
        (&[("if-match", "\"other\"")], 412, ""),
        (&[("if-none-match", &etag)], 304, ""),
        (&[("if-modified-since", stale)], 200, "0123456789"),
        (&[("if-modified-since", future)], 304, ""),
        (&[("if-unmodified-since", stale)], 412, ""),
        (&[("if-match", &etag), ("if-unmodified-since", stale)], 200, "0123456789"),
    ];
    for (fields, status, body) in cases {
        let answer = rig.send("GET", "/bucket/k", fields, b"").await;
        assert_eq!(answer.status, status, "{fields:?}");
        if status < 300 {
            assert_eq!(answer.body, body.as_bytes(), "{fields:?}");
            assert_eq!(answer.header("cache-control"), "max-age=5");
        }
        if status != 412 {
            assert_eq!(answer.header("etag"), etag, "{fields:?}");
            assert!(!answer.header("last-modified").is_empty(), "{fields:?}");
        }
        let head = rig.send("HEAD", "/bucket/k", fields, b"").await;
        assert_eq!((head.status, head.body.len()), (status, 0), "{fields:?}");
    }
    let outside = rig.send("GET", "/bucket/k", &[("range", "bytes=10-")], b"").await;
    assert_eq!(code(&outside), is(416, "InvalidRange"));
    assert_eq!(
        (outside.header("content-range"), outside.element("ActualObjectSize").as_str()),
        ("bytes */10", "10")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_write_promises_another_cannot_break() {
    let rig = rig().await;
    let absent = [("if-none-match", "*")];
    assert_eq!(rig.send("PUT", "/bucket/k", &[("if-match", "*")], b"x").await.status, 404);
    assert_eq!(rig.send("PUT", "/bucket/k", &absent, b"one").await.status, 200);
    assert_eq!(code(&rig.send("PUT", "/bucket/k", &absent, b"two").await), is(412, "PreconditionFailed"));
    assert_eq!(rig.send("PUT", "/bucket/k", &[("if-match", "*")], b"three").await.status, 200);
    let refused: [(&str, &str, (u16, &str)); 6] = [
        ("x-amz-server-side-encryption", "aws:kms", (501, "NotImplemented")),
        ("x-amz-tagging", "a=b", (501, "NotImplemented")),
        ("x-amz-object-lock-mode", "GOVERNANCE", (501, "NotImplemented")),
        ("x-amz-storage-class", "GLACIER", (400, "InvalidStorageClass")),
        ("x-amz-checksum-crc32", "AAAAAA==", (400, "BadDigest")),
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", (400, "BadDigest")),
    ];
    for (name, value, expect) in refused {
        let answer = rig.send("PUT", "/bucket/k", &[(name, value)], b"four").await;
        assert_eq!(code(&answer), is(expect.0, expect.1), "{name}");
    }
    assert_eq!(rig.send("GET", "/bucket/k", &[], b"").await.body, b"three");
}

//! The examples of the Developer Guide, and a URL as boto3 presigns it.

use std::time::Duration;

use grid_types::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::auth::{Proof, ProofRules, SignedRequest, parse_proof, verify_version_2};
use crate::request::Query;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const RULES: ProofRules = ProofRules { skew_max: Duration::from_secs(900), version_2: true };

struct Signed<'a> {
    method: &'a str,
    bucket: Option<&'a str>,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    /// Seconds since 1970.
    now: u64,
}

impl Signed<'_> {
    fn code_under(&self, rules: ProofRules) -> &'static str {
        let headers: HeaderMap = self
            .headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let request = SignedRequest { method: self.method, path, query, headers: &headers, host: "h" };
        let parsed = Query::parse(query).unwrap();
        let proof = match parse_proof(&headers, &parsed, Timestamp::from_secs(self.now), rules) {
            Ok(Proof::Version2(proof)) => proof,
            Ok(_) => return "another proof",
            Err(error) => return error.code.0,
        };
        verify_version_2(&request, &proof, self.bucket, SECRET).err().map_or("right", |error| error.code.0)
    }

    fn code(&self) -> &'static str {
        self.code_under(RULES)
    }
}

/// Tue, 27 Mar 2007 19:36:42 GMT.
const MARCH: u64 = 1_175_024_202;
const GET: Signed<'_> = Signed {
    method: "GET",
    bucket: Some("awsexamplebucket1"),
    target: "/photos/puppy.jpg",
    headers: &[
        ("date", "Tue, 27 Mar 2007 19:36:42 +0000"),
        ("authorization", "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g="),
    ],
    now: MARCH,
};

/// As boto3 1.44 presigns, for a key, a part, a listing and a virtual host.
const URLS: [(&str, Option<&str>, &str); 5] = [
    (
        "GET",
        None,
        "/bucket/a%20key%2B%C3%A9?response-content-type=x%2Fy%20z%2B&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=KzgeSWp0xwygY2aHWvv8mrq%2BOT4%3D&Expires=1175139620",
    ),
    (
        "PUT",
        None,
        "/bucket/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=mzZ5lmznTWGE0wF3XftMNaeeoc0%3D&content-type=text%2Fplain&x-amz-meta-b=1&x-amz-meta-a=2&Expires=1175139620",
    ),
    (
        "PUT",
        None,
        "/bucket/k?partNumber=3&uploadId=u%2F1&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=ZX2R3Np8BuOeLI8Bctl%2B2xW4n00%3D&Expires=1175139620",
    ),
    (
        "GET",
        None,
        "/bucket?list-type=2&prefix=x&encoding-type=url&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=M8F1Z78Mjd%2BICpms%2FSvNuIvW7vs%3D&Expires=1175139620",
    ),
    (
        "GET",
        Some("bucket"),
        "/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=eOo0FrIoKZooS0JZgoISWiyWXtE%3D&Expires=1175139620",
    ),
];
const EXPIRES: u64 = 1_175_139_620;

#[test]
fn a_signed_header_verifies() {
    assert_eq!(GET.code(), "right");
    assert_eq!(Signed { now: MARCH + 900, ..GET }.code(), "right");
    assert_eq!(Signed { now: MARCH + 901, ..GET }.code(), "RequestTimeTooSkewed");
    assert_eq!(Signed { now: MARCH - 901, ..GET }.code(), "RequestTimeTooSkewed");
    assert_eq!(Signed { method: "HEAD", ..GET }.code(), "SignatureDoesNotMatch");
    assert_eq!(Signed { bucket: Some("other"), ..GET }.code(), "SignatureDoesNotMatch");
    assert_eq!(Signed { target: "/photos/puppy.jpg?acl", ..GET }.code(), "SignatureDoesNotMatch");
    let mut headers = GET.headers.to_vec();
    headers.push(("x-amz-meta-a", "b"));
    assert_eq!(Signed { headers: &headers, ..GET }.code(), "SignatureDoesNotMatch");
    for (bad, code) in [
        ("AWS AKIAIOSFODNN7EXAMPLE", "InvalidArgument"),
        ("AWS :x", "InvalidArgument"),
        ("AWS x:", "InvalidArgument"),
        ("AWS", "InvalidArgument"),
    ] {
        let headers = [GET.headers[0], ("authorization", bad)];
        assert_eq!(Signed { headers: &headers, ..GET }.code(), code, "{bad}");
    }
    assert_eq!(Signed { headers: &GET.headers[1..], ..GET }.code(), "AccessDenied");
}

#[test]
fn urls_of_boto3_verify_until_they_expire() {
    for (method, bucket, target) in URLS {
        let url = Signed { method, bucket, target, headers: &[], now: EXPIRES };
        assert_eq!(url.code(), "right", "{target}");
        assert_eq!(Signed { now: EXPIRES + 1, ..url }.code(), "AccessDenied");
        let later = target.replace("Expires=1175139620", "Expires=1175139621");
        assert_eq!(Signed { target: &later, ..url }.code(), "SignatureDoesNotMatch");
    }
    let [.., (method, bucket, target)] = URLS;
    for bad in [target.replace("&Expires=1175139620", ""), target.replace("=1175139620", "=soon")] {
        let url = Signed { method, bucket, target: &bad, headers: &[], now: EXPIRES };
        assert_eq!(url.code(), "AccessDenied", "{bad}");
    }
}

#[test]
fn none_is_taken_unless_configured() {
    let rules = ProofRules { version_2: false, ..RULES };
    assert_eq!(GET.code_under(rules), "InvalidRequest");
    let (method, bucket, target) = URLS[0];
    assert_eq!(
        Signed { method, bucket, target, headers: &[], now: EXPIRES }.code_under(rules),
        "InvalidRequest"
    );
}

#[test]
fn signed_chunks_need_version_4() {
    let headers =
        [GET.headers[0], GET.headers[1], ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")];
    assert_eq!(Signed { headers: &headers, ..GET }.code(), "InvalidRequest");
}

//! AWS's published examples, and what must be refused.

use std::time::Duration;

use grid_types::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    CredentialScope, PayloadHash, Proof, ProofRules, SignedRequest, SigningKey, SigningKeyCache,
    canonical_query, canonical_request, format_basic, format_extended, parse_authorization, parse_basic,
    parse_http, parse_presigned, parse_proof, verify,
};
use crate::S3Error;
use crate::auth::Payload;
use crate::request::Query;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: &str = "examplebucket.s3.amazonaws.com";
const RULES: ProofRules = ProofRules { skew_max: Duration::from_secs(900), version_2: false };

fn noon() -> Timestamp {
    parse_basic("20130524T000000Z").unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

fn authorization(signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20130524/us-east-1/s3/aws4_request,SignedHeaders={signed},Signature={signature}"
    )
}

struct Example {
    method: &'static str,
    host: &'static str,
    target: &'static str,
    headers: HeaderMap,
}

impl Example {
    fn check_at(&self, now: Timestamp, secret: &str) -> Result<(Proof, Payload), S3Error> {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let request =
            SignedRequest { method: self.method, path, query, headers: &self.headers, host: self.host };
        let proof = parse_proof(&self.headers, &Query::parse(query)?, now, RULES)?;
        let verified = verify(&request, &proof, secret, &SigningKeyCache::default())?;
        Ok((proof, verified.payload))
    }

    fn check(&self) -> Result<(Proof, Payload), S3Error> {
        self.check_at(noon(), SECRET)
    }

    fn code(&self) -> &'static str {
        self.check().err().map_or("right", |error| error.code.0)
    }
}

fn get_object() -> Example {
    Example {
        method: "GET",
        host: HOST,
        target: "/test.txt",
        headers: headers(&[
            ("host", HOST),
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
            (
                "authorization",
                &authorization(
                    "host;range;x-amz-content-sha256;x-amz-date",
                    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
                ),
            ),
        ]),
    }
}

fn bucket_get(target: &'static str, signature: &str) -> Example {
    Example {
        method: "GET",
        host: HOST,
        target,
        headers: headers(&[
            ("x-amz-content-sha256", EMPTY),
            ("x-amz-date", "20130524T000000Z"),
            ("authorization", &authorization("host;x-amz-content-sha256;x-amz-date", signature)),
        ]),
    }
}

fn presigned() -> Example {
    Example {
        method: "GET",
        host: HOST,
        target: "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        headers: HeaderMap::new(),
    }
}

#[test]
fn the_examples_of_aws_verify() {
    assert_eq!(get_object().code(), "right");
    let put = Example {
        method: "PUT",
        host: HOST,
        target: "/test$file.text",
        headers: headers(&[
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-date", "20130524T000000Z"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
            (
                "authorization",
                &authorization(
                    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
                ),
            ),
        ]),
    };
    assert_eq!(put.code(), "right");
    let lifecycle = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543";
    assert_eq!(bucket_get("/?lifecycle", lifecycle).code(), "right");
    let list = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
    assert_eq!(bucket_get("/?max-keys=2&prefix=J", list).code(), "right");
    assert_eq!(bucket_get("/?prefix=J&max-keys=2", list).code(), "right");
    assert_eq!(presigned().code(), "right");
}

#[test]
fn the_canonical_request_is_that_of_the_example() {
    let example = get_object();
    let request =
        SignedRequest { method: "GET", path: "/test.txt", query: "", headers: &example.headers, host: HOST };
    let signed: Vec<String> =
        ["host", "range", "x-amz-content-sha256", "x-amz-date"].map(str::to_owned).into();
    let canonical = canonical_request(&request, &signed, EMPTY).unwrap();
    assert_eq!(
        String::from_utf8(canonical).unwrap(),
        format!(
            "GET\n/test.txt\n\nhost:{HOST}\nrange:bytes=0-9\nx-amz-content-sha256:{EMPTY}\n\
             x-amz-date:20130524T000000Z\n\nhost;range;x-amz-content-sha256;x-amz-date\n{EMPTY}"
        )
    );
}

#[test]
fn values_are_trimmed_folded_and_joined() {
    let mut map = headers(&[("x-amz-meta-a", "  one   two\tthree ")]);
    map.append("x-amz-meta-a", HeaderValue::from_static("four"));
    map.append("x-amz-meta-b", HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap());
    let request = SignedRequest { method: "PUT", path: "/", query: "", headers: &map, host: "h:9000" };
    let signed: Vec<String> = ["host", "x-amz-meta-a", "x-amz-meta-b", "x-gone"].map(str::to_owned).into();
    let text = String::from_utf8(canonical_request(&request, &signed, "H").unwrap()).unwrap();
    assert_eq!(
        text,
        "PUT\n/\n\nhost:h:9000\nx-amz-meta-a:one two three,four\nx-amz-meta-b:café\nx-gone:\n\n\
         host;x-amz-meta-a;x-amz-meta-b;x-gone\nH"
    );
}

#[test]
fn paths_and_queries_are_encoded_anew() {
    let map = HeaderMap::new();
    let path = |path: &str| {
        let request = SignedRequest { method: "GET", path, query: "", headers: &map, host: "h" };
        let text = String::from_utf8(canonical_request(&request, &[], "H").unwrap()).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(path("/b/a//b/./../c"), "/b/a//b/./../c");
    assert_eq!(path("/b/a%20b+c(d)'e!"), "/b/a%20b%2Bc%28d%29%27e%21");
    assert_eq!(path("/b/%e2%82%AC~%7e"), "/b/%E2%82%AC~~");
    assert_eq!(path("/b/%2525"), "/b/%2525");
    let query = |query: &str| String::from_utf8(canonical_query(query).unwrap()).unwrap();
    assert_eq!(query("b&a=2&a=1&A=3"), "A=3&a=1&a=2&b=");
    assert_eq!(query("prefix=a/b%20c+d&X-Amz-Signature=x"), "prefix=a%2Fb%20c%20d");
    // Sorted by the encoded form: `-` (0x2d) before `%` would be wrong, `%C3` sorts before letters.
    assert_eq!(query("a-=1&a=2&%C3%A4=3&aa=4"), "%C3%A4=3&a=2&a-=1&aa=4");
    assert!(canonical_query("a=%zz").is_err());
}

#[test]
fn anything_changed_breaks_the_signature() {
    let mut example = get_object();
    example.method = "HEAD";
    assert_eq!(example.code(), "SignatureDoesNotMatch");
    let mut example = get_object();
    example.target = "/test.txt?x=1";
    assert_eq!(example.code(), "SignatureDoesNotMatch");
    let mut example = get_object();
    example.host = "examplebucket.s3.amazonaws.com:80";
    assert_eq!(example.code(), "SignatureDoesNotMatch");
    let mut example = get_object();
    example.headers.insert("range", HeaderValue::from_static("bytes=0-10"));
    let error = example.check().err().unwrap();
    assert_eq!(error.status(), 403);
    let detail = |name| error.details.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str());
    assert_eq!(detail("AWSAccessKeyId"), Some(KEY));
    assert!(detail("StringToSign").unwrap().starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n"));
    assert!(detail("CanonicalRequest").unwrap().contains("range:bytes=0-10"));
    assert!(!format!("{error:?}").contains(SECRET));
    let wrong_secret = get_object().check_at(noon(), "another").err().unwrap();
    assert_eq!(wrong_secret.code.0, "SignatureDoesNotMatch");
    let mut example = presigned();
    example.target = Box::leak(example.target.replace("86400", "86401").into_boxed_str());
    assert_eq!(example.code(), "SignatureDoesNotMatch");
}

#[test]
fn amz_headers_and_host_must_be_signed() {
    let mut example = get_object();
    example.headers.insert("x-amz-acl", HeaderValue::from_static("public-read"));
    let error = example.check().err().unwrap();
    assert_eq!(error.code.0, "AccessDenied");
    assert_eq!(error.details, [("HeadersNotSigned", "x-amz-acl".to_owned())]);
    let mut example = get_object();
    let unsigned = authorization("range;x-amz-content-sha256;x-amz-date", &"0".repeat(64));
    example.headers.insert("authorization", HeaderValue::from_str(&unsigned).unwrap());
    assert_eq!(example.code(), "AccessDenied");
    let mut example = presigned();
    example.headers.insert("x-amz-acl", HeaderValue::from_static("public-read"));
    assert_eq!(example.code(), "AccessDenied");
    let mut example = presigned();
    example.headers.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    assert_eq!(example.code(), "right");
}

#[test]
fn times_have_limits() {
    let at = |seconds: i64| {
        let seconds = i64::try_from(noon().as_secs()).unwrap() + seconds;
        Timestamp::from_secs(u64::try_from(seconds).unwrap())
    };
    let code = |example: Example, seconds| {
        example.check_at(at(seconds), SECRET).err().map_or("right", |error| error.code.0)
    };
    assert_eq!(code(get_object(), 900), "right");
    assert_eq!(code(get_object(), -900), "right");
    assert_eq!(code(get_object(), 901), "RequestTimeTooSkewed");
    assert_eq!(code(get_object(), -901), "RequestTimeTooSkewed");
    assert_eq!(code(presigned(), 86_400), "right");
    assert_eq!(code(presigned(), -900), "right");
    assert_eq!(code(presigned(), -901), "AccessDenied");
    let expired = presigned().check_at(at(86_401), SECRET).err().unwrap();
    assert_eq!((expired.code.0, expired.message.as_str()), ("AccessDenied", "Request has expired"));
    assert!(expired.details.contains(&("Expires", "2013-05-25T00:00:00Z".to_owned())));
}

#[test]
fn the_time_of_a_request_may_stand_in_date() {
    let mut example = get_object();
    example.headers.remove("x-amz-date");
    assert_eq!(example.code(), "AccessDenied");
    for date in ["Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z"] {
        example.headers.insert("date", HeaderValue::from_str(date).unwrap());
        // Another header list was signed, so the form is right and the signature wrong.
        assert_eq!(example.code(), "SignatureDoesNotMatch");
    }
    example.headers.insert("x-amz-date", HeaderValue::from_static("yesterday"));
    assert_eq!(example.code(), "AccessDenied");
}

fn malformed(header: &str) -> (&'static str, u16) {
    let error = parse_authorization(header).unwrap_err();
    (error.code.0, error.code.1)
}

#[test]
fn malformed_authorization_headers() {
    let good = authorization("host;x-amz-date", &"0".repeat(64));
    assert_eq!(parse_authorization(&good).unwrap().signed_headers, ["host", "x-amz-date"]);
    let spaced = good.replace(',', ", ");
    assert_eq!(parse_authorization(&spaced).unwrap(), parse_authorization(&good).unwrap());
    let bad = ("AuthorizationHeaderMalformed", 400);
    for (from, to) in [
        ("Signature=", "Sig="),
        (",Signature=", " Signature="),
        ("SignedHeaders=host;x-amz-date,", ""),
        ("/s3/", "/ec2/"),
        ("aws4_request", "aws5_request"),
        ("/20130524/", "/2013-05-24/"),
        ("/20130524/", "/"),
        ("us-east-1", ""),
        ("Credential=", "Credential=x/"),
        ("SignedHeaders", "Signature=1,SignedHeaders"),
    ] {
        let header = good.replace(from, to);
        assert_eq!(malformed(&header), bad, "{header}");
    }
    assert_eq!(malformed("AWS4-HMAC-SHA256"), bad);
    assert_eq!(malformed("AWS AKID:c2lnbmF0dXJl"), ("InvalidRequest", 400));
    assert_eq!(malformed("Basic dXNlcjpwYXNz"), ("InvalidArgument", 400));
    assert_eq!(malformed("AWS4-ECDSA-P256-SHA256 Credential=x"), ("NotImplemented", 501));
    let mut other_day = get_object();
    other_day.headers.insert("x-amz-date", HeaderValue::from_static("20130523T235900Z"));
    assert_eq!(other_day.code(), "AuthorizationHeaderMalformed");
}

#[test]
fn malformed_presigned_urls() {
    let (_, good) = presigned().target.split_once('?').unwrap();
    let code = |query: &str| {
        let parsed = Query::parse(query).and_then(|query| parse_presigned(&query));
        parsed.err().map_or("right", |error| error.code.0)
    };
    assert_eq!(code(good), "right");
    for (from, to) in [
        ("X-Amz-Signature", "X-Amz-Sig"),
        ("X-Amz-Expires=86400", "X-Amz-Expires="),
        ("=86400", "=0"),
        ("=86400", "=-1"),
        ("=86400", "=604801"),
        ("=86400", "=99999999999999999999"),
        ("=86400", "=day"),
        ("=AWS4-HMAC-SHA256", "=AWS4-HMAC-SHA1"),
        ("%2Fs3%2F", "%2Fsts%2F"),
        ("Date=20130524T000000Z", "Date=20130525T000000Z"),
        ("Date=20130524T000000Z", "Date=2013"),
        ("&X-Amz-SignedHeaders=host", ""),
    ] {
        assert_eq!(code(&good.replace(from, to)), "AuthorizationQueryParametersError", "{to}");
    }
    assert_eq!(code(&good.replace("=86400", "=604800")), "right");
    assert_eq!(code(&good.replace("=86400", "=1")), "right");
}

#[test]
fn other_ways_to_sign() {
    let proof = |headers: &HeaderMap, query: &str| {
        parse_proof(headers, &Query::parse(query).unwrap(), noon(), RULES).map_err(|error| error.code.0)
    };
    let none = HeaderMap::new();
    assert_eq!(proof(&none, ""), Ok(Proof::Anonymous { payload: PayloadHash::Unsigned }));
    assert_eq!(proof(&none, "AWSAccessKeyId=a&Signature=b&Expires=1"), Err("InvalidRequest"));
    assert_eq!(
        proof(&get_object().headers, presigned().target.split_once('?').unwrap().1),
        Err("InvalidArgument")
    );
    assert_eq!(proof(&headers(&[("x-amz-security-token", "t")]), ""), Err("InvalidToken"));
    let streaming = headers(&[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]);
    assert_eq!(proof(&streaming, ""), Err("InvalidRequest"));
    let mut example = get_object();
    example.headers.remove("x-amz-content-sha256");
    assert_eq!(example.code(), "InvalidRequest");
    for bad in ["", "UNSIGNED", "abcd", "STREAMING-SOMETHING"] {
        example.headers.insert("x-amz-content-sha256", HeaderValue::from_str(bad).unwrap());
        assert_eq!(example.code(), "InvalidArgument", "{bad}");
    }
}

#[test]
fn times_are_read_and_written() {
    assert_eq!(noon().as_secs(), 1_369_353_600);
    assert_eq!(format_basic(noon()), "20130524T000000Z");
    for zone in ["GMT", "+0000", "-0000"] {
        assert_eq!(parse_http(&format!("Fri, 24 May 2013 00:00:00 {zone}")), Some(noon()), "{zone}");
    }
    for bad in ["", "+0000", "Fri, 24 May 2013 00:00:00 +0100", "Wed, 31 Dec 1969 23:59:59 GMT"] {
        assert_eq!(parse_http(bad), None, "{bad}");
    }
    assert_eq!(format_extended(noon()), "2013-05-24T00:00:00Z");
    for bad in [
        "",
        "20130524T000000",
        "20130524 000000Z",
        "20131324T000000Z",
        "20130230T000000Z",
        "20130524T240000Z",
        "2013052४T00000Z",
        "+0130524T000000Z",
        "19691231T235959Z",
    ] {
        assert_eq!(parse_basic(bad), None, "{bad}");
    }
}

#[test]
fn the_key_cache_is_bounded_and_forgets_old_secrets() {
    let cache = SigningKeyCache::default();
    let scope = |region: usize| {
        CredentialScope::parse(&format!("{KEY}/20130524/region-{region}/s3/aws4_request")).unwrap()
    };
    for region in 0..1_000 {
        let scope = scope(region);
        cache.keep(SECRET, &scope, &SigningKey::derive(SECRET, &scope));
        assert!(cache.len() <= 256);
    }
    let last = scope(999);
    let kept = cache.get(SECRET, &last).sign(b"text");
    assert_eq!(kept, SigningKey::derive(SECRET, &last).sign(b"text"));
    assert_ne!(cache.get("a new secret", &last).sign(b"text"), kept);
    let before = cache.len();
    assert!(get_object().check_at(noon(), "wrong").is_err());
    assert_eq!(cache.len(), before);
}

proptest::proptest! {
    #[test]
    fn no_header_or_query_panics(header in ".{0,120}", query in ".{0,120}") {
        let _ = parse_authorization(&header);
        let _ = parse_authorization(&format!("AWS4-HMAC-SHA256 {header}"));
        if let Ok(query) = Query::parse(&query) {
            let _ = parse_presigned(&query);
        }
        let _ = canonical_query(&query);
        let _ = parse_basic(&header);
    }
}

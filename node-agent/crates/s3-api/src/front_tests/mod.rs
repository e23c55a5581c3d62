//! The whole front over a real server on loopback and a real engine on one drive, spoken to with raw bytes.

mod client;
mod operations;
mod rig;

use std::time::Duration;

use sys::{Clock, TimeTrust};
use tokio::io::AsyncWriteExt;

use client::{Answer, UNSIGNED, hex_sha256, read_answer};
use rig::{Rig, rig, rig_with};

use crate::S3Config;
use crate::auth::{SigningKey, format_basic};

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.element("Code"))
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_goes_in_and_comes_out() {
    let rig = rig().await;
    let put = rig.send("PUT", "/bucket/a/b%20c", &[("x-amz-meta-colour", "blue")], b"hello").await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(put.header("etag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    let get = rig.send("GET", "/bucket/a/b%20c", &[], b"").await;
    assert_eq!((get.status, get.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(get.header("x-amz-meta-colour"), "blue");
    assert_eq!(get.header("server"), "Shoal");
    assert_eq!(get.header("x-amz-request-id").len(), 16);
    assert!(!get.header("x-amz-id-2").is_empty() && !get.header("date").is_empty());
    let head = rig.send("HEAD", "/bucket/a/b%20c", &[], b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "5", 0));
    assert_eq!(rig.send("DELETE", "/bucket/a/b%20c", &[], b"").await.status, 204);
    let gone = rig.send("GET", "/bucket/a/b%20c", &[], b"").await;
    assert_eq!(code(&gone), is(404, "NoSuchKey"));
    assert_eq!(gone.element("RequestId"), gone.header("x-amz-request-id"));
    assert_eq!(gone.element("HostId"), gone.header("x-amz-id-2"));
    assert_eq!(gone.element("Resource"), "/bucket/a/b%20c");
    let head = rig.send("HEAD", "/bucket/a/b%20c", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_what_the_path_says() {
    let rig = rig().await;
    for path in
        ["/bucket/a//b", "/bucket//", "/bucket/./x", "/bucket/..", "/bucket/%2525", "/bucket/%E2%82%AC+'()"]
    {
        let put = rig.send("PUT", path, &[], path.as_bytes()).await;
        assert_eq!(put.status, 200, "{path}: {put:?}");
    }
    for path in
        ["/bucket/a//b", "/bucket//", "/bucket/./x", "/bucket/..", "/bucket/%2525", "/bucket/%E2%82%AC+'()"]
    {
        assert_eq!(rig.send("GET", path, &[], b"").await.body, path.as_bytes(), "{path}");
    }
    assert_eq!(code(&rig.send("GET", "/bucket/a/b", &[], b"").await), is(404, "NoSuchKey"));
    let broken = rig.raw(b"GET /bucket/%ff HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(code(&broken), is(400, "InvalidURI"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_prove_itself_is_refused_and_the_connection_kept() {
    let rig = rig().await;
    let mut stream = rig.connect().await;
    stream.write_all(b"PUT /bucket/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    assert_eq!(code(&read_answer(&mut stream, "PUT").await), is(403, "AccessDenied"));
    let mut stranger = rig.client.clone();
    stranger.key_id = "NOBODY".to_owned();
    stream.write_all(&stranger.request("GET", "/bucket/a", &[], UNSIGNED, b"")).await.unwrap();
    let unknown = read_answer(&mut stream, "GET").await;
    assert_eq!(code(&unknown), is(403, "InvalidAccessKeyId"));
    assert_eq!(unknown.element("AWSAccessKeyId"), "NOBODY");
    let mut forger = rig.client.clone();
    forger.secret = "not the secret".to_owned();
    stream.write_all(&forger.request("GET", "/bucket/a", &[], UNSIGNED, b"")).await.unwrap();
    let forged = read_answer(&mut stream, "GET").await;
    assert_eq!(code(&forged), is(403, "SignatureDoesNotMatch"));
    assert!(forged.element("CanonicalRequest").starts_with("GET\n/bucket/a\n"));
    // The same connection still serves who is right.
    stream.write_all(&rig.client.request("PUT", "/bucket/a", &[], UNSIGNED, b"x")).await.unwrap();
    assert_eq!(read_answer(&mut stream, "PUT").await.status, 200);
    let old = rig.raw(b"GET /bucket/a HTTP/1.1\r\nHost: h\r\nAuthorization: AWS a:b\r\n\r\n").await;
    assert_eq!(code(&old), is(400, "InvalidRequest"));
    assert!(old.element("Message").contains("AWS4-HMAC-SHA256"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_told_so() {
    let rig = rig().await;
    rig.clock.advance(Duration::from_secs(901));
    let answer = rig.send("GET", "/bucket/a", &[], b"").await;
    assert_eq!(code(&answer), is(403, "RequestTimeTooSkewed"));
    assert_eq!(answer.element("MaxAllowedSkewMilliseconds"), "900000");
    let told = httpdate::parse_http_date(answer.header("date"))
        .unwrap()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(told.as_secs(), rig.clock.now().as_secs(), "clients correct their clock by it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_time_is_not_proven_clients_are_told_to_come_back() {
    let rig = rig().await;
    rig.clock.set_trust(TimeTrust::Unproven);
    for method in ["PUT", "GET", "DELETE"] {
        let answer = rig.send(method, "/bucket/a", &[], b"").await;
        assert_eq!(code(&answer), is(503, "ServiceUnavailable"), "{method}");
        assert_eq!(answer.header("retry-after"), "5");
    }
    let head = rig.send("HEAD", "/bucket/a", &[], b"").await;
    assert_eq!((head.status, head.header("retry-after")), (503, "5"));
    let anonymous = rig.raw(b"GET /bucket/a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(anonymous.status, 503);
    for trust in [TimeTrust::Grid, TimeTrust::Proven] {
        rig.clock.set_trust(trust);
        assert_eq!(code(&rig.send("GET", "/bucket/a", &[], b"").await), is(404, "NoSuchKey"), "{trust:?}");
    }
    let serving = rig_with(S3Config { refuse_unproven_time: false, ..S3Config::default() }).await;
    serving.clock.set_trust(TimeTrust::Unproven);
    assert_eq!(serving.send("PUT", "/bucket/a", &[], b"hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presigned_urls_work_until_they_expire() {
    let rig = rig().await;
    rig.send("PUT", "/bucket/a", &[], b"hello").await;
    let rig = &rig;
    let get = |target: String| async move {
        rig.raw(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", rig.client.host).as_bytes()).await
    };
    let target = rig.client.presign("GET", "/bucket/a", 60);
    assert_eq!(get(target.clone()).await.body, b"hello");
    let override_type = rig.client.presign("GET", "/bucket/a?response-content-type=text%2Fplain", 60);
    assert_eq!(get(override_type).await.header("content-type"), "text/plain");
    assert_eq!(code(&get(target.replace("/a?", "/b?")).await), is(403, "SignatureDoesNotMatch"));
    rig.clock.advance(Duration::from_secs(61));
    let expired = get(target).await;
    assert_eq!(code(&expired), is(403, "AccessDenied"));
    assert_eq!(expired.element("Message"), "Request has expired");
    assert_eq!(
        code(&get(rig.client.presign("GET", "/bucket/a", 604_801)).await).1,
        "AuthorizationQueryParametersError"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bucket_may_stand_in_the_host() {
    let rig = rig().await;
    let mut virtual_host = rig.client.clone();
    for host in ["bucket.localhost:9000", "bucket.s3.example.com"] {
        virtual_host.host = host.to_owned();
        let put = rig.raw(&virtual_host.request("PUT", "/key", &[], UNSIGNED, host.as_bytes())).await;
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(rig.send("GET", "/bucket/key", &[], b"").await.body, host.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_upload_is_refused_before_its_body() {
    let rig = rig().await;
    let mut forger = rig.client.clone();
    forger.secret = "not the secret".to_owned();
    let expect = [("expect", "100-continue"), ("content-length", "5")];
    let mut stream = rig.connect().await;
    stream.write_all(&forger.head("PUT", "/bucket/a", &expect, UNSIGNED)).await.unwrap();
    assert_eq!(code(&read_answer(&mut stream, "PUT").await), is(403, "SignatureDoesNotMatch"));
    let mut stream = rig.connect().await;
    stream.write_all(&rig.client.head("PUT", "/no-such-bucket/a", &expect, UNSIGNED)).await.unwrap();
    assert_eq!(code(&read_answer(&mut stream, "PUT").await), is(404, "NoSuchBucket"));
    let mut stream = rig.connect().await;
    stream.write_all(&rig.client.head("PUT", "/bucket/a", &expect, UNSIGNED)).await.unwrap();
    assert_eq!(read_answer(&mut stream, "PUT").await.status, 100);
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut stream, "PUT").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_what_was_signed_commits_nothing() {
    let rig = rig().await;
    for length in [5, 100_000, 3_000_000] {
        let body = vec![b'x'; length];
        let hash = hex_sha256(&body);
        let wrong = hex_sha256(b"something else");
        let bad = rig.raw(&rig.client.request("PUT", "/bucket/a", &[], &wrong, &body)).await;
        assert_eq!(code(&bad), is(400, "XAmzContentSHA256Mismatch"), "{length}");
        assert_eq!(code(&rig.send("GET", "/bucket/a", &[], b"").await), is(404, "NoSuchKey"));
        let good = rig.raw(&rig.client.request("PUT", "/bucket/b", &[], &hash, &body)).await;
        assert_eq!(good.status, 200, "{good:?}");
    }
    let wrong_md5 = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    assert_eq!(code(&rig.send("PUT", "/bucket/a", &wrong_md5, b"hello").await), is(400, "BadDigest"));
    let no_md5 = [("content-md5", "rubbish")];
    assert_eq!(code(&rig.send("PUT", "/bucket/a", &no_md5, b"hello").await), is(400, "InvalidDigest"));
    let wrong_crc = [("x-amz-checksum-crc32", "AAAAAA==")];
    assert_eq!(code(&rig.send("PUT", "/bucket/a", &wrong_crc, b"hello").await), is(400, "BadDigest"));
    assert_eq!(code(&rig.send("GET", "/bucket/a", &[], b"").await), is(404, "NoSuchKey"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_needs_a_length() {
    let rig = rig().await;
    let head = rig.client.head("PUT", "/bucket/a", &[], UNSIGNED);
    assert_eq!(code(&rig.raw(&head).await), is(411, "MissingContentLength"));
    let chunked = rig.client.head("PUT", "/bucket/a", &[("transfer-encoding", "chunked")], UNSIGNED);
    let sent = [chunked.as_slice(), b"5\r\nhello\r\n0\r\n\r\n"].concat();
    assert_eq!(code(&rig.raw(&sent).await), is(411, "MissingContentLength"));
}

/// A signed aws-chunked request; `tamper` may change its encoded body.
fn signed_chunks(rig: &Rig, target: &str, data: &[u8], tamper: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let decoded = data.len().to_string();
    let chunks: Vec<&[u8]> = data.chunks(65_536).chain([&b""[..]]).collect();
    let length: usize = chunks
        .iter()
        .map(|chunk| format!("{:x};chunk-signature=", chunk.len()).len() + 64 + 4 + chunk.len())
        .sum();
    let headers = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", decoded.as_str()),
        ("content-length", &length.to_string()),
    ];
    let head = rig.client.head("PUT", target, &headers, kind);
    let text = String::from_utf8(head.clone()).unwrap();
    let mut previous = text.split("Signature=").nth(1).unwrap()[..64].to_owned();
    let scope = rig.client.scope();
    let key = SigningKey::derive(&rig.client.secret, &scope);
    let mut body = Vec::new();
    for chunk in chunks {
        let string_to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{scope}\n{previous}\n{}\n{}",
            format_basic(rig.client.now),
            hex_sha256(b""),
            hex_sha256(chunk)
        );
        previous = key.sign(string_to_sign.as_bytes());
        body.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).into_bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    tamper(&mut body);
    [head, body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_chunks_are_taken_and_forged_ones_commit_nothing() {
    let rig = rig().await;
    for length in [0, 5, 65_536, 200_000, 1_500_000] {
        let data: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
        let put = rig.raw(&signed_chunks(&rig, "/bucket/good", &data, |_| {})).await;
        assert_eq!(put.status, 200, "{length}: {put:?}");
        let get = rig.send("GET", "/bucket/good", &[], b"").await;
        assert!(get.body == data, "{length} bytes come back");
        assert_eq!(get.header("content-encoding"), "");
        let forged = signed_chunks(&rig, "/bucket/bad", &data, |body| {
            let at = body.len() - 20;
            body[at] ^= 1;
        });
        assert_eq!(code(&rig.raw(&forged).await), is(403, "SignatureDoesNotMatch"), "{length}");
        assert_eq!(code(&rig.send("GET", "/bucket/bad", &[], b"").await), is(404, "NoSuchKey"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailing_checksums_are_verified_and_kept() {
    let rig = rig().await;
    let upload = |key: &str, trailer: &str| {
        let body = format!("5\r\nhello\r\n0\r\n{trailer}\r\n");
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        rig.client.request("PUT", key, &headers, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", body.as_bytes())
    };
    let put = rig.raw(&upload("/bucket/a", "x-amz-checksum-crc32:NhCmhg==\r\n")).await;
    assert_eq!((put.status, put.header("x-amz-checksum-crc32")), (200, "NhCmhg=="), "{put:?}");
    let get = rig.send("GET", "/bucket/a", &[("x-amz-checksum-mode", "ENABLED")], b"").await;
    assert_eq!((get.body.as_slice(), get.header("x-amz-checksum-crc32")), (&b"hello"[..], "NhCmhg=="));
    for (trailer, expect) in [
        ("x-amz-checksum-crc32:AAAAAA==\r\n", "BadDigest"),
        ("x-amz-checksum-crc32:AAAA\r\n", "InvalidRequest"),
        ("", "MalformedTrailerError"),
    ] {
        assert_eq!(code(&rig.raw(&upload("/bucket/b", trailer)).await), is(400, expect));
        assert_eq!(code(&rig.send("GET", "/bucket/b", &[], b"").await), is(404, "NoSuchKey"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_stalls_or_breaks_off_commits_nothing() {
    let rig = rig().await;
    let head = rig.client.head("PUT", "/bucket/a", &[("content-length", "1000000")], UNSIGNED);
    let mut stalled = rig.connect().await;
    stalled.write_all(&head).await.unwrap();
    stalled.write_all(&[0; 300_000]).await.unwrap();
    assert_eq!(code(&read_answer(&mut stalled, "PUT").await), is(400, "RequestTimeout"));
    let mut cut = rig.connect().await;
    cut.write_all(&head).await.unwrap();
    cut.write_all(&[0; 300_000]).await.unwrap();
    drop(cut);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(code(&rig.send("GET", "/bucket/a", &[], b"").await), is(404, "NoSuchKey"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_see_each_other() {
    let rig = rig().await;
    let mut stream = rig.connect().await;
    let put = rig.client.request("PUT", "/bucket/a", &[], UNSIGNED, b"hello");
    let get = rig.client.request("GET", "/bucket/a", &[], UNSIGNED, b"");
    stream.write_all(&[put, get].concat()).await.unwrap();
    assert_eq!(read_answer(&mut stream, "PUT").await.status, 200);
    assert_eq!(read_answer(&mut stream, "GET").await.body, b"hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_have_a_limit_and_are_verified() {
    let rig = rig().await;
    let huge = vec![b' '; 5 << 20];
    let answer =
        rig.send("POST", "/bucket?delete", &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], &huge).await;
    assert_eq!(code(&answer), is(400, "MaxMessageLengthExceeded"));
    let document = b"<Delete><Object><Key>a</Key></Object></Delete>";
    rig.send("PUT", "/bucket/a", &[], b"kept").await;
    let wrong = hex_sha256(b"another document");
    let forged = rig.client.request(
        "POST",
        "/bucket?delete",
        &[("x-amz-checksum-crc32", "AAAAAA==")],
        &wrong,
        document,
    );
    let refused = rig.raw(&forged).await;
    assert_eq!(code(&refused), is(400, "XAmzContentSHA256Mismatch"));
    assert_eq!(rig.send("GET", "/bucket/a", &[], b"").await.body, b"kept");
}

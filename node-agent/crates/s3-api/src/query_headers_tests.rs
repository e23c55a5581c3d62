use http::{HeaderMap, HeaderValue};

use super::with_query_headers;
use crate::request::Query;

fn merged(query: &str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-meta-sent", HeaderValue::from_static("header"));
    let merged = with_query_headers(&Query::parse(query).unwrap(), &headers);
    merged.map(|merged| merged.unwrap_or(headers)).map_err(|error| error.code.0)
}

#[test]
fn parameters_that_stand_for_headers_become_headers() {
    let headers = merged("X-Amz-Meta-Colour=sky%20blue&x-amz-storage-class=COLD&prefix=x").unwrap();
    assert_eq!(headers["x-amz-meta-colour"], "sky blue");
    assert_eq!(headers["x-amz-storage-class"], "COLD");
    assert_eq!(headers.len(), 3);
    assert_eq!(merged("x-amz-meta-sent=query").unwrap()["x-amz-meta-sent"], "header");
}

#[test]
fn others_do_not() {
    for query in [
        "",
        "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=d",
        "x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32",
        "X-Amz-Content-Sha256=UNSIGNED-PAYLOAD",
        "content-type=text/plain",
    ] {
        assert_eq!(merged(query).unwrap().len(), 1, "{query}");
    }
}

#[test]
fn version_2_moves_what_it_signs() {
    let headers =
        merged("AWSAccessKeyId=a&Signature=b&Expires=1&Content-Type=text/plain&content-md5=x").unwrap();
    assert_eq!(
        (&headers["content-type"], &headers["content-md5"]),
        (&HeaderValue::from_static("text/plain"), &HeaderValue::from_static("x"))
    );
}

#[test]
fn what_cannot_be_a_header_is_refused() {
    assert_eq!(merged("x-amz-meta-a=%0A").unwrap_err(), "InvalidArgument");
    assert_eq!(merged("x-amz-meta-%20=a").unwrap_err(), "InvalidArgument");
}

use http::HeaderMap;

use super::{Directive, directive, parse_source};

#[test]
fn sources_are_decoded() {
    let cases = [
        ("bucket/key", "bucket", "key"),
        ("/bucket/key", "bucket", "key"),
        ("/bucket/a/b%20c+d%2Be", "bucket", "a/b c d+e"),
        ("bucket//key", "bucket", "/key"),
        ("bucket/%C3%A4%3FversionId%3Dx", "bucket", "ä?versionId=x"),
        ("bucket%2Fkey", "bucket", "key"),
        ("bucket/key?versionId=null", "bucket", "key"),
    ];
    for (header, bucket, key) in cases {
        let source = parse_source(header).unwrap();
        assert_eq!((source.bucket.as_str(), source.key.as_str()), (bucket, key), "{header}");
        assert_eq!(source.version, None, "{header}");
    }
    let versioned = parse_source("bucket/key?versionId=0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(
        versioned.version.map(|id| id.to_string()).as_deref(),
        Some("0123456789abcdef0123456789abcdef")
    );
}

#[test]
fn other_sources_are_refused() {
    let long = format!("bucket/{}", "k".repeat(1_025));
    let cases = [
        ("", "InvalidArgument"),
        ("/", "InvalidArgument"),
        ("bucket", "InvalidArgument"),
        ("bucket/", "InvalidArgument"),
        ("Bad_Bucket/key", "InvalidArgument"),
        ("bucket/%FF", "InvalidArgument"),
        ("bucket/key?versionId=", "InvalidArgument"),
        ("bucket/key?versionId=what", "InvalidArgument"),
        ("arn:aws:s3:us-west-2:1:accesspoint/a/object/k", "NotImplemented"),
        (long.as_str(), "KeyTooLongError"),
    ];
    for (header, code) in cases {
        assert_eq!(parse_source(header).unwrap_err().code.0, code, "{header}");
    }
}

#[test]
fn directives_are_two() {
    let mut headers = HeaderMap::new();
    assert_eq!(directive(&headers, "x-amz-metadata-directive", "").unwrap(), Directive::Copy);
    for (value, expect) in
        [("COPY", Some(Directive::Copy)), ("REPLACE", Some(Directive::Replace)), ("copy", None)]
    {
        headers.insert("x-amz-metadata-directive", value.parse().unwrap());
        assert_eq!(directive(&headers, "x-amz-metadata-directive", "").ok(), expect, "{value}");
    }
}

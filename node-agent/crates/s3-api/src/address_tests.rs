use super::{Address, percent_decode};

fn check(host: &str, path: &str, bucket: &str, key: &str) {
    let suffixes = ["s3.example.com".to_owned(), "example.com".to_owned()];
    let address = Address::parse(host, path, &suffixes).unwrap();
    let text = |part: Option<&str>| part.unwrap_or("").to_owned();
    assert_eq!(text(address.bucket.as_ref().map(|b| b.as_str())), bucket, "{host} {path}");
    assert_eq!(text(address.key.as_ref().map(|k| k.as_str())), key, "{host} {path}");
}

fn refused(host: &str, path: &str) -> &'static str {
    Address::parse(host, path, &[]).unwrap_err().code.0
}

#[test]
fn path_style() {
    check("127.0.0.1:9000", "/", "", "");
    check("127.0.0.1:9000", "/bucket", "bucket", "");
    check("127.0.0.1:9000", "/bucket/", "bucket", "");
    check("[::1]:9000", "/bucket/key", "bucket", "key");
    check("[::1]", "/bucket/key", "bucket", "key");
    check("s3.example.com", "/bucket/key", "bucket", "key");
    check("EXAMPLE.com:443", "/bucket/key", "bucket", "key");
    check("localhost:9000", "/bucket/key", "bucket", "key");
    check("other.net", "/bucket/key", "bucket", "key");
    check("", "/bucket/key", "bucket", "key");
}

#[test]
fn virtual_host_style() {
    check("bucket.localhost:9000", "/", "bucket", "");
    check("bucket.s3.example.com", "/a/b", "bucket", "a/b");
    check("my.dotted.bucket.S3.Example.Com:80", "/a/b", "my.dotted.bucket", "a/b");
    check("bucket.example.com.", "//a", "bucket", "/a");
    check("notexample.com", "/bucket/a", "bucket", "a");
}

#[test]
fn keys_are_decoded_once_and_never_normalised() {
    for (path, key) in [
        ("/bucket//", "/"),
        ("/bucket/a//b", "a//b"),
        ("/bucket/./x", "./x"),
        ("/bucket/..", ".."),
        ("/bucket/a/../../b/", "a/../../b/"),
        ("/bucket/a%20b+c", "a b+c"),
        ("/bucket/%2525", "%25"),
        ("/bucket/%2F%2f", "//"),
        ("/bucket/%00", "\0"),
        ("/bucket/%e2%82%ac/ä", "€/ä"),
    ] {
        check("h", path, "bucket", key);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    assert_eq!(refused("h", "/bucket/%"), "InvalidURI");
    assert_eq!(refused("h", "/bucket/%4"), "InvalidURI");
    assert_eq!(refused("h", "/bucket/%zz"), "InvalidURI");
    assert_eq!(refused("h", "/bucket/%+1"), "InvalidURI");
    assert_eq!(refused("h", "/bucket/%ff"), "InvalidURI");
    assert_eq!(refused("h", "/bucket/%c0%80"), "InvalidURI");
    assert_eq!(refused("h", "*"), "InvalidURI");
    assert_eq!(refused("h", "//key"), "InvalidBucketName");
    assert_eq!(refused("h", "/UPPER/key"), "InvalidBucketName");
    assert_eq!(refused("a_b.localhost", "/key"), "InvalidBucketName");
    assert_eq!(refused("h", &format!("/bucket/{}", "x".repeat(1_025))), "KeyTooLongError");
    assert!(Address::parse("h", &format!("/bucket/{}", "%41".repeat(1_024)), &[]).is_ok());
}

#[test]
fn plus_is_a_space_in_queries_alone() {
    assert_eq!(percent_decode("a+b%2B", true).unwrap(), "a b+");
    assert_eq!(percent_decode("a+b%2B", false).unwrap(), "a+b+");
}

proptest::proptest! {
    #[test]
    fn every_key_survives_its_encoding(key in "\\PC{1,200}") {
        let mut path = "/bucket/".to_owned();
        for byte in key.bytes() {
            path.push_str(&format!("%{byte:02x}"));
        }
        let address = Address::parse("h", &path, &[]).unwrap();
        proptest::prop_assert_eq!(address.key.unwrap().to_string(), key);
    }

    #[test]
    fn nothing_panics(host in ".{0,40}", path in ".{0,60}") {
        let _ = Address::parse(&host, &path, &["example.com".to_owned(), String::new()]);
    }
}

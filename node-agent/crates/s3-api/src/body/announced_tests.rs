use http::{HeaderMap, HeaderName, HeaderValue};
use object_engine::ChecksumKind;

use super::{Announced, checksum_header_name, parse_checksum};

fn parse(pairs: &[(&str, &str)], chunked: bool) -> Result<Announced, &'static str> {
    let headers: HeaderMap = pairs
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        });
    Announced::parse(&headers, chunked).map_err(|error| error.code.0)
}

#[test]
fn lengths() {
    assert_eq!(parse(&[], false).unwrap().length, None);
    assert_eq!(parse(&[("content-length", "17")], false).unwrap().length, Some(17));
    let chunked = [("content-length", "99"), ("x-amz-decoded-content-length", "17")];
    assert_eq!(parse(&chunked, true).unwrap().length, Some(17));
    assert_eq!(parse(&chunked[..1], true).unwrap().length, None);
    for bad in ["-1", "", "1e3", "99999999999999999999", "+1"] {
        assert_eq!(parse(&[("x-amz-decoded-content-length", bad)], true), Err("InvalidRequest"), "{bad}");
    }
}

#[test]
fn md5() {
    let md5 = parse(&[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], false).unwrap().md5.unwrap();
    assert_eq!(md5[..4], [0xd4, 0x1d, 0x8c, 0xd9]);
    for bad in ["", "rubbish", "d41d8cd98f00b204e9800998ecf8427e", "AAAA"] {
        assert_eq!(parse(&[("content-md5", bad)], false), Err("InvalidDigest"), "{bad}");
    }
}

#[test]
fn checksum_headers() {
    for (name, value, kind) in [
        ("x-amz-checksum-crc32", "DUoRhQ==", ChecksumKind::Crc32),
        ("x-amz-checksum-crc32c", "yZRlqg==", ChecksumKind::Crc32c),
        ("x-amz-checksum-crc64nvme", "jSnVw/bqjr4=", ChecksumKind::Crc64Nvme),
        ("x-amz-checksum-sha1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0=", ChecksumKind::Sha1),
        ("x-amz-checksum-sha256", "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", ChecksumKind::Sha256),
    ] {
        let announced = parse(&[(name, value)], false).unwrap();
        assert_eq!(announced.kind, Some(kind));
        assert_eq!(announced.checksum.unwrap().kind, kind);
        assert_eq!(checksum_header_name(kind), name);
        assert_eq!(parse(&[(name, "AAA=")], false), Err("InvalidRequest"), "{name}");
        assert_eq!(parse(&[(name, &format!("{value}-3"))], false), Err("InvalidRequest"), "{name}");
        assert_eq!(parse(&[(name, value), (name, value)], false), Err("InvalidRequest"), "{name} twice");
    }
    let two = [("x-amz-checksum-crc32", "DUoRhQ=="), ("x-amz-checksum-crc32c", "yZRlqg==")];
    assert_eq!(parse(&two, false), Err("InvalidRequest"));
    // Neighbours of the same prefix are no checksums.
    let others = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")];
    assert_eq!(parse(&others, false).unwrap().kind, None);
    assert!(parse_checksum("x-amz-checksum-mode", "ENABLED").is_none());
}

#[test]
fn trailers_and_algorithms() {
    let trailer = ("x-amz-trailer", "x-amz-checksum-crc32");
    let announced = parse(&[trailer], true).unwrap();
    assert_eq!((announced.kind, announced.trailer), (Some(ChecksumKind::Crc32), Some(ChecksumKind::Crc32)));
    assert_eq!(parse(&[trailer], false).unwrap().trailer, None);
    assert_eq!(parse(&[("x-amz-trailer", "x-amz-meta-a")], true), Err("InvalidRequest"));
    assert_eq!(
        parse(&[("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")], true),
        Err("InvalidRequest")
    );
    assert_eq!(parse(&[trailer, ("x-amz-checksum-crc32", "DUoRhQ==")], true), Err("InvalidRequest"));
    let algorithm = |name| ("x-amz-sdk-checksum-algorithm", name);
    assert_eq!(parse(&[algorithm("crc32c")], false).unwrap().kind, Some(ChecksumKind::Crc32c));
    assert_eq!(parse(&[algorithm("CRC32"), trailer], true).unwrap().kind, Some(ChecksumKind::Crc32));
    assert_eq!(parse(&[algorithm("SHA1"), trailer], true), Err("InvalidRequest"));
    assert_eq!(parse(&[algorithm("MD4")], false), Err("InvalidRequest"));
}

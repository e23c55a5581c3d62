use grid_types::{ObjectKey, Timestamp, VersionId};
use http::{HeaderMap, HeaderName, HeaderValue};
use object_engine::{
    Attributes, Checksum, ChecksumKind, ChecksumType, ObjectInfo, RangeSpec, WriteCondition,
};

use super::{
    attributes, checksum_headers, checksum_value, copy_source_conditions, copy_source_range, if_range_holds,
    object_checksum, parse_algorithm, parse_checksum, put_attributes, range, read_conditions,
    refuse_unsupported, text, upload_checksum, write_condition,
};

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

#[test]
fn ranges_as_s3_reads_them() {
    let cases = [
        ("bytes=0-0", Some(RangeSpec::FromTo(0, 0))),
        ("bytes=5-9", Some(RangeSpec::FromTo(5, 9))),
        ("bytes=5-", Some(RangeSpec::From(5))),
        ("bytes=-5", Some(RangeSpec::Suffix(5))),
        ("bytes=-0", Some(RangeSpec::Suffix(0))),
        ("Bytes = 5 - 9", Some(RangeSpec::FromTo(5, 9))),
        ("bytes=0-99999999999999999999999", Some(RangeSpec::FromTo(0, u64::MAX))),
        ("bytes=9-5", None),
        ("bytes=0-1,4-5", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=1--2", None),
        ("bytes", None),
        ("lines=1-2", None),
        ("", None),
    ];
    for (header, expect) in cases {
        assert_eq!(range(&headers(&[("range", header)])), expect, "{header}");
    }
    assert_eq!(range(&HeaderMap::new()), None);
}

#[test]
fn ranges_of_part_copies_have_both_ends() {
    let ok = copy_source_range(&headers(&[("x-amz-copy-source-range", "bytes=0-10")]));
    assert_eq!(ok.unwrap(), Some((0, 10)));
    assert_eq!(copy_source_range(&HeaderMap::new()).unwrap(), None);
    for wrong in ["bytes=0-", "bytes=-5", "0-10", "bytes=10-0", "bytes=a-b", "bytes=1-2,3-4", "bytes=0", ""] {
        let error = copy_source_range(&headers(&[("x-amz-copy-source-range", wrong)])).unwrap_err();
        assert_eq!(error.code.0, "InvalidArgument", "{wrong}");
    }
}

fn info() -> ObjectInfo {
    ObjectInfo {
        key: ObjectKey::new("k").unwrap(),
        version: VersionId::from_bytes([1; 16]),
        etag: "abc".to_owned(),
        size: 10,
        modified: Timestamp(784_111_777_500_000),
        storage_class: "STANDARD".to_owned(),
        attributes: Attributes::default(),
        checksum: None,
        part_checksum: None,
        part_count: 0,
        range: 0..10,
        partial: false,
    }
}

#[test]
fn if_range_compares_tags_and_dates() {
    let cases = [
        ("\"abc\"", true),
        ("abc", true),
        ("\"abd\"", false),
        ("W/\"abc\"", false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("Sun, 06 Nov 1994 08:49:38 GMT", false),
    ];
    for (header, expect) in cases {
        assert_eq!(if_range_holds(&headers(&[("if-range", header)]), &info()), expect, "{header}");
    }
    assert!(if_range_holds(&HeaderMap::new(), &info()));
}

#[test]
fn read_conditions_are_parsed() {
    let found = read_conditions(&headers(&[
        ("if-match", "\"a\", W/\"b\" ,c"),
        ("if-none-match", "*"),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("if-unmodified-since", "yesterday"),
    ]));
    assert_eq!(found.if_match, Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
    assert_eq!(found.if_none_match, Some(vec!["*".to_owned()]));
    assert_eq!(found.if_modified_since, Some(Timestamp::from_secs(784_111_777)));
    assert_eq!(found.if_unmodified_since, None);
    let copy =
        copy_source_conditions(&headers(&[("x-amz-copy-source-if-match", "\"a\""), ("if-match", "\"b\"")]));
    assert_eq!(copy.if_match, Some(vec!["a".to_owned()]));
    assert_eq!(copy.if_none_match, None);
}

#[test]
fn write_conditions_are_parsed() {
    type Fields = &'static [(&'static str, &'static str)];
    let cases: [(Fields, Option<WriteCondition>); 9] = [
        (&[], Some(WriteCondition::None)),
        (&[("if-none-match", "*")], Some(WriteCondition::Absent)),
        (&[("if-none-match", "\"*\"")], Some(WriteCondition::Absent)),
        (&[("if-match", "\"abc\"")], Some(WriteCondition::ETag("abc".to_owned()))),
        (&[("if-match", "abc")], Some(WriteCondition::ETag("abc".to_owned()))),
        (&[("if-match", "*")], Some(WriteCondition::ETag("*".to_owned()))),
        (&[("if-none-match", "\"abc\"")], None),
        (&[("if-match", "a,b")], None),
        (&[("if-match", "a"), ("if-none-match", "*")], None),
    ];
    for (fields, expect) in cases {
        assert_eq!(write_condition(&headers(fields)).ok(), expect, "{fields:?}");
    }
}

#[test]
fn attributes_go_in_and_come_out() {
    let sent = headers(&[
        ("content-type", "text/plain"),
        ("content-encoding", "aws-chunked, gzip"),
        ("cache-control", "no-cache"),
        ("content-disposition", "attachment; filename=\"ä.txt\""),
        ("expires", "whenever"),
        ("x-amz-meta-colour", "blue"),
        ("x-amz-meta-colour", "green"),
        ("x-amz-meta-name", "Äpfel"),
        ("x-amz-meta-word", "=?UTF-8?Q?=C3=84?="),
        ("x-amz-date", "no"),
    ]);
    let stored = attributes(&sent, 2_048).unwrap();
    assert_eq!(stored.content_encoding.as_deref(), Some("gzip"));
    let mut metadata = stored.user_metadata.clone();
    metadata.sort();
    let expect = [("colour", "blue,green"), ("name", "Äpfel"), ("word", "=?UTF-8?Q?=C3=84?=")];
    assert_eq!(metadata, expect.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let mut answer = HeaderMap::new();
    put_attributes(&mut answer, &stored);
    let shown = |name: &str| text(&answer, name);
    assert_eq!(shown("content-type").as_deref(), Some("text/plain"));
    assert_eq!(shown("content-disposition").as_deref(), Some("attachment; filename=\"ä.txt\""));
    assert_eq!(shown("expires").as_deref(), Some("whenever"));
    assert_eq!(shown("x-amz-meta-name").as_deref(), Some("=?UTF-8?B?w4RwZmVs?="));
    assert_eq!(shown("x-amz-meta-word").as_deref(), Some("=?UTF-8?Q?=C3=84?="));
    assert_eq!(shown("x-amz-date"), None);

    let mut plain = HeaderMap::new();
    put_attributes(&mut plain, &attributes(&headers(&[("content-encoding", "aws-chunked")]), 2_048).unwrap());
    assert_eq!(text(&plain, "content-type").as_deref(), Some("binary/octet-stream"));
    assert_eq!(text(&plain, "content-encoding"), None);
}

#[test]
fn metadata_has_a_limit_and_redirects_a_form() {
    let value = "v".repeat(2_048 - 4);
    assert!(attributes(&headers(&[("x-amz-meta-name", &value)]), 2_048).is_ok());
    let error =
        attributes(&headers(&[("x-amz-meta-name", &value), ("x-amz-meta-b", "")]), 2_048).unwrap_err();
    assert_eq!(error.code.0, "MetadataTooLarge");
    for (target, ok) in [("/there", true), ("https://x/", true), ("there", false)] {
        let sent = headers(&[("x-amz-website-redirect-location", target)]);
        assert_eq!(attributes(&sent, 2_048).is_ok(), ok, "{target}");
    }
}

#[test]
fn header_bytes_that_are_no_utf8_are_latin_1() {
    let mut map = HeaderMap::new();
    map.insert("x-amz-meta-a", HeaderValue::from_bytes(b"\xc4pfel").unwrap());
    assert_eq!(attributes(&map, 2_048).unwrap().user_metadata, [("a".to_owned(), "Äpfel".to_owned())]);
}

#[test]
fn checksums_are_parsed_and_shown() {
    let cases = [
        (ChecksumKind::Crc32, "i9aeUg==", ChecksumType::FullObject, 0),
        (ChecksumKind::Crc32c, "crUfeA==", ChecksumType::FullObject, 0),
        (ChecksumKind::Crc64Nvme, "OOJZ0D8xKts=", ChecksumType::FullObject, 0),
        (ChecksumKind::Sha1, "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", ChecksumType::FullObject, 0),
        (ChecksumKind::Sha256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", ChecksumType::FullObject, 0),
        (ChecksumKind::Crc32, "i9aeUg==-3", ChecksumType::Composite, 3),
    ];
    for (kind, value, r#type, parts) in cases {
        let checksum = parse_checksum(kind, value).unwrap();
        assert_eq!((checksum.r#type, checksum.parts), (r#type, parts), "{value}");
        assert_eq!(checksum_value(&checksum), value);
        let mut map = HeaderMap::new();
        checksum_headers(&mut map, &checksum);
        assert_eq!(object_checksum(&map).unwrap(), Some(checksum));
    }
    for wrong in ["", "i9aeUg", "i9aeUg==-0", "i9aeUg==-x", "i9aeUg==-70000", "OOJZ0D8xKts=", "!!!!!!=="] {
        assert_eq!(parse_checksum(ChecksumKind::Crc32, wrong), None, "{wrong}");
    }
    let two = headers(&[("x-amz-checksum-crc32", "i9aeUg=="), ("x-amz-checksum-crc32c", "crUfeA==")]);
    assert_eq!(object_checksum(&two).unwrap_err().code.0, "InvalidRequest");
    assert_eq!(
        object_checksum(&headers(&[("x-amz-checksum-sha1", "x")])).unwrap_err().code.0,
        "InvalidRequest"
    );
    let shown =
        Checksum { kind: ChecksumKind::Crc32, r#type: ChecksumType::Composite, value: vec![0; 4], parts: 2 };
    assert_eq!(checksum_value(&shown), "AAAAAA==-2");
}

#[test]
fn an_upload_chooses_its_checksum() {
    use ChecksumKind::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
    use ChecksumType::{Composite, FullObject};
    let cases = [
        (None, None, Ok(None)),
        (Some("CRC32"), None, Ok(Some((Crc32, Composite)))),
        (Some("crc32c"), Some("FULL_OBJECT"), Ok(Some((Crc32c, FullObject)))),
        (Some("CRC64NVME"), None, Ok(Some((Crc64Nvme, FullObject)))),
        (Some("SHA1"), Some("COMPOSITE"), Ok(Some((Sha1, Composite)))),
        (Some("SHA256"), None, Ok(Some((Sha256, Composite)))),
        (Some("SHA256"), Some("FULL_OBJECT"), Err("InvalidRequest")),
        (Some("CRC64NVME"), Some("COMPOSITE"), Err("InvalidRequest")),
        (Some("MD5"), None, Err("InvalidRequest")),
        (Some("CRC32"), Some("HALF"), Err("InvalidArgument")),
        (None, Some("FULL_OBJECT"), Err("InvalidRequest")),
    ];
    for (algorithm, r#type, expect) in cases {
        let mut fields = Vec::new();
        fields.extend(algorithm.map(|name| ("x-amz-checksum-algorithm", name)));
        fields.extend(r#type.map(|name| ("x-amz-checksum-type", name)));
        let found = upload_checksum(&headers(&fields)).map_err(|error| error.code.0);
        assert_eq!(found, expect, "{algorithm:?} {type:?}");
    }
    assert_eq!(parse_algorithm("SHA1").unwrap(), Sha1);
}

#[test]
fn what_is_not_built_is_refused() {
    let cases = [
        ("x-amz-acl", "private", None),
        ("x-amz-acl", "bucket-owner-full-control", None),
        ("x-amz-acl", "public-read", Some("NotImplemented")),
        ("x-amz-acl", "everyone", Some("InvalidArgument")),
        ("x-amz-grant-read", "id=x", Some("NotImplemented")),
        ("x-amz-server-side-encryption", "AES256", None),
        ("x-amz-server-side-encryption", "aws:kms", Some("NotImplemented")),
        ("x-amz-server-side-encryption", "rot13", Some("InvalidEncryptionAlgorithmError")),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256", Some("NotImplemented")),
        ("x-amz-server-side-encryption-aws-kms-key-id", "x", Some("NotImplemented")),
        ("x-amz-server-side-encryption-bucket-key-enabled", "false", None),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true", Some("NotImplemented")),
        ("x-amz-copy-source-server-side-encryption-customer-key", "x", Some("NotImplemented")),
        ("x-amz-tagging", "", None),
        ("x-amz-tagging", "a=b", Some("NotImplemented")),
        ("x-amz-object-lock-mode", "GOVERNANCE", Some("NotImplemented")),
        ("x-amz-object-lock-legal-hold", "ON", Some("NotImplemented")),
        ("x-amz-bucket-object-lock-enabled", "false", None),
        ("x-amz-bucket-object-lock-enabled", "true", Some("NotImplemented")),
        ("x-amz-object-ownership", "BucketOwnerEnforced", None),
        ("x-amz-object-ownership", "ObjectWriter", Some("NotImplemented")),
        ("x-amz-object-ownership", "Nobody", Some("InvalidArgument")),
        ("x-amz-write-offset-bytes", "0", Some("NotImplemented")),
        ("x-amz-meta-x-amz-grant-read", "x", None),
    ];
    for (name, value, expect) in cases {
        let refused = refuse_unsupported(&headers(&[(name, value)])).err().map(|error| error.code.0);
        assert_eq!(refused, expect, "{name}: {value}");
    }
}

proptest::proptest! {
    #[test]
    fn any_header_is_answered(value in "[ -~]{0,60}") {
        for name in [
            "range", "x-amz-copy-source-range", "if-match", "if-none-match", "if-range", "if-modified-since",
            "x-amz-checksum-crc32", "x-amz-checksum-algorithm", "x-amz-acl", "content-encoding",
        ] {
            let map = headers(&[(name, &value)]);
            let _ = (range(&map), copy_source_range(&map), read_conditions(&map), write_condition(&map));
            let _ = (object_checksum(&map), upload_checksum(&map), refuse_unsupported(&map), attributes(&map, 2_048));
            let _ = if_range_holds(&map, &info());
        }
        if let Some(RangeSpec::FromTo(first, last)) = range(&headers(&[("range", &value)])) {
            proptest::prop_assert!(first <= last);
        }
    }
}

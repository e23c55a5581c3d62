use grid_types::{ObjectKey, Timestamp, UploadId};
use object_engine::{Checksum, ChecksumKind, ChecksumType, PartInfo, UploadInfo, UploadListing};

use super::{
    PartsPage, UploadsPage, parse_complete, part_number_required, parts_document, upload_id, uploads_document,
};
use crate::request::Query;

fn query(name: &str, value: &str) -> Query {
    Query(vec![(name.to_owned(), value.to_owned())])
}

#[test]
fn part_numbers_are_one_to_ten_thousand() {
    for (value, expect) in [("1", Some(1)), ("10000", Some(10_000))] {
        assert_eq!(part_number_required(&query("partNumber", value)).ok(), expect);
    }
    for value in ["0", "10001", "-1", "65537", "99999999999999999999", "x", "", "1.5"] {
        let error = part_number_required(&query("partNumber", value)).unwrap_err();
        assert_eq!(error.code.0, "InvalidArgument", "{value}");
    }
}

#[test]
fn a_malformed_upload_id_is_no_upload() {
    assert!(upload_id(&query("uploadId", "0123456789abcdef0123456789abcdef")).is_ok());
    for value in ["", "x", "0123456789abcdef0123456789abcde", "../../etc/passwd"] {
        assert_eq!(upload_id(&query("uploadId", value)).unwrap_err().code.0, "NoSuchUpload", "{value}");
    }
}

#[test]
fn a_complete_is_read() {
    let document = b"<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <Part><PartNumber>1</PartNumber><ETag>\"abc\"</ETag></Part>\
        <Part><ETag>&quot;def&quot;</ETag><PartNumber>3</PartNumber><ChecksumCRC32>i9aeUg==</ChecksumCRC32></Part>\
        <Part><ETag>ghi</ETag><PartNumber>10000</PartNumber></Part></CompleteMultipartUpload>";
    let parts = parse_complete(document).unwrap();
    let seen: Vec<_> = parts.iter().map(|part| (part.number, part.etag.as_str())).collect();
    assert_eq!(seen, [(1, "abc"), (3, "def"), (10_000, "ghi")]);
    let checksum = parts[1].checksum.as_ref().unwrap();
    assert_eq!(
        (checksum.kind, checksum.value.as_slice()),
        (ChecksumKind::Crc32, &[0x8b, 0xd6, 0x9e, 0x52][..])
    );
}

#[test]
fn other_completes_are_refused() {
    let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag></Part>");
    let cases = [
        (String::new(), "MalformedXML"),
        (part("0"), "InvalidArgument"),
        (part("10001"), "InvalidArgument"),
        (part("-1"), "InvalidArgument"),
        (part("one"), "MalformedXML"),
        (part("2") + &part("1"), "InvalidPartOrder"),
        (part("1") + &part("1"), "InvalidPartOrder"),
        ("<Part><PartNumber>1</PartNumber></Part>".to_owned(), "MalformedXML"),
        ("<Part><ETag>e</ETag></Part>".to_owned(), "MalformedXML"),
        ("<Bit/>".to_owned(), "MalformedXML"),
        (
            "<Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>?</ChecksumCRC32></Part>"
                .to_owned(),
            "InvalidPart",
        ),
    ];
    for (inside, code) in cases {
        let document = format!("<CompleteMultipartUpload>{inside}</CompleteMultipartUpload>");
        assert_eq!(parse_complete(document.as_bytes()).unwrap_err().code.0, code, "{inside}");
    }
    assert_eq!(parse_complete(b"").unwrap_err().code.0, "MalformedXML");
}

#[test]
fn ten_thousand_parts_are_read() {
    let parts: String = (1..=10_000)
        .map(|number| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"e\"</ETag></Part>"))
        .collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    assert_eq!(parse_complete(document.as_bytes()).unwrap().len(), 10_000);
}

fn upload() -> UploadInfo {
    UploadInfo {
        key: ObjectKey::new("a b").unwrap(),
        upload: UploadId::from_bytes([0xab; 16]),
        initiated: Timestamp::from_secs(0),
        storage_class: "STANDARD".to_owned(),
        checksum: Some((ChecksumKind::Sha256, ChecksumType::Composite)),
    }
}

#[test]
fn parts_in_the_order_of_s3() {
    let page =
        PartsPage { bucket: "photos", marker: 1, max_parts: 1, more: true, encode: true, owner: "admin" };
    let part = PartInfo {
        number: 2,
        etag: "abc".to_owned(),
        size: 5,
        modified: Timestamp::from_secs(1),
        checksum: Some(Checksum {
            kind: ChecksumKind::Crc32,
            r#type: ChecksumType::FullObject,
            value: vec![0; 4],
            parts: 0,
        }),
    };
    let document = parts_document(&page, &upload(), &[part]);
    let (start, end) = document.split_once("<Initiator>").unwrap();
    assert!(start.ends_with(
        "<Bucket>photos</Bucket><Key>a%20b</Key><UploadId>abababababababababababababababab</UploadId>"
    ));
    assert!(end.ends_with(
        "<StorageClass>STANDARD</StorageClass><PartNumberMarker>1</PartNumberMarker>\
         <NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>1</MaxParts><EncodingType>url</EncodingType>\
         <IsTruncated>true</IsTruncated><Part><PartNumber>2</PartNumber>\
         <LastModified>1970-01-01T00:00:01.000Z</LastModified><ETag>&quot;abc&quot;</ETag><Size>5</Size>\
         <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>\
         <ChecksumType>COMPOSITE</ChecksumType></ListPartsResult>"
    ));
}

#[test]
fn uploads_in_the_order_of_s3() {
    let page = UploadsPage {
        bucket: "photos".to_owned(),
        prefix: String::new(),
        delimiter: Some("/".to_owned()),
        key_marker: None,
        upload_marker: None,
        max_uploads: 1,
        encode: false,
    };
    let listing = UploadListing {
        uploads: vec![upload()],
        prefixes: vec!["x/".to_owned()],
        next: Some(("a b".to_owned(), Some(UploadId::from_bytes([0xab; 16])))),
    };
    let document = uploads_document(&page, &listing, "admin");
    let (start, end) = document.split_once("<Initiator>").unwrap();
    assert!(start.ends_with(
        "<Bucket>photos</Bucket><KeyMarker></KeyMarker><UploadIdMarker></UploadIdMarker>\
         <NextKeyMarker>a b</NextKeyMarker><NextUploadIdMarker>abababababababababababababababab</NextUploadIdMarker>\
         <Prefix></Prefix><Delimiter>/</Delimiter><MaxUploads>1</MaxUploads><IsTruncated>true</IsTruncated>\
         <Upload><Key>a b</Key><UploadId>abababababababababababababababab</UploadId>"
    ));
    assert!(end.ends_with(
        "<StorageClass>STANDARD</StorageClass><Initiated>1970-01-01T00:00:00.000Z</Initiated>\
         <ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType></Upload>\
         <CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes></ListMultipartUploadsResult>"
    ));
}

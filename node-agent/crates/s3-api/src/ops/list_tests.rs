use grid_types::{ObjectKey, Timestamp, VersionId};
use object_engine::{ChecksumKind, ChecksumType, ObjectListing, ObjectPart};

use super::{Scope, V2Places, v1_document, v2_document, versions_document};
use crate::ops::token;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const ADMIN_ID: &str = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918";

fn scope() -> Scope {
    Scope {
        bucket: "photos".parse().unwrap(),
        prefix: String::new(),
        delimiter: None,
        max_keys: 1_000,
        encode: false,
    }
}

fn object(key: &str) -> ObjectPart {
    ObjectPart {
        key: ObjectKey::new(key).unwrap(),
        version: VersionId::from_bytes([7; 16]),
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        size: 0,
        modified: Timestamp(1_255_369_850_999_999),
        storage_class: "STANDARD".to_owned(),
        checksum: None,
    }
}

const CONTENTS_REST: &str = "<LastModified>2009-10-12T17:50:50.000Z</LastModified>\
    <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag>";

#[test]
fn version_1_in_the_order_of_s3() {
    let scope = Scope { prefix: "a".to_owned(), delimiter: Some("/".to_owned()), max_keys: 2, ..scope() };
    let listing = ObjectListing {
        objects: vec![object("a&b")],
        prefixes: vec!["a/".to_owned()],
        next: Some("a/".to_owned()),
    };
    let expect = format!(
        "{HEAD}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name><Prefix>a</Prefix>\
         <Marker>a%</Marker><NextMarker>a/</NextMarker><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter>\
         <IsTruncated>true</IsTruncated><Contents><Key>a&amp;b</Key>{CONTENTS_REST}<Size>0</Size>\
         <Owner><ID>{ADMIN_ID}</ID><DisplayName>admin</DisplayName></Owner>\
         <StorageClass>STANDARD</StorageClass></Contents>\
         <CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes></ListBucketResult>"
    );
    assert_eq!(v1_document(&scope, "a%", &listing, "admin"), expect);
}

#[test]
fn version_1_names_the_next_marker_with_a_delimiter_alone() {
    let listing = ObjectListing {
        objects: vec![object("a"), object("b")],
        prefixes: Vec::new(),
        next: Some("b".to_owned()),
    };
    assert!(!v1_document(&scope(), "", &listing, "admin").contains("NextMarker"));
    let delimited = Scope { delimiter: Some("/".to_owned()), ..scope() };
    assert!(v1_document(&delimited, "", &listing, "admin").contains("<NextMarker>b</NextMarker>"));
    let whole = ObjectListing { next: None, ..listing };
    let document = v1_document(&delimited, "", &whole, "admin");
    assert!(!document.contains("NextMarker") && document.contains("<IsTruncated>false</IsTruncated>"));
}

#[test]
fn version_2_in_the_order_of_s3() {
    let scope = Scope {
        prefix: "a ".to_owned(),
        delimiter: Some("ä".to_owned()),
        max_keys: 3,
        encode: true,
        ..scope()
    };
    let mut first = object("a \u{1}");
    first.checksum = Some((ChecksumKind::Crc64Nvme, ChecksumType::FullObject));
    first.storage_class = "REDUCED_REDUNDANCY".to_owned();
    let listing = ObjectListing {
        objects: vec![first],
        prefixes: vec!["a zä".to_owned()],
        next: Some("a zä".to_owned()),
    };
    let places = V2Places { start_after: Some("a+"), continuation: Some("token") };
    let next = token::seal("a zä");
    let expect = format!(
        "{HEAD}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name>\
         <Prefix>a%20</Prefix><StartAfter>a%2B</StartAfter><ContinuationToken>token</ContinuationToken>\
         <NextContinuationToken>{next}</NextContinuationToken><KeyCount>2</KeyCount><MaxKeys>3</MaxKeys>\
         <Delimiter>%C3%A4</Delimiter><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
         <Contents><Key>a%20%01</Key>{CONTENTS_REST}<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>\
         <ChecksumType>FULL_OBJECT</ChecksumType><Size>0</Size><StorageClass>REDUCED_REDUNDANCY</StorageClass>\
         </Contents><CommonPrefixes><Prefix>a%20z%C3%A4</Prefix></CommonPrefixes></ListBucketResult>"
    );
    assert_eq!(v2_document(&scope, &places, &listing, None), expect);
    assert!(
        v2_document(&scope, &places, &listing, Some("admin")).contains("<DisplayName>admin</DisplayName>")
    );
}

#[test]
fn an_empty_page_says_so() {
    let places = V2Places { start_after: None, continuation: None };
    let expect = format!(
        "{HEAD}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name><Prefix></Prefix>\
         <KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"
    );
    assert_eq!(v2_document(&scope(), &places, &ObjectListing::default(), None), expect);
}

#[test]
fn keys_of_control_characters_are_numbered() {
    let listing = ObjectListing { objects: vec![object("a\u{1}\r<")], ..ObjectListing::default() };
    let places = V2Places { start_after: None, continuation: None };
    assert!(v2_document(&scope(), &places, &listing, None).contains("<Key>a&#x1;&#xd;&lt;</Key>"));
}

#[test]
fn versions_are_the_null_ones() {
    let listing = ObjectListing {
        objects: vec![object("b")],
        prefixes: vec!["a/".to_owned()],
        next: Some("b".to_owned()),
    };
    let document = versions_document(&scope(), "", "", &listing, "admin");
    assert!(document.contains(
        "<KeyMarker></KeyMarker><VersionIdMarker></VersionIdMarker><NextKeyMarker>b</NextKeyMarker>\
         <NextVersionIdMarker>null</NextVersionIdMarker><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>"
    ));
    assert!(document.contains("<Version><Key>b</Key><VersionId>null</VersionId><IsLatest>true</IsLatest>"));
}

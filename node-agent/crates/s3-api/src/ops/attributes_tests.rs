use grid_types::{ObjectKey, Timestamp, VersionId};
use http::{HeaderMap, HeaderValue};
use object_engine::{Attributes, Checksum, ChecksumKind, ChecksumType, ObjectInfo, PartInfo};

use super::{Parts, Wanted, attributes_document, parse_wanted};

fn wanted(list: &str) -> Result<Wanted, &'static str> {
    let mut headers = HeaderMap::new();
    for value in list.split('|') {
        headers.append("x-amz-object-attributes", HeaderValue::from_str(value).unwrap());
    }
    parse_wanted(&headers).map_err(|error| error.code.0)
}

#[test]
fn the_list_of_attributes_is_read() {
    let all = Wanted { etag: true, checksum: true, parts: true, storage_class: true, size: true };
    assert_eq!(wanted("ETag,Checksum,ObjectParts,StorageClass,ObjectSize"), Ok(all));
    assert_eq!(wanted("ETag| Checksum |ObjectParts, StorageClass|ObjectSize"), Ok(all));
    assert_eq!(wanted("ObjectSize"), Ok(Wanted { size: true, ..Wanted::default() }));
    assert_eq!(wanted("Colour"), Err("InvalidArgument"));
    assert_eq!(wanted(""), Err("InvalidRequest"));
    assert_eq!(parse_wanted(&HeaderMap::new()).unwrap_err().code.0, "InvalidRequest");
}

#[test]
fn the_document_has_what_was_asked() {
    let checksum =
        Checksum { kind: ChecksumKind::Sha1, r#type: ChecksumType::Composite, value: vec![0; 20], parts: 2 };
    let info = ObjectInfo {
        key: ObjectKey::new("k").unwrap(),
        version: VersionId::from_bytes([1; 16]),
        etag: "abc-2".to_owned(),
        size: 10,
        modified: Timestamp::from_secs(1),
        storage_class: "STANDARD".to_owned(),
        attributes: Attributes::default(),
        checksum: Some(checksum.clone()),
        part_checksum: None,
        part_count: 2,
        range: 0..10,
        partial: false,
    };
    let parts = Parts {
        marker: 0,
        max_parts: 1,
        parts: vec![PartInfo {
            number: 1,
            etag: "x".to_owned(),
            size: 5,
            modified: Timestamp::from_secs(1),
            checksum: Some(Checksum { r#type: ChecksumType::FullObject, parts: 0, ..checksum }),
        }],
        more: true,
    };
    let all = wanted("ETag,Checksum,ObjectParts,StorageClass,ObjectSize").unwrap();
    assert!(attributes_document(all, &info, Some(&parts)).ends_with(
        "<ETag>abc-2</ETag><Checksum><ChecksumSHA1>AAAAAAAAAAAAAAAAAAAAAAAAAAA=-2</ChecksumSHA1>\
         <ChecksumType>COMPOSITE</ChecksumType></Checksum><ObjectParts><IsTruncated>true</IsTruncated>\
         <MaxParts>1</MaxParts><NextPartNumberMarker>1</NextPartNumberMarker><PartNumberMarker>0</PartNumberMarker>\
         <Part><ChecksumSHA1>AAAAAAAAAAAAAAAAAAAAAAAAAAA=</ChecksumSHA1><PartNumber>1</PartNumber><Size>5</Size></Part>\
         <PartsCount>2</PartsCount></ObjectParts><StorageClass>STANDARD</StorageClass><ObjectSize>10</ObjectSize>\
         </GetObjectAttributesResponse>"
    ));
    let size = wanted("ObjectSize").unwrap();
    assert!(
        attributes_document(size, &info, None)
            .ends_with("/2006-03-01/\"><ObjectSize>10</ObjectSize></GetObjectAttributesResponse>")
    );
}

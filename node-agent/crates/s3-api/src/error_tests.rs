use grid_types::{ErrorCode, Timestamp};
use http::header::{ETAG, LAST_MODIFIED, RETRY_AFTER};
use object_engine::{BodyError, EngineError};

use super::{ALL_CODES, S3Error, S3ErrorCode, sentence};

#[test]
fn every_code_is_listed_once_with_a_valid_status_and_a_sentence() {
    let mut names: Vec<&str> = ALL_CODES.iter().map(|code| code.0).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
    for code in ALL_CODES {
        assert!((300..600).contains(&code.1), "{code:?}");
        assert!(!sentence(*code).is_empty(), "{code:?}");
        assert_eq!(S3Error::new(*code, "").message, sentence(*code));
    }
}

#[test]
fn codes_of_the_grid_become_those_of_s3() {
    let cases = [
        (ErrorCode::NoSuchKey, "NoSuchKey", 404),
        (ErrorCode::TooLarge, "EntityTooLarge", 400),
        (ErrorCode::PartTooSmall, "EntityTooSmall", 400),
        (ErrorCode::StorageFull, "StorageFull", 507),
        (ErrorCode::SlowDown, "SlowDown", 503),
        (ErrorCode::Unavailable, "ServiceUnavailable", 503),
        (ErrorCode::InsufficientDomains, "ServiceUnavailable", 503),
        (ErrorCode::SegmentLost, "InternalError", 500),
        (ErrorCode::InvalidRange, "InvalidRange", 416),
    ];
    for (code, name, status) in cases {
        let error = S3Error::from(EngineError::refused(code, "words of the grid"));
        assert_eq!((error.code.0, error.code.1), (name, status));
        let retry = error.headers.iter().any(|(header, _)| header == RETRY_AFTER);
        assert_eq!(retry, status == 503, "{name}");
    }
    let full = S3Error::from(EngineError::refused(ErrorCode::StorageFull, "3 of 4 drives are full"));
    assert_eq!(full.message, "3 of 4 drives are full");
    let missing = S3Error::from(EngineError::refused(ErrorCode::NoSuchKey, "row 17"));
    assert_eq!(missing.message, "The specified key does not exist.");
}

#[test]
fn an_error_of_the_front_survives_the_way_through_the_engine() {
    let refused = S3Error::new(S3ErrorCode::SIGNATURE_DOES_NOT_MATCH, "chunk 3").detail("Chunk", "3");
    let back = S3Error::from(EngineError::Body(refused.into_body_error()));
    assert_eq!(back.code, S3ErrorCode::SIGNATURE_DOES_NOT_MATCH);
    assert_eq!(back.message, "chunk 3");
    assert_eq!(back.details, [("Chunk", "3".to_owned())]);
    assert_eq!(S3Error::from(BodyError::Incomplete).code, S3ErrorCode::INCOMPLETE_BODY);
}

#[test]
fn not_modified_carries_its_validators() {
    let error = S3Error::from(EngineError::NotModified {
        etag: "abc".to_owned(),
        modified: Timestamp::from_secs(784_111_777),
    });
    assert_eq!(error.status(), http::StatusCode::NOT_MODIFIED);
    let header = |name| error.headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
    assert_eq!(header(ETAG).as_ref().map(http::HeaderValue::as_bytes), Some(&b"\"abc\""[..]));
    assert_eq!(
        header(LAST_MODIFIED).as_ref().map(http::HeaderValue::as_bytes),
        Some(&b"Sun, 06 Nov 1994 08:49:37 GMT"[..])
    );
}

#[test]
fn the_xml_is_escaped() {
    let error = S3Error::new(S3ErrorCode::NO_SUCH_KEY, "").detail("Key", "a<b>&\u{1}\r");
    let xml = error.to_xml("/b/a&b", "ID", "HOST");
    assert_eq!(
        xml,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
         <Message>The specified key does not exist.</Message><Key>a&lt;b&gt;&amp;\u{fffd}&#13;</Key>\
         <Resource>/b/a&amp;b</Resource><RequestId>ID</RequestId><HostId>HOST</HostId></Error>"
    );
}

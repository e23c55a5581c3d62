use super::{Doomed, parse_delete, write_outcome};
use crate::xml::XmlWriter;
use crate::{S3Error, S3ErrorCode};

fn doomed(key: &str) -> Doomed {
    Doomed { key: key.to_owned(), version: None, etag: None, unsupported: false }
}

#[test]
fn the_document_is_read() {
    let document = b"<?xml version=\"1.0\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>\
        <Object><Key> a &amp; b</Key></Object><Object><Key>c</Key><VersionId>null</VersionId><ETag>\"x\"</ETag></Object>\
        <Object><Key>d</Key><Size>5</Size></Object></Delete>";
    let (objects, quiet) = parse_delete(document).unwrap();
    assert!(quiet);
    let versioned =
        Doomed { version: Some("null".to_owned()), etag: Some("\"x\"".to_owned()), ..doomed("c") };
    assert_eq!(objects, [doomed(" a & b"), versioned, Doomed { unsupported: true, ..doomed("d") }]);
}

#[test]
fn a_thousand_keys_and_no_more() {
    let document = |keys: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(keys));
    assert_eq!(parse_delete(document(1_000).as_bytes()).unwrap().0.len(), 1_000);
    for wrong in [
        document(1_001).as_str(),
        document(0).as_str(),
        "",
        "<Delete><Object/></Delete>",
        "<Delete><Object><Key>k</Key><Colour/></Object></Delete>",
        "<Delete><Object><Key><b/></Key></Object></Delete>",
        "<Deletes><Object><Key>k</Key></Object></Deletes>",
    ] {
        assert_eq!(parse_delete(wrong.as_bytes()).unwrap_err().code, S3ErrorCode::MALFORMED_XML, "{wrong}");
    }
}

#[test]
fn quiet_tells_of_errors_alone() {
    let error = S3Error::from(S3ErrorCode::ACCESS_DENIED);
    for (quiet, deleted) in [(false, "<Deleted><Key>a</Key></Deleted>"), (true, "")] {
        let mut xml = XmlWriter::new("DeleteResult");
        write_outcome(&mut xml, &doomed("a"), None, quiet);
        write_outcome(&mut xml, &doomed("b"), Some(&error), quiet);
        let expect = format!(
            "/2006-03-01/\">{deleted}<Error><Key>b</Key><Code>AccessDenied</Code><Message>Access Denied</Message>\
             </Error></DeleteResult>"
        );
        assert!(xml.finish().ends_with(&expect));
    }
}

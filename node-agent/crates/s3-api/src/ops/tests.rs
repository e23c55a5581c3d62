use grid_types::Timestamp;

use super::{iso_time, number_parameter, owner_id, page_parameter, parse_version, url_encoding};
use crate::request::Query;

fn query(value: &str) -> Query {
    Query(vec![("max-keys".to_owned(), value.to_owned()), ("encoding-type".to_owned(), value.to_owned())])
}

#[test]
fn page_sizes_are_clamped_and_checked() {
    for (value, expect) in
        [("0", 0), ("1", 1), ("1000", 1_000), ("1001", 1_000), ("2147483647", 1_000), ("", 1_000)]
    {
        assert_eq!(page_parameter(&query(value), "max-keys").unwrap(), expect, "{value}");
    }
    for value in ["-1", "x", "2147483648", "1.5", "99999999999999999999"] {
        assert_eq!(
            page_parameter(&query(value), "max-keys").unwrap_err().code.0,
            "InvalidArgument",
            "{value}"
        );
    }
    assert_eq!(number_parameter(&Query::default(), "max-keys", 5).unwrap(), None);
}

#[test]
fn encodings_are_url_or_none() {
    assert!(url_encoding(&query("url")).unwrap());
    assert!(!url_encoding(&query("")).unwrap());
    assert!(!url_encoding(&Query::default()).unwrap());
    assert_eq!(url_encoding(&query("base64")).unwrap_err().code.0, "InvalidArgument");
}

#[test]
fn versions_are_null_or_ids() {
    assert_eq!(parse_version("null").unwrap(), None);
    assert!(parse_version("0123456789abcdef0123456789abcdef").unwrap().is_some());
    for wrong in ["", "what", "NULL"] {
        assert_eq!(parse_version(wrong).unwrap_err().code.0, "InvalidArgument", "{wrong}");
    }
}

#[test]
fn times_and_owners_look_like_s3s() {
    assert_eq!(iso_time(Timestamp(1_255_369_850_999_999)), "2009-10-12T17:50:50.000Z");
    assert_eq!(iso_time(Timestamp(u64::MAX)), "9999-12-31T23:59:59.000Z");
    assert_eq!(owner_id("admin"), "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918");
}

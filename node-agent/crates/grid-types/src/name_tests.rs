//! Bucket names by the S3 rules, keys by their length.

use super::{BucketName, NameError, ObjectKey};
use crate::KEY_BYTES_MAX;

#[test]
fn bucket_names_follow_the_rules_of_s3() {
    let longest = "a".repeat(63);
    for good in ["abc", "a-b", "my.bucket-1", "0a0", "1.2.3", "a--b", "1.2.3.4.5", longest.as_str()] {
        let name: BucketName = good.parse().unwrap_or_else(|error| panic!("{good}: {error}"));
        assert_eq!(name.as_str(), good);
        assert_eq!(name.to_string(), good);
    }
    let too_long = "a".repeat(64);
    let bad = [
        "",
        "a",
        "ab",
        "Abc",
        "a_b",
        "-ab",
        "ab-",
        ".ab",
        "ab.",
        "a..b",
        "a.-b",
        "a-.b",
        "192.168.1.1",
        "a b",
        "äbc",
        "a/b",
        "abc\n",
        too_long.as_str(),
    ];
    for text in bad {
        assert_eq!(text.parse::<BucketName>(), Err(NameError::Bucket(text.to_owned())), "{text:?}");
    }
}

#[test]
fn keys_are_any_text_of_an_allowed_length() {
    for good in ["a", "a/b", "/", "//", "..", "a\u{0}b", "schlüssel/ключ/鍵", " "] {
        assert_eq!(ObjectKey::new(good).unwrap().as_str(), good);
    }
    assert!(ObjectKey::new("k".repeat(KEY_BYTES_MAX)).is_ok());
    assert_eq!(ObjectKey::new(""), Err(NameError::KeyLength(0)));
    assert_eq!(ObjectKey::new("k".repeat(KEY_BYTES_MAX + 1)), Err(NameError::KeyLength(KEY_BYTES_MAX + 1)));
    // The limit is in bytes: 342 letters of three bytes are too many.
    assert_eq!(ObjectKey::new("鍵".repeat(342)), Err(NameError::KeyLength(1_026)));
}

#[test]
fn keys_are_ordered_by_their_bytes() {
    let mut keys: Vec<ObjectKey> =
        ["b", "a/b", "a", "Z", "a!", "ä", "a0"].map(|text| ObjectKey::new(text).unwrap()).into();
    keys.sort();
    let texts: Vec<&str> = keys.iter().map(ObjectKey::as_str).collect();
    assert_eq!(texts, ["Z", "a", "a!", "a/b", "a0", "b", "ä"]);
}

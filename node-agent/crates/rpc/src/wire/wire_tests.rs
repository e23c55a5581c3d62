use grid_types::ErrorCode;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::{DETAIL_BYTES_MAX, ERROR_BYTES_MAX, broken, decode_error, encode_error, end_of, whole};
use crate::{Fate, RpcError};

#[test]
fn the_bytes_of_an_error_are_these() {
    let error = RpcError::new(ErrorCode::BucketNotEmpty, "no");
    assert_eq!(encode_error(&error), [1, 0, 5, 2, b'n', b'o']);
    assert_eq!(decode_error(&[1, 0, 5, 2, b'n', b'o']), error);
    let unknown = RpcError { fate: Fate::Unknown, ..error.clone() };
    assert_eq!(encode_error(&unknown), [1, 1, 5, 2, b'n', b'o']);
    let elsewhere = RpcError { fate: Fate::NotSent, ..error.clone() };
    assert_eq!(decode_error(&encode_error(&elsewhere)), error, "this request did arrive");
}

/// Numbers on the wire: a new code goes to the end, in `ErrorCode` and here.
#[test]
fn codes_keep_their_numbers() {
    let codes = [
        ErrorCode::NoSuchBucket,
        ErrorCode::NoSuchKey,
        ErrorCode::NoSuchUpload,
        ErrorCode::BucketAlreadyOwnedByYou,
        ErrorCode::BucketAlreadyExists,
        ErrorCode::BucketNotEmpty,
        ErrorCode::PreconditionFailed,
        ErrorCode::ConditionalConflict,
        ErrorCode::InvalidPart,
        ErrorCode::InvalidPartOrder,
        ErrorCode::PartTooSmall,
        ErrorCode::TooLarge,
        ErrorCode::BadDigest,
        ErrorCode::IncompleteBody,
        ErrorCode::InvalidRange,
        ErrorCode::InvalidArgument,
        ErrorCode::StorageFull,
        ErrorCode::InsufficientDomains,
        ErrorCode::SlowDown,
        ErrorCode::Unavailable,
        ErrorCode::WrongShard,
        ErrorCode::StaleGeneration,
        ErrorCode::Conflict,
        ErrorCode::SegmentLost,
        ErrorCode::Corrupt,
        ErrorCode::DriveFailed,
        ErrorCode::NoSuchDrive,
        ErrorCode::KeyMissing,
        ErrorCode::InvalidAccessKey,
        ErrorCode::AccessDenied,
        ErrorCode::NotImplemented,
        ErrorCode::Internal,
    ];
    for (number, code) in codes.into_iter().enumerate() {
        assert_eq!(encode_error(&RpcError::new(code, ""))[2], number as u8, "{code:?}");
    }
}

#[test]
fn codes_of_a_later_release_keep_their_words() {
    let later = decode_error(&[1, 0, 0xff, 0x7f, 2, b'n', b'o']);
    assert_eq!((later.code, later.detail.as_str(), later.fate), (ErrorCode::Internal, "no", Fate::Refused));
    assert_eq!(decode_error(&[2, 0, 5, 0]).fate, Fate::Unknown, "another version");
}

#[test]
fn a_message_without_its_trailer_is_not_whole() {
    assert_eq!(end_of(&whole()), Ok(()));
    assert_eq!(end_of(&HeaderMap::new()).unwrap_err().fate, Fate::Unknown);
    let mut strange = HeaderMap::new();
    strange.insert("shoal-end", HeaderValue::from_static("???"));
    assert_eq!(end_of(&strange).unwrap_err().fate, Fate::Unknown);
    let error = RpcError::new(ErrorCode::Corrupt, "rot");
    assert_eq!(end_of(&broken(&error)), Err(error));
}

proptest! {
    #[test]
    fn any_bytes_decode_to_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let error = decode_error(&bytes);
        prop_assert_ne!(error.fate, Fate::NotSent);
    }

    #[test]
    fn any_words_travel_up_to_the_limit(detail in "\\PC{0,700}") {
        let error = RpcError::new(ErrorCode::Conflict, detail.clone());
        let bytes = encode_error(&error);
        prop_assert!(bytes.len() <= ERROR_BYTES_MAX);
        let decoded = decode_error(&bytes);
        prop_assert!(detail.starts_with(&decoded.detail));
        prop_assert!(decoded.detail.len() == detail.len() || decoded.detail.len() + 4 > DETAIL_BYTES_MAX);
    }
}

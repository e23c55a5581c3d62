//! Ids in and out of text and bytes.

use proptest::prelude::*;

use super::{DriveId, SegmentId, ShardId};

#[test]
fn ids_print_as_hex_and_parse_back() {
    let id = DriveId::from_bytes([0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
    assert_eq!(id.to_string(), "0f0102030405060708090a0b0c0d0eff");
    assert_eq!(format!("{id:?}"), "drive:0f0102030405060708090a0b0c0d0eff");
    assert_eq!("0F0102030405060708090A0b0c0d0eff".parse(), Ok(id), "either case is read");
}

#[test]
fn other_text_is_refused_by_kind() {
    let bad = [
        "",
        "0f",
        "0f0102030405060708090a0b0c0d0ef",
        "0f0102030405060708090a0b0c0d0eff0",
        "0f0102030405060708090a0b0c0d0efg",
        " 0f0102030405060708090a0b0c0d0eff",
        "0f010203-0405-0607-0809-0a0b0c0d0eff",
        "0f0102030405060708090a0b0c0d0eff0f0102030405060708090a0b0c0d0eff",
    ];
    for text in bad {
        let error = text.parse::<SegmentId>().unwrap_err();
        assert_eq!((error.kind, error.text.as_str()), ("segment", text));
        assert!(error.to_string().contains("32 hexadecimal digits"));
    }
}

#[test]
fn the_root_shard_is_number_zero() {
    assert_eq!(ShardId::ROOT, ShardId(0));
    assert_eq!(ShardId(17).to_string(), "17");
}

proptest! {
    #[test]
    fn every_id_survives_the_round_trip(bytes: [u8; 16]) {
        let id = SegmentId::from(bytes);
        prop_assert_eq!(id.as_bytes(), &bytes);
        prop_assert_eq!(id.to_string().parse::<SegmentId>(), Ok(id));
    }

    #[test]
    fn any_text_is_an_id_or_an_error(text in ".{0,40}") {
        if let Ok(id) = text.parse::<SegmentId>() {
            prop_assert_eq!(id.to_string(), text.to_lowercase());
        }
    }
}

#[test]
fn ids_are_hex_for_people_and_16_bytes_on_disk() {
    let id = DriveId::from_bytes(std::array::from_fn(|at| at as u8));
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, "\"000102030405060708090a0b0c0d0e0f\"");
    assert_eq!(serde_json::from_str::<DriveId>(&json).unwrap(), id);
    assert!(serde_json::from_str::<DriveId>("\"00\"").is_err());
    let bytes = postcard::to_allocvec(&id).unwrap();
    assert_eq!(bytes, id.as_bytes());
    assert_eq!(postcard::from_bytes::<DriveId>(&bytes).unwrap(), id);
}

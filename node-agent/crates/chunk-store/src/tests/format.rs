//! Bytes that outlive releases: they must not change under version 1.

use proptest::prelude::*;

use super::*;
use crate::format::{
    Prelude, decode_file_header, decode_footer, decode_header, decode_pack_header, encode_footer,
    encode_header, encode_pack_header, footer_len,
};

fn golden_header() -> ChunkHeader {
    ChunkHeader {
        chunk: ChunkKey { segment: SegmentId::from_bytes([0xa1; 16]), index: 3 },
        seal_id: SegmentId::from_bytes([0xb2; 16]),
        profile: Profile::Ec { k: 4, m: 2 },
        cipher: Cipher::Aes256Gcm,
        compression: Compression::None,
        key_generation: 0x0102_0304,
        block_packets: 2,
        plain_len: 0,
        sealed: vec![0xc3; 5],
    }
}

#[test]
fn encodings_of_version_1_stay_what_they_are() {
    let header = golden_header();
    let encoded = encode_header(&header).unwrap();
    assert_eq!(encoded[..8], *b"SHOALCHK");
    assert_eq!(encoded[8..12], [1, 0, 95, 0]);
    assert_eq!(encoded[28], 3);
    assert_eq!(encoded[45..59], [2, 4, 2, 1, 0, 4, 3, 2, 1, 2, 0, 5, 0, 0xc3]);
    let footer = encode_footer(header.chunk, 300_000, b"note").unwrap();
    assert_eq!(footer.len(), 60);
    assert_eq!(footer[52..], [b"SHOALEND".as_slice()].concat());
    let pack = encode_pack_header(DriveId::from_bytes([0xd4; 16]), 7);
    let chunk = Prelude::Chunk { key: header.chunk, header_len: 95, footer_len: 60, record_len: 1_000 };
    let preludes = [
        chunk.encode(),
        Prelude::Tombstone(header.chunk).encode(),
        Prelude::Mark { sequence: 9, offset: 4_242 }.encode(),
        Prelude::Void { record_len: 300 }.encode(),
    ];
    // Of checksummed bytes their checksum is taken: a CRC over bytes and their CRC is the same for all.
    let ends = [&encoded[..], &footer, &pack[..34]];
    let checks = ends.into_iter().chain(preludes.iter().map(|prelude| &prelude[..36]));
    assert_eq!(checks.map(crc32c::crc32c).collect::<Vec<_>>(), GOLDEN);
}

/// CRC32C of the encodings above, as the first release wrote them.
const GOLDEN: [u32; 7] =
    [534_019_797, 1_003_216_790, 2_011_592_021, 613_042_663, 2_705_771_093, 650_871_899, 337_511_623];

#[test]
fn other_versions_are_refused_by_name() {
    let mut encoded = encode_header(&golden_header()).unwrap();
    encoded[8] = 2;
    assert!(decode_header(golden_header().chunk, &encoded).unwrap_err().contains("version 2"));
}

proptest! {
    #[test]
    fn headers_and_footers_read_back(
        id in any::<[u8; 16]>(), copies in 1u8..=32, generation in any::<u32>(), sealed in proptest::collection::vec(any::<u8>(), 0..600),
        plain_len in 1u64..=64 << 20, note in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let header = ChunkHeader {
            chunk: ChunkKey { segment: SegmentId::from_bytes(id), index: copies - 1 },
            profile: Profile::Copies(copies),
            key_generation: generation,
            sealed,
            ..golden_header()
        };
        let encoded = encode_header(&header).unwrap();
        prop_assert_eq!(decode_header(header.chunk, &encoded).unwrap(), (header.clone(), encoded.len()));
        let footer = encode_footer(header.chunk, plain_len, &note).unwrap();
        prop_assert_eq!(footer_len(&footer[footer.len() - 12..]).unwrap(), footer.len() as u64);
        let decoded = decode_footer(header.chunk, &footer).unwrap();
        prop_assert_eq!((decoded.plain_len, decoded.note), (plain_len, note));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..5_000), offset in any::<u64>()) {
        let chunk = golden_header().chunk;
        prop_assert!(decode_header(chunk, &bytes).is_err());
        prop_assert!(decode_file_header(chunk, &bytes).is_err());
        prop_assert!(decode_footer(chunk, &bytes).is_err());
        prop_assert!(decode_pack_header(&bytes).is_err());
        prop_assert!(footer_len(&bytes).is_err());
        prop_assert!(Prelude::decode(&bytes, offset).is_none());
    }
}

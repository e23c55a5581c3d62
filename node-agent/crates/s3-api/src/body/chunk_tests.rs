use bytes::Bytes;
use proptest::prelude::*;

use super::{ChunkDecoder, ChunkError, ChunkLimits, ChunkSigner, Decoded, decode_aws_chunked};
use crate::auth::{CredentialScope, SigningKey};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const CHUNK_SIGNATURES: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const TRAILED_SIGNATURES: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const TRAILER_SIGNATURE: &str = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";

pub(super) fn signer(seed: &str) -> ChunkSigner {
    let scope = CredentialScope::parse("AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request").unwrap();
    ChunkSigner::new(
        SigningKey::derive(SECRET, &scope),
        "20130524T000000Z".to_owned(),
        scope.to_string(),
        seed.to_owned(),
    )
}

fn limits(decoded_length: u64) -> ChunkLimits {
    ChunkLimits { decoded_length, signed_chunk_bytes_max: 1 << 20, trailer_bytes_max: 4_096 }
}

/// AWS's example: 65 KiB of `a` in chunks of 64 KiB.
pub(super) fn signed_example() -> (ChunkDecoder, Vec<u8>) {
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    let mut body = Vec::new();
    for (size, signature) in [65_536_usize, 1_024, 0].into_iter().zip(CHUNK_SIGNATURES) {
        body.extend(format!("{size:x};chunk-signature={signature}\r\n").into_bytes());
        body.extend(vec![b'a'; size]);
        body.extend(b"\r\n");
    }
    (ChunkDecoder::new(Some(signer(seed)), false, limits(66_560)), body)
}

/// AWS's example with a signed trailer.
fn trailed_example() -> (ChunkDecoder, Vec<u8>) {
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    let mut body = Vec::new();
    for (size, signature) in [65_536_usize, 1_024, 0].into_iter().zip(TRAILED_SIGNATURES) {
        body.extend(format!("{size:x};chunk-signature={signature}\r\n").into_bytes());
        body.extend(vec![b'a'; size]);
        body.extend(if size > 0 { &b"\r\n"[..] } else { b"" });
    }
    body.extend(
        format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n\r\n")
            .into_bytes(),
    );
    (ChunkDecoder::new(Some(signer(seed)), true, limits(66_560)), body)
}

fn unsigned(length: u64) -> ChunkDecoder {
    ChunkDecoder::new(None, true, limits(length))
}

fn decode(decoder: ChunkDecoder, body: &[u8]) -> Result<Decoded, ChunkError> {
    decode_aws_chunked(decoder, [body])
}

#[test]
fn the_examples_of_aws_decode() {
    let (decoder, body) = signed_example();
    assert_eq!(body.len(), 66_824, "the Content-Length of the example");
    let decoded = decode(decoder, &body).unwrap();
    assert_eq!(decoded, Decoded { data: vec![b'a'; 66_560], trailers: vec![] });
    let (decoder, body) = trailed_example();
    let decoded = decode(decoder, &body).unwrap();
    assert_eq!(decoded.data, vec![b'a'; 66_560]);
    assert_eq!(decoded.trailers, [("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())]);
}

#[test]
fn any_flipped_bit_is_found() {
    for (example, at) in [
        (signed_example as fn() -> (ChunkDecoder, Vec<u8>), 100),
        (signed_example, 65_600),
        (signed_example, 65_660),
        (signed_example, 66_750),
        (trailed_example, 100),
        (trailed_example, 66_800),
        (trailed_example, 66_848),
        (trailed_example, 66_900),
    ] {
        let (decoder, mut body) = example();
        body[at] ^= 1;
        assert!(decode(decoder, &body).is_err(), "byte {at}: {}", body[at]);
    }
    // Chunks in another order.
    let (decoder, body) = signed_example();
    let second = 65_536 + 90;
    let swapped = [&body[second..second + 1_111], &body[..second], &body[second + 1_111..]].concat();
    assert!(decode(decoder, &swapped).is_err());
}

#[test]
fn a_trailer_cannot_be_added_removed_or_left_unsigned() {
    let (_, body) = trailed_example();
    let text = String::from_utf8(body).unwrap();
    for (from, to) in [
        (format!("x-amz-trailer-signature:{TRAILER_SIGNATURE}\r\n"), String::new()),
        ("x-amz-checksum-crc32c:sOO8/Q==\r\n".to_owned(), String::new()),
        ("sOO8/Q==".to_owned(), "sOO8/A==".to_owned()),
        ("x-amz-trailer".to_owned(), "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer".to_owned()),
        ("\r\n\r\n".to_owned(), "\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n".to_owned()),
    ] {
        let (decoder, _) = trailed_example();
        let changed = text.replace(&from, &to);
        assert_ne!(changed, text);
        assert!(decode(decoder, changed.as_bytes()).is_err(), "{from:?} → {to:?}");
    }
}

#[test]
fn unsigned_bodies_decode() {
    let body = b"5\r\nhello\r\n6;ignored=1\r\n world\r\n0\r\nX-Amz-Checksum-CRC32: DUoRhQ== \r\n\r\n";
    let decoded = decode(unsigned(11), body).unwrap();
    assert_eq!(decoded.data, b"hello world");
    assert_eq!(decoded.trailers, [("x-amz-checksum-crc32".to_owned(), "DUoRhQ==".to_owned())]);
    assert_eq!(decode(unsigned(0), b"0\r\n\r\n").unwrap(), Decoded::default());
    assert_eq!(decode(unsigned(0), b"000\r\n\r\n").unwrap(), Decoded::default());
}

#[test]
fn hostile_bodies_are_refused() {
    let malformed = |error: &ChunkError| matches!(error, ChunkError::Malformed(_));
    for body in [
        &b"\r\n"[..],
        b"-1\r\na\r\n0\r\n\r\n",
        b"+1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b" 1\r\na\r\n0\r\n\r\n",
        b"1g\r\na\r\n0\r\n\r\n",
        b"11111111111111111\r\na\r\n",
        b"1\na\r\n0\r\n\r\n",
        b"1\r\na0\r\n\r\n",
        b"1\r\naa\r\n0\r\n\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\r\n0\r\nno colon\r\n\r\n",
        b"1\r\na\r\n0\r\n\r\nmore",
        b"1\r\na\r\n0\r\n",
        b"1\r\na\r\n0\r\nx:y\r\n",
        b"1\r\na\r\n0\r\nx:\xff\r\n\r\n",
    ] {
        let error = decode(unsigned(1), body).unwrap_err();
        assert!(malformed(&error), "{:?}: {error}", String::from_utf8_lossy(body));
    }
}

#[test]
fn lengths_must_agree() {
    let length = |body: &[u8], announced| match decode(unsigned(announced), body) {
        Err(ChunkError::Length { came, .. }) => Some(came),
        other => panic!("{other:?}"),
    };
    assert_eq!(length(b"3\r\nabc\r\n0\r\n\r\n", 4), Some(3));
    assert_eq!(length(b"3\r\nabc\r\n0\r\n\r\n", 2), Some(3));
    assert_eq!(length(b"ffffffffffffffff\r\nabc", 2), Some(u64::MAX));
    assert_eq!(length(b"1\r\na\r\nffffffffffffffff\r\nabc", 2), Some(u64::MAX));
    assert_eq!(length(b"3\r\na", 3), Some(1));
    assert_eq!(length(b"", 3), Some(0));
}

#[test]
fn lines_trailers_and_signed_chunks_have_limits() {
    let long = [b"1;", vec![b'x'; 2_000].as_slice()].concat();
    assert_eq!(decode(unsigned(1), &long), Err(ChunkError::LineTooLong));
    let endless: Vec<&[u8]> = vec![b"1;x=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; 100];
    assert_eq!(decode_aws_chunked(unsigned(1), endless), Err(ChunkError::LineTooLong));
    let mut trailers = b"0\r\n".to_vec();
    for number in 0..1_000 {
        trailers.extend(format!("x-{number}:1\r\n").into_bytes());
    }
    assert_eq!(decode(unsigned(0), &trailers), Err(ChunkError::TrailersTooLong(4_096)));
    let one = [b"0\r\nx:", vec![b'y'; 5_000].as_slice()].concat();
    assert_eq!(decode(unsigned(0), &one), Err(ChunkError::TrailersTooLong(4_096)));
    let large = ChunkDecoder::new(Some(signer("seed")), false, limits(u64::MAX));
    let header = format!("100001;chunk-signature={}\r\n", "0".repeat(64));
    assert_eq!(
        decode(large, header.as_bytes()),
        Err(ChunkError::ChunkTooLarge { size: (1 << 20) + 1, max: 1 << 20 })
    );
    let unsigned_chunk = ChunkDecoder::new(Some(signer("seed")), false, limits(1));
    assert!(matches!(decode(unsigned_chunk, b"1\r\na\r\n"), Err(ChunkError::Malformed(_))));
}

#[test]
fn the_decoder_holds_no_data() {
    let mut decoder = unsigned(1 << 40);
    let mut input = Bytes::from_static(b"10000000000\r\n");
    assert_eq!(decoder.push(&mut input), Ok(None));
    let piece = Bytes::from(vec![7; 65_536]);
    let mut given = piece.clone();
    let Ok(Some(super::ChunkEvent::Data(data))) = decoder.push(&mut given) else {
        panic!("data passes through")
    };
    assert_eq!(data.as_ptr(), piece.as_ptr());
}

#[test]
fn every_split_in_two_gives_the_same() {
    let body = b"5\r\nhello\r\n6;e=1\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n";
    let whole = decode(unsigned(11), body).unwrap();
    for at in 0..=body.len() {
        let (first, second) = body.split_at(at);
        assert_eq!(decode_aws_chunked(unsigned(11), [first, second]).unwrap(), whole, "at {at}");
        assert!(at == body.len() || decode(unsigned(11), first).is_err(), "cut at {at}");
    }
    assert_eq!(decode_aws_chunked(unsigned(11), body.chunks(1)).unwrap(), whole);
    let (_, signed) = signed_example();
    for size in [1, 7, 1_000, 65_535, 65_536] {
        let (decoder, _) = signed_example();
        assert_eq!(decode_aws_chunked(decoder, signed.chunks(size)).unwrap().data.len(), 66_560);
    }
}

proptest! {
    #[test]
    fn chunks_of_any_sizes_and_splits_survive(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        split in 1_usize..64,
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        let data = chunks.concat();
        let decoded = decode_aws_chunked(unsigned(data.len() as u64), body.chunks(split)).unwrap();
        prop_assert_eq!(decoded.data, data);
    }

    #[test]
    fn rubbish_never_panics(body in prop::collection::vec(any::<u8>(), 0..300), split in 1_usize..32) {
        let _ = decode_aws_chunked(unsigned(100), body.chunks(split));
        let seed = "seed";
        let _ = decode_aws_chunked(ChunkDecoder::new(Some(signer(seed)), true, limits(9)), body.chunks(split));
    }
}

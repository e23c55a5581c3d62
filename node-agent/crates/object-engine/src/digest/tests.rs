//! Known answers: the check values of the CRC catalogue and of the FIPS and RFC texts, the examples of AWS's
//! documentation, and the reference crates.

use bytes::Bytes;
use proptest::prelude::*;

use super::checksum::{checksum_of_tag as from_tag, checksum_tag as tag};
use super::{
    Checksum, ChecksumHasher, ChecksumKind, ChecksumType, DIGEST_OFFLOAD_BYTES, DigestPipeline, DigestPool,
    Md5Hasher, combine_crc,
};

fn checksum(kind: ChecksumKind, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = ChecksumHasher::new(kind);
    hasher.update(bytes);
    hasher.finish()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn check_values_of_the_catalogues() {
    let check = |kind, expect: &str| assert_eq!(hex(&checksum(kind, b"123456789")), expect, "{kind:?}");
    check(ChecksumKind::Crc32, "cbf43926");
    check(ChecksumKind::Crc32c, "e3069283");
    check(ChecksumKind::Crc64Nvme, "ae8b14860a799888");
    check(ChecksumKind::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    check(ChecksumKind::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    let mut md5 = Md5Hasher::default();
    md5.update(b"message digest");
    assert_eq!(hex(&md5.finish()), "f96b697d7cb7938d525a2f31aaf161d0", "RFC 1321, A.5");
}

#[test]
fn empty_bodies() {
    let check = |kind, expect: &str| assert_eq!(hex(&checksum(kind, b"")), expect, "{kind:?}");
    check(ChecksumKind::Crc32, "00000000");
    check(ChecksumKind::Crc32c, "00000000");
    check(ChecksumKind::Crc64Nvme, "0000000000000000");
    check(ChecksumKind::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check(ChecksumKind::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hex(&Md5Hasher::default().finish()), "d41d8cd98f00b204e9800998ecf8427e");
}

#[test]
fn texts_as_s3_shows_them() {
    // AWS, "Checking object integrity": `Hello world` in its CLI examples.
    let shown = |kind| Checksum::full(kind, checksum(kind, b"Hello world")).text();
    assert_eq!(shown(ChecksumKind::Crc32), "i9aeUg==");
    assert_eq!(shown(ChecksumKind::Sha256), "ZOyIygCyaOW6GjVnihtTFtIS9PNmskdyMlNKiuyjfzw=");
    assert_eq!(
        Checksum::composite(ChecksumKind::Crc32, vec![0x8b, 0xd6, 0x9e, 0x52], 3).text(),
        "i9aeUg==-3"
    );
}

#[test]
fn texts_that_are_no_checksum() {
    let check = |kind, text: &str| assert_eq!(Checksum::parse(kind, text), None, "{text}");
    check(ChecksumKind::Crc32, "");
    check(ChecksumKind::Crc32, "i9aeUg");
    check(ChecksumKind::Crc32, "i9aeUg==-0");
    check(ChecksumKind::Crc32, "i9aeUg==-");
    check(ChecksumKind::Crc32, "i9aeUg==-70000");
    check(ChecksumKind::Crc32, "i9ae*g==");
    check(ChecksumKind::Crc64Nvme, "i9aeUg==");
    check(ChecksumKind::Sha256, "i9aeUg==");
}

#[test]
fn names_and_allowed_types() {
    for kind in ChecksumKind::ALL {
        assert_eq!(ChecksumKind::from_name(&kind.name().to_lowercase()), Some(kind));
        assert!(kind.allows(kind.default_type()));
        assert_eq!(checksum(kind, b"x").len(), kind.value_bytes());
    }
    assert_eq!(ChecksumKind::from_name("MD5"), None);
    assert!(!ChecksumKind::Crc64Nvme.allows(ChecksumType::Composite));
    assert!(!ChecksumKind::Sha256.allows(ChecksumType::FullObject));
    assert_eq!(ChecksumType::from_name("COMPOSITE"), Some(ChecksumType::Composite));
    assert_eq!(ChecksumType::from_name("composite"), None);
}

#[test]
fn tags_come_back() {
    assert_eq!(tag(None), 0);
    assert_eq!(from_tag(0), None);
    assert_eq!(from_tag(0x36), None, "a later release's");
    for kind in ChecksumKind::ALL {
        for checksum in [Checksum::full(kind, vec![]), Checksum::composite(kind, vec![], 2)] {
            assert_eq!(from_tag(tag(Some(&checksum))), Some((kind, checksum.r#type)));
        }
    }
    assert_eq!(
        tag(Some(&Checksum::composite(ChecksumKind::Sha256, vec![], 2))),
        0x25,
        "stored: must not drift"
    );
}

#[test]
fn crcs_beyond_four_gib_combine() {
    // 5 GiB of zeros behind `a`, by doubling zeros; the long way round would take minutes.
    for kind in [ChecksumKind::Crc32, ChecksumKind::Crc32c, ChecksumKind::Crc64Nvme] {
        let doubled = |crc: &[u8], len: u64| combine_crc(kind, crc, crc, len).unwrap();
        let mebibyte = checksum(kind, &vec![0; 1 << 20]);
        let (mut zeros, mut len) = (mebibyte, 1u64 << 20);
        while len < 1 << 32 {
            zeros = doubled(&zeros, len);
            len *= 2;
        }
        let gib = (0..10).fold((checksum(kind, &vec![0; 1 << 20]), 1u64 << 20), |(crc, len), _| {
            (doubled(&crc, len), len * 2)
        });
        let five_gib = combine_crc(kind, &zeros, &gib.0, gib.1).unwrap();
        let at_once = combine_crc(kind, &checksum(kind, b"a"), &five_gib, 5 << 30).unwrap();
        let in_two = combine_crc(kind, &checksum(kind, b"a"), &zeros, 4 << 30).unwrap();
        assert_eq!(at_once, combine_crc(kind, &in_two, &gib.0, 1 << 30).unwrap(), "{kind:?}");
    }
}

#[test]
fn sha_does_not_combine() {
    let sha = checksum(ChecksumKind::Sha256, b"a");
    assert_eq!(combine_crc(ChecksumKind::Sha256, &sha, &sha, 1), None);
    assert_eq!(combine_crc(ChecksumKind::Crc32, &[1, 2, 3], &[1, 2, 3, 4], 1), None);
}

proptest! {
    #[test]
    fn combined_crcs_are_those_of_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..4_096), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len() + 1);
        for kind in [ChecksumKind::Crc32, ChecksumKind::Crc32c, ChecksumKind::Crc64Nvme] {
            let (first, second) = bytes.split_at(cut);
            let combined = combine_crc(kind, &checksum(kind, first), &checksum(kind, second), second.len() as u64);
            prop_assert_eq!(combined.unwrap(), checksum(kind, &bytes));
        }
    }

    #[test]
    fn fast_kernels_agree_with_the_references(bytes in proptest::collection::vec(any::<u8>(), 0..70_000), cut in any::<prop::sample::Index>()) {
        use sha2::Digest;
        let cut = cut.index(bytes.len() + 1);
        for kind in ChecksumKind::ALL {
            let mut pieces = ChecksumHasher::new(kind);
            pieces.update(&bytes[..cut]);
            pieces.update(&bytes[cut..]);
            let reference = match kind {
                ChecksumKind::Crc32 => reflected_crc(&bytes, 0xedb8_8320, 32).to_be_bytes()[4..].to_vec(),
                ChecksumKind::Crc32c => reflected_crc(&bytes, 0x82f6_3b78, 32).to_be_bytes()[4..].to_vec(),
                ChecksumKind::Crc64Nvme => reflected_crc(&bytes, 0x9a6c_9329_ac4b_c9b5, 64).to_be_bytes().to_vec(),
                ChecksumKind::Sha1 => ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref().to_vec(),
                ChecksumKind::Sha256 => sha2::Sha256::digest(&bytes).to_vec(),
            };
            prop_assert_eq!(pieces.finish(), reference, "{:?}", kind);
        }
    }

    #[test]
    fn texts_come_back(value in proptest::collection::vec(any::<u8>(), 8), parts in 0u16..=10_000) {
        let checksum = match parts {
            0 => Checksum::full(ChecksumKind::Crc64Nvme, value),
            parts => Checksum::composite(ChecksumKind::Crc64Nvme, value, parts),
        };
        prop_assert_eq!(Checksum::parse(ChecksumKind::Crc64Nvme, &checksum.text()), Some(checksum));
    }
}

/// A CRC bit by bit, as the definition says: reflected, all ones in, all ones out.
fn reflected_crc(bytes: &[u8], polynomial: u64, bits: u32) -> u64 {
    let ones = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let step = |crc: u64| if crc & 1 == 1 { crc >> 1 ^ polynomial } else { crc >> 1 };
    bytes.iter().fold(ones, |crc, byte| (0..8).fold(crc ^ u64::from(*byte), |crc, _| step(crc))) ^ ones
}

#[tokio::test]
async fn a_body_hashes_the_same_here_and_beside() {
    let pieces: Vec<Bytes> = (0..40u8).map(|n| Bytes::from(vec![n; 70_001])).collect();
    let whole: Vec<u8> = pieces.concat();
    assert!(whole.len() as u64 > DIGEST_OFFLOAD_BYTES);
    let mut md5 = Md5Hasher::default();
    md5.update(&whole);
    let expect = md5.finish();
    for length in [None, Some(whole.len() as u64)] {
        let mut pipeline = DigestPipeline::new(&DigestPool::default(), Some(ChecksumKind::Crc32c), length);
        for piece in &pieces {
            pipeline.update(piece.clone()).await.unwrap();
        }
        let digests = pipeline.finish().await.unwrap();
        assert_eq!(digests.size, whole.len() as u64);
        assert_eq!(digests.md5, expect);
        let crc = checksum(ChecksumKind::Crc32c, &whole);
        assert_eq!(digests.checksum, Some(Checksum::full(ChecksumKind::Crc32c, crc)));
    }
}

#[tokio::test]
async fn a_small_body_and_none() {
    let mut pipeline = DigestPipeline::new(&DigestPool::default(), None, Some(3));
    pipeline.update(Bytes::from_static(b"abc")).await.unwrap();
    let digests = pipeline.finish().await.unwrap();
    assert_eq!((digests.etag().as_str(), digests.checksum), ("900150983cd24fb0d6963f7d28e17f72", None));
    let empty = DigestPipeline::new(&DigestPool::default(), None, None).finish().await.unwrap();
    assert_eq!((empty.size, empty.etag().as_str()), (0, "d41d8cd98f00b204e9800998ecf8427e"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bodies_at_once_hash_as_each_alone() {
    let pool = DigestPool::default();
    let bodies = (0..13u8).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut pipeline = DigestPipeline::new(&pool, Some(ChecksumKind::Crc32), Some(u64::MAX));
            let mut whole = Vec::new();
            for size in 0..40usize {
                let piece = Bytes::from(vec![n ^ size as u8; 1_000 * size + usize::from(n)]);
                whole.extend_from_slice(&piece);
                pipeline.update(piece).await.unwrap();
            }
            (pipeline.finish().await.unwrap(), whole)
        })
    });
    for body in futures_util::future::join_all(bodies).await {
        let (digests, whole) = body.unwrap();
        let mut md5 = Md5Hasher::default();
        md5.update(&whole);
        assert_eq!(digests.md5, md5.finish());
        let crc = Checksum::full(ChecksumKind::Crc32, checksum(ChecksumKind::Crc32, &whole));
        assert_eq!(digests.checksum, Some(crc));
    }
}

#[tokio::test]
async fn a_dropped_body_stops_nobody_else() {
    let pool = DigestPool::default();
    for _ in 0..5 {
        let mut dropped = DigestPipeline::new(&pool, None, Some(u64::MAX));
        dropped.update(Bytes::from(vec![0; 200_000])).await.unwrap();
    }
    let mut kept = DigestPipeline::new(&pool, None, Some(u64::MAX));
    kept.update(Bytes::from(vec![0; 200_000])).await.unwrap();
    assert_eq!(kept.finish().await.unwrap().size, 200_000);
}

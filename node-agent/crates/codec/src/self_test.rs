//! Known-answer tests that the agent runs at start: a miscompiled or misdetected kernel must not touch data.
//!
//! Answers come from RFC 8439 §2.8.2, test case 16 of the GCM specification that NIST SP 800-38D points to
//! (McGrew and Viega), and the vectors of Google's HighwayHash; Reed–Solomon and whole packets have golden vectors of
//! their own, made with the reference crates.

use grid_types::{ChunkKey, Cipher, Compression, SegmentId};

use crate::frame::{highway_256, to_bytes};
use crate::seal::{aead_key, seal_detached};
use crate::{ErasureCode, FrameHasher, SealContext, Sealer, SegmentKey};

/// A kernel gave a wrong answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("self-test of {0} failed: this build must not run on this CPU")]
pub struct SelfTestError(pub &'static str);

/// Checks every kernel against a known answer; a few milliseconds.
pub fn run() -> Result<(), SelfTestError> {
    check("ChaCha20-Poly1305", chacha20_poly1305())?;
    check("AES-256-GCM", aes_256_gcm())?;
    check("packet sealing", packets())?;
    check("HighwayHash-256", highway_hash())?;
    check("frame hash", frame_hash())?;
    check("Reed-Solomon", reed_solomon())
}

fn check(name: &'static str, passed: bool) -> Result<(), SelfTestError> {
    if passed { Ok(()) } else { Err(SelfTestError(name)) }
}

/// Digits of a constant of this file; anything else is a bug that the tests of this crate find.
const fn hex<const N: usize>(digits: &str) -> [u8; N] {
    const fn digit(byte: u8) -> u8 {
        match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        }
    }
    let digits = digits.as_bytes();
    assert!(digits.len() == 2 * N, "wrong number of digits");
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]);
        i += 1;
    }
    bytes
}

/// RFC 8439 §2.8.2.
fn chacha20_poly1305() -> bool {
    const KEY: [u8; 32] = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
    const NONCE: [u8; 12] = hex("070000004041424344454647");
    const AAD: [u8; 12] = hex("50515253c0c1c2c3c4c5c6c7");
    const PLAIN: &[u8; 114] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
        for the future, sunscreen would be it.";
    const SEALED: [u8; 114] = hex(concat!(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6",
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36",
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
        "3ff4def08e4b7a9de576d26586cec64b6116",
    ));
    const TAG: [u8; 16] = hex("1ae10b594f09e26a7e902ecbd0600691");
    let (mut text, mut tag) = (*PLAIN, [0; 16]);
    seal_detached(&aead_key(Cipher::ChaCha20Poly1305, &KEY), NONCE, &AAD, &mut text, &mut tag);
    text == SEALED && tag == TAG
}

/// Test case 16 of the GCM specification.
fn aes_256_gcm() -> bool {
    const KEY: [u8; 32] = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    const NONCE: [u8; 12] = hex("cafebabefacedbaddecaf888");
    const AAD: [u8; 20] = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    const PLAIN: [u8; 60] = hex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    ));
    const SEALED: [u8; 60] = hex(concat!(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
    ));
    const TAG: [u8; 16] = hex("76fc6ece0f4e1768cddf8853bb2d551b");
    let (mut text, mut tag) = (PLAIN, [0; 16]);
    seal_detached(&aead_key(Cipher::Aes256Gcm, &KEY), NONCE, &AAD, &mut text, &mut tag);
    text == SEALED && tag == TAG
}

/// Google's vectors: the key 00 01 … 1f; nothing, and 64 bytes 00 01 … 3f (which the vector kernels take whole).
fn highway_hash() -> bool {
    let hash = |len: u8| {
        let key = std::array::from_fn(|i| i as u8);
        let data: Vec<u8> = (0..len).collect();
        highway_256(&key, &data)
    };
    hash(0) == [0xDD44_482A_C2C8_74F5, 0xD946_0173_13C7_351F, 0xB3AE_BECC_B987_14FF, 0x41DA_2331_4575_1DF4]
        && to_bytes(hash(64)) == HIGHWAY_64
}

/// HighwayHash-256 of 00 01 … 3f under 00 01 … 1f.
const HIGHWAY_64: [u8; 32] = hex("7524c16affe6d890f2c1da6e192a421a02b08e1ffe65379ebecf51c3c4d7bdc1");

/// 1 KiB of a fixed pattern, so that every vector kernel runs its main loop and its tail.
fn pattern<const N: usize>() -> [u8; N] {
    std::array::from_fn(|i| (i * 197 + i / 256 * 31 + 7) as u8)
}

const GOLDEN_ID: SegmentId = SegmentId::from_bytes(hex("000102030405060708090a0b0c0d0e0f"));

/// Whole packets of 1,000 bytes: number 3, last, under key 40 … 40; what is compared is the frame hash of the packet.
fn packets() -> bool {
    let golden = |cipher| {
        let context = SealContext { cipher, compression: Compression::None, seal_id: GOLDEN_ID };
        let sealer = Sealer::new(&SegmentKey::new([0x40; 32]), context);
        let plain = pattern::<1000>();
        let mut packet = [0; 1016];
        packet[..1000].copy_from_slice(&plain);
        sealer.seal(3, true, &mut packet);
        let hash = FrameHasher::new(ChunkKey { segment: GOLDEN_ID, index: 0 }).hash(0, &packet);
        let opened = sealer.open(3, true, &mut packet).is_ok_and(|opened| *opened == plain);
        let refused = sealer.open(2, true, &mut packet).is_err();
        (opened && refused).then_some(hash)
    };
    golden(Cipher::ChaCha20Poly1305) == Some(PACKET_CHACHA) && golden(Cipher::Aes256Gcm) == Some(PACKET_AES)
}

const PACKET_CHACHA: [u8; 32] = hex("453a4d7d2eb18e4f8a95cd4dd01fa546f93071ba7ae060749c69b8af9e540842");
const PACKET_AES: [u8; 32] = hex("8e1a98a4328f17c827070e0e91146305dd7e5529414ee0c7516fee5c6de64129");

/// The frame hash of 1,000 bytes as frame 7 of chunk 5.
fn frame_hash() -> bool {
    FrameHasher::new(ChunkKey { segment: GOLDEN_ID, index: 5 }).hash(7, &pattern::<1000>()) == FRAME
}

const FRAME: [u8; 32] = hex("9455f14a2222ca11804f20b53ec14f97c48e4d08a38963b263097b19d317c004");

/// `ec:4+2` over 4 × 251 bytes: the parity's frame hashes, and every pair of lost shards.
fn reed_solomon() -> bool {
    let (Ok(code), Ok(reference)) = (ErasureCode::new(4, 2), ErasureCode::reference(4, 2)) else {
        return false;
    };
    let bytes = pattern::<1004>();
    let data: Vec<&[u8]> = bytes.chunks(251).collect();
    let encode = |code: &ErasureCode| {
        let mut parity = [[0; 251]; 2];
        let [first, second] = &mut parity;
        code.encode(&data, &mut [first, second]).ok().map(|()| parity)
    };
    let Some(parity) = encode(&code) else { return false };
    let hasher = FrameHasher::new(ChunkKey { segment: GOLDEN_ID, index: 4 });
    let golden = hasher.hash_parts(0, [&parity[0][..], &parity[1][..]]) == PARITY;
    let all: Vec<&[u8]> = data.iter().copied().chain(parity.iter().map(|shard| &shard[..])).collect();
    let rebuilds = (0..6).all(|a| {
        (0..a).all(|b| {
            let shards: Vec<Option<&[u8]>> = (0..6).map(|i| (i != a && i != b).then_some(all[i])).collect();
            code.rebuild(&shards, &[a, b]).is_ok_and(|got| got == [all[a], all[b]])
        })
    });
    golden && encode(&reference) == Some(parity) && rebuilds
}

const PARITY: [u8; 32] = hex("2ea1867d9bcd28a51464bee4563bc87d5951d5bcb039682adbf7129eb1fedb30");

#[cfg(test)]
#[path = "self_test_tests.rs"]
mod tests;

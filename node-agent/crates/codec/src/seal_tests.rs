use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};

use super::*;

const CIPHERS: [Cipher; 2] = [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

fn context(cipher: Cipher) -> SealContext {
    SealContext { cipher, compression: Compression::None, seal_id: SegmentId::from_bytes([3; 16]) }
}

fn sealer(cipher: Cipher) -> Sealer {
    Sealer::new(&SegmentKey::new([0x42; 32]), context(cipher))
}

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 256) as u8).collect()
}

fn sealed(sealer: &Sealer, number: u64, last: bool, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.extend_from_slice(&[0xEE; 16]);
    sealer.seal(number, last, &mut packet);
    packet
}

#[test]
fn chacha_gives_the_bytes_of_the_reference_crate() {
    let reference = ChaCha20Poly1305::new(&[0x42; 32].into());
    let context = context(Cipher::ChaCha20Poly1305);
    let sealer = sealer(Cipher::ChaCha20Poly1305);
    let sizes = (0..1200).chain([4095, 4096, 4097, 65_535, 65_536]);
    for (number, size) in sizes.enumerate() {
        let last = size % 2 == 1;
        let mut expect = plain(size);
        let tag: Tag = reference
            .encrypt_inout_detached(
                &nonce(number as u64, last).into(),
                &associated_data(context),
                expect.as_mut_slice().into(),
            )
            .unwrap();
        expect.extend_from_slice(&tag);
        assert!(sealed(&sealer, number as u64, last, &plain(size)) == expect, "size {size}");
    }
}

#[test]
fn opens_what_it_sealed() {
    for cipher in CIPHERS {
        let sealer = sealer(cipher);
        for size in [0, 1, 15, 16, 17, 1000, 65_535, 65_536] {
            let mut packet = sealed(&sealer, 5, true, &plain(size));
            assert!(size < 16 || packet[..size] != plain(size), "the bytes are hidden");
            assert_eq!(sealer.open(5, true, &mut packet).unwrap(), plain(size), "{cipher:?} size {size}");
        }
    }
}

#[test]
fn another_place_key_or_context_does_not_open() {
    for cipher in CIPHERS {
        let here = sealer(cipher);
        let packet = sealed(&here, 7, false, &plain(100));
        let refuses = |sealer: &Sealer, number, last| {
            assert_eq!(
                sealer.open(number, last, &mut packet.clone()).unwrap_err().packet,
                number,
                "{cipher:?} {number} {last}"
            );
        };
        refuses(&here, 8, false);
        refuses(&here, 7, true);
        refuses(&Sealer::new(&SegmentKey::new([0x43; 32]), context(cipher)), 7, false);
        let other_id = SealContext { seal_id: SegmentId::from_bytes([4; 16]), ..context(cipher) };
        refuses(&Sealer::new(&SegmentKey::new([0x42; 32]), other_id), 7, false);
        let other_cipher = CIPHERS.into_iter().find(|other| *other != cipher).unwrap();
        refuses(&sealer(other_cipher), 7, false);
        assert_eq!(here.open(7, false, &mut packet.clone()).unwrap(), plain(100));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    for cipher in CIPHERS {
        let sealer = sealer(cipher);
        let packet = sealed(&sealer, 0, true, &plain(40));
        for bit in 0..packet.len() * 8 {
            let mut bad = packet.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.open(0, true, &mut bad).is_err(), "{cipher:?} bit {bit}");
        }
        for len in 0..packet.len() {
            assert!(sealer.open(0, true, &mut packet[..len].to_vec()).is_err(), "{cipher:?} cut to {len}");
        }
    }
}

#[test]
fn nonce_and_associated_data_are_as_written_down() {
    assert_eq!(nonce(0x0102_0304, false), [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(nonce(1, true), [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    let mut aad = vec![1, 2, 0];
    aad.extend_from_slice(&[3; 16]);
    assert_eq!(associated_data(context(Cipher::ChaCha20Poly1305)).to_vec(), aad);
}

#[test]
fn cipher_choice() {
    assert_eq!(choose_cipher(true, None), Cipher::Aes256Gcm);
    assert_eq!(choose_cipher(false, None), Cipher::ChaCha20Poly1305);
    assert_eq!(choose_cipher(true, Some(Cipher::ChaCha20Poly1305)), Cipher::ChaCha20Poly1305);
    assert_eq!(choose_cipher(false, Some(Cipher::Aes256Gcm)), Cipher::Aes256Gcm);
}

/// What the kernel says must be what we detect.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn aes_detection_agrees_with_the_kernel() {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags: Vec<&str> =
        cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap().split_whitespace().collect();
    assert_eq!(cpu_has_aes(), flags.contains(&"aes") && flags.contains(&"pclmulqdq"));
}

//! RFC 1321's answers, and the md-5 crate as the reference.

use md5::Digest;
use proptest::prelude::*;

use super::{Block, Md5, START, compress_portable, md5_lanes, md5_update_many};

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn answers_of_rfc_1321() {
    let check = |text: &str, expect: &str| {
        let mut md5 = Md5::default();
        md5.update(text.as_bytes());
        assert_eq!(hex(md5.finish()), expect, "{text}");
    };
    check("", "d41d8cd98f00b204e9800998ecf8427e");
    check("a", "0cc175b9c0f1b6a831c399e269772661");
    check("abc", "900150983cd24fb0d6963f7d28e17f72");
    check("message digest", "f96b697d7cb7938d525a2f31aaf161d0");
    check("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b");
    check(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        "d174ab98d277d9f5a5611c2c9f419d9f",
    );
    let digits = "1234567890".repeat(8);
    check(&digits, "57edf4a22be3c955ac49da2e2107b67a");
}

#[test]
fn every_length_around_a_block() {
    for len in 0..300 {
        let text = vec![len as u8; len];
        let mut md5 = Md5::default();
        md5.update(&text);
        assert_eq!(md5.finish(), <[u8; 16]>::from(md5::Md5::digest(&text)), "{len} bytes");
    }
}

proptest! {
    /// Texts of different lengths in pieces of any size, some of them empty, more and fewer than lanes.
    #[test]
    fn many_texts_hash_as_each_alone(
        texts in proptest::collection::vec(
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..6),
            0..2 * md5_lanes() + 2,
        ),
        before in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut states = vec![Md5::default(); texts.len()];
        states.iter_mut().for_each(|md5| md5.update(&before));
        let mut lanes: Vec<(&mut Md5, &[Vec<u8>])> =
            states.iter_mut().zip(&texts).map(|(md5, pieces)| (md5, pieces.as_slice())).collect();
        md5_update_many(&mut lanes);
        for (md5, pieces) in states.into_iter().zip(&texts) {
            let whole = [before.clone(), pieces.concat()].concat();
            prop_assert_eq!(md5.finish(), <[u8; 16]>::from(md5::Md5::digest(&whole)));
        }
    }
}

/// Blocks that differ in each lane, and what the portable kernel makes of them.
fn texts<const N: usize>() -> ([Vec<Block>; N], [[u32; 4]; N]) {
    let texts: [Vec<Block>; N] = std::array::from_fn(|lane| {
        (0..5).map(|number| std::array::from_fn(|at| (7 * lane + 31 * number + 3 * at) as u8)).collect()
    });
    let words = std::array::from_fn(|lane| {
        let mut words = START;
        compress_portable(&mut words, &texts[lane]);
        words
    });
    (texts, words)
}

fn check_kernel<const N: usize>(compress: fn(&mut [[u32; N]; 4], [&[Block]; N])) {
    let (texts, expect) = texts::<N>();
    let mut words = START.map(|word| [word; N]);
    compress(&mut words, std::array::from_fn(|lane| &texts[lane][..]));
    for lane in 0..N {
        assert_eq!(words.map(|word| word[lane]), expect[lane], "lane {lane} of {N}");
    }
}

#[test]
fn arrays_of_lanes_give_what_one_lane_gives() {
    check_kernel::<4>(super::compress_lanes);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_vector_kernel_of_this_cpu_gives_what_the_portable_one_gives() {
    super::x86::check_each(check_kernel, check_kernel);
}

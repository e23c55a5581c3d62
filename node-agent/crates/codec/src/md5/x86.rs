//! MD5 of several texts in the lanes of x86 vector registers.
//!
//! One kernel, written once in plain SSE2 or AVX2 operations; compiled for AVX-512 as well, where the compiler turns them
//! into rotations and three-word functions of one instruction each.
//!
//! Unsafe for one thing alone: calling a function that was compiled for instructions which not every x86-64 has, after
//! they were found on this one. Everything inside is safe code.
#![allow(unsafe_code, reason = "kernels for instructions found at run time; compared with the portable one")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_and_si128, _mm_cvtsi128_si64, _mm_or_si128, _mm_set_epi64x,
    _mm_set1_epi32, _mm_slli_epi32, _mm_srli_epi32, _mm_unpackhi_epi32, _mm_unpackhi_epi64,
    _mm_unpacklo_epi32, _mm_unpacklo_epi64, _mm_xor_si128, _mm256_add_epi32, _mm256_and_si256,
    _mm256_extract_epi64, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi32,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};

use super::{Block, SINES};

/// Has `compress_8` what it needs?
pub(super) fn has_eight_lanes() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Are four lanes of one text faster than the portable kernel? AVX-512 on short registers rotates in one instruction and
/// has one for any function of three words, which makes the chain through a text shorter than scalar code can.
pub(super) fn favours_lone_texts() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
}

/// Four texts; all have the same number of blocks.
pub(super) fn compress_4(words: &mut [[u32; 4]; 4], blocks: [&[Block]; 4]) {
    if favours_lone_texts() {
        // SAFETY: the instructions that the function was compiled for were just found.
        unsafe { compress_4_avx512(words, blocks) }
    } else {
        // SAFETY: every x86-64 has SSE2.
        unsafe { compress_4_sse2(words, blocks) }
    }
}

/// Eight texts; all have the same number of blocks. Only where `has_eight_lanes`.
pub(super) fn compress_8(words: &mut [[u32; 8]; 4], blocks: [&[Block]; 8]) {
    assert!(has_eight_lanes(), "eight lanes without AVX2");
    if favours_lone_texts() {
        // SAFETY: the instructions that the function was compiled for were just found.
        unsafe { compress_8_avx512(words, blocks) }
    } else {
        // SAFETY: as above; the assertion looked for them.
        unsafe { compress_8_avx2(words, blocks) }
    }
}

fn long(bytes: &Block, at: usize) -> i64 {
    i64::from_le_bytes(std::array::from_fn(|byte| bytes[8 * at + byte]))
}

/// A kernel of `N` lanes.
#[cfg(test)]
pub(super) type Compress<const N: usize> = fn(&mut [[u32; N]; 4], [&[Block]; N]);

/// Hands each kernel that this CPU can run to a test.
#[cfg(test)]
pub(super) fn check_each(four: fn(Compress<4>), eight: fn(Compress<8>)) {
    // SAFETY: every x86-64 has SSE2.
    four(|words, blocks| unsafe { compress_4_sse2(words, blocks) });
    if has_eight_lanes() {
        // SAFETY: its instructions were just found.
        eight(|words, blocks| unsafe { compress_8_avx2(words, blocks) });
    }
    if favours_lone_texts() {
        // SAFETY: its instructions were just found.
        four(|words, blocks| unsafe { compress_4_avx512(words, blocks) });
        // SAFETY: as above.
        eight(|words, blocks| unsafe { compress_8_avx512(words, blocks) });
    }
}

/// RFC 1321 section 3.4 in the lanes of one vector type, written once for each instruction set.
macro_rules! kernel {
    (
        $(#[$attribute:meta])* $name:ident, $lanes:literal, $vector:ty, $transpose:ident, $gather:ident, $scatter:ident,
        $splat:ident, $add:ident, $and:ident, $or:ident, $xor:ident, $left:ident, $right:ident
    ) => {
        $(#[$attribute])*
        fn $name(words: &mut [[u32; $lanes]; 4], blocks: [&[Block]; $lanes]) {
            let ones = $splat(-1);
            let f = |b, c, d| $xor(d, $and(b, $xor(c, d)));
            let g = |b, c, d| $or($and(b, d), $and(c, $xor(d, ones)));
            let h = |b, c, d| $xor(b, $xor(c, d));
            let i = |b, c, d| $xor(c, $or(b, $xor(d, ones)));
            let [mut a, mut b, mut c, mut d] =
                [$gather(words[0]), $gather(words[1]), $gather(words[2]), $gather(words[3])];
            for number in 0..blocks[0].len() {
                let x: [$vector; 16] = $transpose(std::array::from_fn(|lane| &blocks[lane][number]));
                let before = [a, b, c, d];
                macro_rules! step {
                    ($mix:ident $a:ident $b:ident $c:ident $d:ident $word:literal $turn:literal $sine:expr) => {
                        // What does not depend on the step before goes first.
                        let ready = $add($add($a, x[$word]), $splat(SINES[$sine].cast_signed()));
                        let sum = $add($mix($b, $c, $d), ready);
                        $a = $add($or($left::<$turn>(sum), $right::<{ 32 - $turn }>(sum)), $b);
                    };
                }
                macro_rules! round {
                    ($mix:ident $first:literal [$t0:literal $t1:literal $t2:literal $t3:literal]
                        $w0:literal $w1:literal $w2:literal $w3:literal $w4:literal $w5:literal $w6:literal $w7:literal
                        $w8:literal $w9:literal $w10:literal $w11:literal $w12:literal $w13:literal $w14:literal $w15:literal
                    ) => {
                        step!($mix a b c d $w0 $t0 $first);
                        step!($mix d a b c $w1 $t1 $first + 1);
                        step!($mix c d a b $w2 $t2 $first + 2);
                        step!($mix b c d a $w3 $t3 $first + 3);
                        step!($mix a b c d $w4 $t0 $first + 4);
                        step!($mix d a b c $w5 $t1 $first + 5);
                        step!($mix c d a b $w6 $t2 $first + 6);
                        step!($mix b c d a $w7 $t3 $first + 7);
                        step!($mix a b c d $w8 $t0 $first + 8);
                        step!($mix d a b c $w9 $t1 $first + 9);
                        step!($mix c d a b $w10 $t2 $first + 10);
                        step!($mix b c d a $w11 $t3 $first + 11);
                        step!($mix a b c d $w12 $t0 $first + 12);
                        step!($mix d a b c $w13 $t1 $first + 13);
                        step!($mix c d a b $w14 $t2 $first + 14);
                        step!($mix b c d a $w15 $t3 $first + 15);
                    };
                }
                round!(f 0 [7 12 17 22] 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
                round!(g 16 [5 9 14 20] 1 6 11 0 5 10 15 4 9 14 3 8 13 2 7 12);
                round!(h 32 [4 11 16 23] 5 8 11 14 1 4 7 10 13 0 3 6 9 12 15 2);
                round!(i 48 [6 10 15 21] 0 7 14 5 12 3 10 1 8 15 6 13 4 11 2 9);
                a = $add(a, before[0]);
                b = $add(b, before[1]);
                c = $add(c, before[2]);
                d = $add(d, before[3]);
            }
            *words = [$scatter(a), $scatter(b), $scatter(c), $scatter(d)];
        }
    };
}

kernel!(
    #[target_feature(enable = "sse2")]
    compress_4_sse2,
    4,
    __m128i,
    transpose_4,
    gather_4,
    scatter_4,
    _mm_set1_epi32,
    _mm_add_epi32,
    _mm_and_si128,
    _mm_or_si128,
    _mm_xor_si128,
    _mm_slli_epi32,
    _mm_srli_epi32
);
kernel!(
    #[target_feature(enable = "avx2,avx512f,avx512vl")]
    compress_4_avx512,
    4,
    __m128i,
    transpose_4,
    gather_4,
    scatter_4,
    _mm_set1_epi32,
    _mm_add_epi32,
    _mm_and_si128,
    _mm_or_si128,
    _mm_xor_si128,
    _mm_slli_epi32,
    _mm_srli_epi32
);
kernel!(
    #[target_feature(enable = "avx2")]
    compress_8_avx2,
    8,
    __m256i,
    transpose_8,
    gather_8,
    scatter_8,
    _mm256_set1_epi32,
    _mm256_add_epi32,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_slli_epi32,
    _mm256_srli_epi32
);
kernel!(
    #[target_feature(enable = "avx2,avx512f,avx512vl")]
    compress_8_avx512,
    8,
    __m256i,
    transpose_8,
    gather_8,
    scatter_8,
    _mm256_set1_epi32,
    _mm256_add_epi32,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_xor_si256,
    _mm256_slli_epi32,
    _mm256_srli_epi32
);

fn pair(low: u32, high: u32) -> i64 {
    (u64::from(low) | u64::from(high) << 32).cast_signed()
}

fn halves(pair: i64) -> [u32; 2] {
    let pair = pair.cast_unsigned();
    [pair as u32, (pair >> 32) as u32]
}

#[inline]
#[target_feature(enable = "sse2")]
fn gather_4(lanes: [u32; 4]) -> __m128i {
    _mm_set_epi64x(pair(lanes[2], lanes[3]), pair(lanes[0], lanes[1]))
}

#[inline]
#[target_feature(enable = "sse2")]
fn scatter_4(vector: __m128i) -> [u32; 4] {
    let [a, b] = halves(_mm_cvtsi128_si64(vector));
    let [c, d] = halves(_mm_cvtsi128_si64(_mm_unpackhi_epi64(vector, vector)));
    [a, b, c, d]
}

/// Word w of lane l becomes lane l of vector w.
#[inline]
#[target_feature(enable = "sse2")]
fn transpose_4(blocks: [&Block; 4]) -> [__m128i; 16] {
    let mut x = [_mm_set1_epi32(0); 16];
    for quarter in 0..4 {
        let (a, b) = (load_4(blocks[0], quarter), load_4(blocks[1], quarter));
        let (c, d) = (load_4(blocks[2], quarter), load_4(blocks[3], quarter));
        let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        x[4 * quarter] = _mm_unpacklo_epi64(ab, cd);
        x[4 * quarter + 1] = _mm_unpackhi_epi64(ab, cd);
        let (ab, cd) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
        x[4 * quarter + 2] = _mm_unpacklo_epi64(ab, cd);
        x[4 * quarter + 3] = _mm_unpackhi_epi64(ab, cd);
    }
    x
}

#[inline]
#[target_feature(enable = "avx2")]
fn gather_8(lanes: [u32; 8]) -> __m256i {
    _mm256_set_epi64x(
        pair(lanes[6], lanes[7]),
        pair(lanes[4], lanes[5]),
        pair(lanes[2], lanes[3]),
        pair(lanes[0], lanes[1]),
    )
}

#[inline]
#[target_feature(enable = "avx2")]
fn scatter_8(vector: __m256i) -> [u32; 8] {
    let [a, b] = halves(_mm256_extract_epi64::<0>(vector));
    let [c, d] = halves(_mm256_extract_epi64::<1>(vector));
    let [e, f] = halves(_mm256_extract_epi64::<2>(vector));
    let [g, h] = halves(_mm256_extract_epi64::<3>(vector));
    [a, b, c, d, e, f, g, h]
}

/// Word w of lane l becomes lane l of vector w.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8(blocks: [&Block; 8]) -> [__m256i; 16] {
    let mut x = [_mm256_set1_epi32(0); 16];
    for half in 0..2 {
        let low = transpose_rows([blocks[0], blocks[1], blocks[2], blocks[3]], half);
        let high = transpose_rows([blocks[4], blocks[5], blocks[6], blocks[7]], half);
        for word in 0..4 {
            x[8 * half + word] = _mm256_permute2x128_si256::<0x20>(low[word], high[word]);
            x[8 * half + 4 + word] = _mm256_permute2x128_si256::<0x31>(low[word], high[word]);
        }
    }
    x
}

/// Half a block of four lanes: words 0 to 3 of it, one vector a word, in the low 128 bits, words 4 to 7 in the high ones.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_rows(blocks: [&Block; 4], half: usize) -> [__m256i; 4] {
    let (a, b) = (load_8(blocks[0], half), load_8(blocks[1], half));
    let (c, d) = (load_8(blocks[2], half), load_8(blocks[3], half));
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ef, gh) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ef, gh),
        _mm256_unpackhi_epi64(ef, gh),
    ]
}

/// A quarter of a block.
#[inline]
#[target_feature(enable = "sse2")]
fn load_4(block: &Block, quarter: usize) -> __m128i {
    _mm_set_epi64x(long(block, 2 * quarter + 1), long(block, 2 * quarter))
}

/// Half a block.
#[inline]
#[target_feature(enable = "avx2")]
fn load_8(block: &Block, half: usize) -> __m256i {
    let at = 4 * half;
    _mm256_set_epi64x(long(block, at + 3), long(block, at + 2), long(block, at + 1), long(block, at))
}

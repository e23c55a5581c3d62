//! MD5 (RFC 1321), several texts at once.
//!
//! MD5 is one long chain of dependent additions: a core waits most of the time (about 1.4 CPU seconds a GB). Several
//! texts have independent chains, so four or eight of them run in the lanes of one vector register in little more time
//! than one. On x86-64 the lanes are written out (`x86`): the compiler makes scalar code of arrays. Elsewhere they stay
//! arrays, with what the compiler makes of them.

#[cfg(target_arch = "x86_64")]
mod x86;

/// Texts that are hashed at once where the lanes are arrays.
const ARRAY_LANES: usize = 4;

/// True where arrays of lanes may gain something; elsewhere (ARMv7 without NEON) one text after the other is faster.
const HAS_VECTORS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Texts that are hashed at once at best, on this CPU.
pub fn md5_lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::has_eight_lanes() {
        return 8;
    }
    ARRAY_LANES
}

const BLOCK_BYTES: usize = 64;

type Block = [u8; BLOCK_BYTES];

/// Where the length lies in the last block.
const LENGTH_AT: usize = 56;
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// floor(2^32 × |sin(i + 1)|), RFC 1321 section 3.4.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// One text being hashed.
#[derive(Clone)]
pub struct Md5 {
    words: [u32; 4],
    /// Bytes taken.
    len: u64,
    /// Bytes of a block that is not full yet: `len % 64` of them.
    tail: [u8; BLOCK_BYTES],
}

impl Default for Md5 {
    fn default() -> Self {
        Self { words: START, len: 0, tail: [0; BLOCK_BYTES] }
    }
}

impl Md5 {
    fn tail_len(&self) -> usize {
        (self.len % BLOCK_BYTES as u64) as usize
    }

    /// Takes bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let rest = self.fill_tail(bytes);
        let (blocks, tail) = rest.as_chunks::<BLOCK_BYTES>();
        if !blocks.is_empty() {
            self.advance(blocks);
        }
        if !tail.is_empty() {
            self.tail[..tail.len()].copy_from_slice(tail);
            self.len += tail.len() as u64;
        }
    }

    /// Completes an open block; returns the bytes behind it. Nothing is taken where no block is open.
    fn fill_tail<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let open = self.tail_len();
        if open == 0 {
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - open));
        self.tail[open..open + now.len()].copy_from_slice(now);
        self.len += now.len() as u64;
        if self.tail_len() == 0 {
            let tail = self.tail;
            compress(&mut self.words, &[tail]);
        }
        rest
    }

    /// Whole blocks, where no block is open.
    fn advance(&mut self, blocks: &[Block]) {
        compress(&mut self.words, blocks);
        self.len += blocks.as_flattened().len() as u64;
    }

    /// The digest.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.len.wrapping_mul(8).to_le_bytes();
        let open = self.tail_len();
        self.tail[open] = 0x80;
        self.tail[open + 1..].fill(0);
        if open >= LENGTH_AT {
            compress(&mut self.words, &[self.tail]);
            self.tail.fill(0);
        }
        self.tail[LENGTH_AT..].copy_from_slice(&bits);
        compress(&mut self.words, &[self.tail]);
        let mut digest = [0; 16];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        digest
    }
}

/// A text and what it takes next.
struct Lane<'a, B> {
    md5: &'a mut Md5,
    pieces: &'a [B],
    /// The rest of the piece before `pieces`.
    now: &'a [u8],
}

impl<'a, B: AsRef<[u8]>> Lane<'a, B> {
    /// Goes on until whole blocks lie ahead and none is open; false at the end.
    fn settle(&mut self) -> bool {
        loop {
            self.now = self.md5.fill_tail(self.now);
            if self.now.len() >= BLOCK_BYTES {
                return true;
            }
            self.md5.update(self.now);
            let Some((next, pieces)) = self.pieces.split_first() else {
                self.now = &[];
                return false;
            };
            (self.now, self.pieces) = (next.as_ref(), pieces);
        }
    }

    fn blocks(&self) -> &'a [Block] {
        self.now.as_chunks().0
    }
}

/// Hashes several texts at once: each takes its pieces in order. Fastest with `md5_lanes` texts of like length.
pub fn md5_update_many<B: AsRef<[u8]>>(texts: &mut [(&mut Md5, &[B])]) {
    for texts in texts.chunks_mut(md5_lanes()) {
        let mut lanes: Vec<Lane<'_, B>> =
            texts.iter_mut().map(|(md5, pieces)| Lane { md5, pieces, now: &[] }).collect();
        loop {
            lanes.retain_mut(Lane::settle);
            match lanes.as_mut_slice() {
                [] => break,
                [lane] => step_one(lane),
                lanes if HAS_VECTORS => step_many(lanes),
                lanes => lanes.iter_mut().for_each(step_one),
            }
        }
    }
}

fn step_one<B: AsRef<[u8]>>(lane: &mut Lane<'_, B>) {
    let blocks = lane.blocks();
    lane.md5.advance(blocks);
    lane.now = &lane.now[blocks.as_flattened().len()..];
}

/// All lanes advance by as many blocks as the shortest has.
fn step_many<B: AsRef<[u8]>>(lanes: &mut [Lane<'_, B>]) {
    let count = lanes.iter().map(|lane| lane.blocks().len()).min().unwrap_or(0);
    match lanes.len() {
        0..=4 => step_lanes(lanes, count, compress_4),
        #[cfg(target_arch = "x86_64")]
        _ => step_lanes(lanes, count, x86::compress_8),
        #[cfg(not(target_arch = "x86_64"))]
        _ => lanes.chunks_mut(ARRAY_LANES).for_each(|lanes| step_lanes(lanes, count, compress_4)),
    }
}

/// `N` lanes at least as many as there are texts; those without one repeat the first.
fn step_lanes<B: AsRef<[u8]>, const N: usize>(
    lanes: &mut [Lane<'_, B>],
    count: usize,
    compress: fn(&mut [Lanes<N>; 4], [&[Block]; N]),
) {
    let text = |lane: usize| &lanes[if lane < lanes.len() { lane } else { 0 }];
    let blocks: [&[Block]; N] = std::array::from_fn(|lane| &text(lane).blocks()[..count]);
    let mut words: [Lanes<N>; 4] =
        std::array::from_fn(|word| std::array::from_fn(|lane| text(lane).md5.words[word]));
    compress(&mut words, blocks);
    for (at, lane) in lanes.iter_mut().enumerate() {
        lane.md5.words = std::array::from_fn(|word| words[word][at]);
        lane.md5.len += (count * BLOCK_BYTES) as u64;
        lane.now = &lane.now[count * BLOCK_BYTES..];
    }
}

fn compress_4(words: &mut [Lanes<4>; 4], blocks: [&[Block]; 4]) {
    #[cfg(target_arch = "x86_64")]
    x86::compress_4(words, blocks);
    #[cfg(not(target_arch = "x86_64"))]
    compress_lanes(words, blocks);
}

fn compress(words: &mut [u32; 4], blocks: &[Block]) {
    #[cfg(target_arch = "x86_64")]
    if x86::favours_lone_texts() {
        let mut four = words.map(|word| [word; 4]);
        x86::compress_4(&mut four, [blocks; 4]);
        *words = four.map(|[word, ..]| word);
        return;
    }
    compress_portable(words, blocks);
}

/// What every kernel is held against.
fn compress_portable(words: &mut [u32; 4], blocks: &[Block]) {
    let mut one: [[u32; 1]; 4] = words.map(|word| [word]);
    compress_lanes(&mut one, [blocks]);
    *words = one.map(|[word]| word);
}

type Lanes<const N: usize> = [u32; N];

#[inline(always)]
fn each<const N: usize>(a: Lanes<N>, b: Lanes<N>, op: impl Fn(u32, u32) -> u32) -> Lanes<N> {
    let mut result = [0; N];
    for lane in 0..N {
        result[lane] = op(a[lane], b[lane]);
    }
    result
}

/// One step: a = b + rotate(a + mixed + word + sine).
#[inline(always)]
fn step<const N: usize>(
    a: Lanes<N>,
    b: Lanes<N>,
    mixed: Lanes<N>,
    word: Lanes<N>,
    sine: u32,
    turn: u32,
) -> Lanes<N> {
    // `mixed` depends on the step before, the rest does not: it is added last.
    let ready = each(a, word, |a, word| a.wrapping_add(word).wrapping_add(sine));
    let turned = each(mixed, ready, |mixed, ready| mixed.wrapping_add(ready).rotate_left(turn));
    each(turned, b, u32::wrapping_add)
}

/// RFC 1321 section 3.4 over `N` texts in lock-step; all have the same number of blocks.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // `number` counts blocks of all lanes, not of the first.
fn compress_lanes<const N: usize>(words: &mut [Lanes<N>; 4], blocks: [&[Block]; N]) {
    let [mut a, mut b, mut c, mut d] = *words;
    for number in 0..blocks[0].len() {
        let x: [Lanes<N>; 16] = std::array::from_fn(|word| {
            std::array::from_fn(|lane| {
                let block = &blocks[lane][number];
                u32::from_le_bytes([
                    block[4 * word],
                    block[4 * word + 1],
                    block[4 * word + 2],
                    block[4 * word + 3],
                ])
            })
        });
        let before = [a, b, c, d];
        macro_rules! round {
            ($mix:expr, $first:literal, $start:literal, $stride:literal, $turns:expr) => {
                for four in 0..4 {
                    let (sine, word) = ($first + 4 * four, $start + 4 * $stride * four);
                    a = step(a, b, $mix(b, c, d), x[word % 16], SINES[sine], $turns[0]);
                    d = step(d, a, $mix(a, b, c), x[(word + $stride) % 16], SINES[sine + 1], $turns[1]);
                    c = step(c, d, $mix(d, a, b), x[(word + 2 * $stride) % 16], SINES[sine + 2], $turns[2]);
                    b = step(b, c, $mix(c, d, a), x[(word + 3 * $stride) % 16], SINES[sine + 3], $turns[3]);
                }
            };
        }
        round!(mix_f, 0, 0, 1, [7, 12, 17, 22]);
        round!(mix_g, 16, 1, 5, [5, 9, 14, 20]);
        round!(mix_h, 32, 5, 3, [4, 11, 16, 23]);
        round!(mix_i, 48, 0, 7, [6, 10, 15, 21]);
        a = each(a, before[0], u32::wrapping_add);
        b = each(b, before[1], u32::wrapping_add);
        c = each(c, before[2], u32::wrapping_add);
        d = each(d, before[3], u32::wrapping_add);
    }
    *words = [a, b, c, d];
}

/// (b and c) or (not b and d), with one operation less on the chain through b.
#[inline(always)]
fn mix_f<const N: usize>(b: Lanes<N>, c: Lanes<N>, d: Lanes<N>) -> Lanes<N> {
    each(each(b, each(c, d, |c, d| c ^ d), |b, changed| b & changed), d, |kept, d| kept ^ d)
}

/// (b and d) or (c and not d): no bit is in both, so adding them gives the same and does not wait for b.
#[inline(always)]
fn mix_g<const N: usize>(b: Lanes<N>, c: Lanes<N>, d: Lanes<N>) -> Lanes<N> {
    each(each(b, d, |b, d| b & d), each(c, d, |c, d| c & !d), u32::wrapping_add)
}

#[inline(always)]
fn mix_h<const N: usize>(b: Lanes<N>, c: Lanes<N>, d: Lanes<N>) -> Lanes<N> {
    each(b, each(c, d, |c, d| c ^ d), |b, rest| b ^ rest)
}

#[inline(always)]
fn mix_i<const N: usize>(b: Lanes<N>, c: Lanes<N>, d: Lanes<N>) -> Lanes<N> {
    each(c, each(b, d, |b, d| b | !d), |c, rest| c ^ rest)
}

#[cfg(test)]
#[path = "md5_tests.rs"]
mod tests;

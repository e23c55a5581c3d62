use grid_types::{ChunkKey, SegmentId};
use highway::{HighwayHash, PortableHash};

use super::*;

fn chunk(fill: u8, index: u8) -> ChunkKey {
    ChunkKey { segment: SegmentId::from_bytes([fill; 16]), index }
}

/// What the doc says, spelled out: one buffer, the portable code.
fn by_the_book(chunk: ChunkKey, number: u64, block: &[u8]) -> [u8; 32] {
    let mut key = *FORMAT_CONSTANT;
    let mut id = chunk.segment.as_bytes().to_vec();
    id.push(chunk.index);
    for (key, id) in key.iter_mut().zip(id) {
        *key ^= id;
    }
    let mut all = number.to_le_bytes().to_vec();
    all.extend_from_slice(block);
    let words = PortableHash::new(highway_key(&key)).hash256(&all);
    words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn hashes_as_the_page_says_for_all_lengths() {
    let block: Vec<u8> = (0..300u32).map(|i| (i * 7) as u8).collect();
    for len in 0..block.len() {
        let chunk = chunk(9, len as u8);
        let number = len as u64 * 0x1_0000_0001;
        assert_eq!(
            FrameHasher::new(chunk).hash(number, &block[..len]),
            by_the_book(chunk, number, &block[..len]),
            "length {len}"
        );
    }
}

#[test]
fn pieces_hash_like_the_whole() {
    let hasher = FrameHasher::new(chunk(1, 2));
    let block: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
    for cut in [0, 1, 23, 24, 31, 32, 33, 500, 999, 1000] {
        let (a, b) = block.split_at(cut);
        assert_eq!(hasher.hash_parts(5, [a, b]), hasher.hash(5, &block), "cut at {cut}");
    }
}

#[test]
fn another_place_another_hash() {
    let block = vec![0xA5; 4096];
    let here = FrameHasher::new(chunk(1, 0)).hash(3, &block);
    assert_ne!(FrameHasher::new(chunk(1, 0)).hash(4, &block), here, "another frame number");
    assert_ne!(FrameHasher::new(chunk(1, 1)).hash(3, &block), here, "another chunk index");
    assert_ne!(FrameHasher::new(chunk(2, 0)).hash(3, &block), here, "another segment");
}

#[test]
fn every_flipped_bit_is_found() {
    let hasher = FrameHasher::new(chunk(7, 1));
    let mut block: Vec<u8> = (0..97u8).collect();
    let hash = hasher.hash(11, &block);
    assert!(hasher.verify(11, &block, &hash));
    for bit in 0..block.len() * 8 {
        block[bit / 8] ^= 1 << (bit % 8);
        assert!(!hasher.verify(11, &block, &hash), "bit {bit}");
        block[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(!hasher.verify(11, &block[..96], &hash), "cut short");
    assert!(!hasher.verify(11, &block, &hash[..31]), "a short hash never matches");
}

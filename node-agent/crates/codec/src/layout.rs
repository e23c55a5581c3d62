//! Where each byte of a segment lies, by arithmetic alone.
//!
//! Plaintext is cut into packets of 65,536 bytes, each sealed to 65,552; the sealed packets in a row are the sealed
//! stream. A full stripe is k blocks of `block_packets` packets each: data chunk i holds block i of each stripe. In the
//! last stripe (possibly partial) every block has ceil(rest / k) bytes, the last ones padded with zeros. For copies k = 1.
//! Frame n of a chunk is its block in stripe n.

use std::ops::Range;

/// The layout of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentLayout {
    /// Plaintext bytes.
    pub plain_len: u64,
    /// Data chunks.
    pub k: u64,
    /// Packets of a full block.
    pub block_packets: u64,
}

impl SegmentLayout {
    /// `plain_len` ≥ 1, `k` ≥ 1, `block_packets` ≥ 1.
    pub fn new(_plain_len: u64, _k: usize, _block_packets: u8) -> Self {
        todo!()
    }

    /// Packets of the segment.
    pub fn packets(&self) -> u64 {
        todo!()
    }

    /// Bytes of the sealed stream.
    pub fn sealed_len(&self) -> u64 {
        todo!()
    }

    /// Stripes = frames of every chunk.
    pub fn stripes(&self) -> u64 {
        todo!()
    }

    /// Bytes of the blocks of stripe `stripe` (all k + m of them).
    pub fn block_len(&self, _stripe: u64) -> u64 {
        todo!()
    }

    /// Sealed bytes that stripe `stripe` carries (without padding).
    pub fn stripe_sealed_len(&self, _stripe: u64) -> u64 {
        todo!()
    }

    /// Payload bytes of one chunk: the sum of its blocks.
    pub fn chunk_payload_len(&self) -> u64 {
        todo!()
    }

    /// Packets that a non-empty range of plaintext touches.
    pub fn packets_of(&self, _plain: Range<u64>) -> Range<u64> {
        todo!()
    }

    /// Stripes that these packets touch.
    pub fn stripes_of_packets(&self, _packets: Range<u64>) -> Range<u64> {
        todo!()
    }

    /// Where packet `packet` lies in the sealed stream.
    pub fn packet_sealed_range(&self, _packet: u64) -> Range<u64> {
        todo!()
    }

    /// Where a range of the sealed stream within one stripe lies: pieces of (data chunk index, range within that
    /// chunk's block of this stripe), in order.
    pub fn sealed_to_blocks(&self, _stripe: u64, _sealed: Range<u64>) -> Vec<(usize, Range<u64>)> {
        todo!()
    }
}

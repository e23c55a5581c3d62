//! Where each byte of a segment lies, by arithmetic alone.
//!
//! Plaintext is cut into packets of 65,536 bytes, each sealed to 65,552; the sealed packets in a row are the sealed
//! stream. A full stripe is k blocks of `block_packets` packets each: data chunk i holds block i of each stripe. In the
//! last stripe (possibly partial) every block has ceil(rest / k) bytes, the last ones padded with zeros. For copies k = 1.
//! Frame n of a chunk is its block in stripe n.

use std::ops::Range;

use grid_types::{PACKET_PLAIN_BYTES, PACKET_SEALED_BYTES, PACKET_TAG_BYTES};

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
    ///
    /// # Panics
    /// When one of them is zero: callers check what comes from a disk or a peer.
    pub fn new(plain_len: u64, k: usize, block_packets: u8) -> Self {
        assert!(plain_len >= 1 && k >= 1 && block_packets >= 1, "a segment holds at least one byte");
        Self { plain_len, k: k as u64, block_packets: u64::from(block_packets) }
    }

    /// Packets of the segment.
    pub fn packets(&self) -> u64 {
        self.plain_len.div_ceil(PACKET_PLAIN_BYTES)
    }

    /// Bytes of the sealed stream.
    pub fn sealed_len(&self) -> u64 {
        self.plain_len + self.packets() * PACKET_TAG_BYTES
    }

    /// Bytes of a full block.
    pub fn full_block_len(&self) -> u64 {
        self.block_packets * PACKET_SEALED_BYTES
    }

    /// Packets of a full stripe.
    pub fn stripe_packets(&self) -> u64 {
        self.k * self.block_packets
    }

    /// Sealed bytes of a full stripe (without parity).
    pub fn full_stripe_len(&self) -> u64 {
        self.stripe_packets() * PACKET_SEALED_BYTES
    }

    /// Stripes = frames of every chunk.
    pub fn stripes(&self) -> u64 {
        self.packets().div_ceil(self.stripe_packets())
    }

    /// Bytes of the blocks of stripe `stripe` (all k + m of them).
    pub fn block_len(&self, stripe: u64) -> u64 {
        self.stripe_sealed_len(stripe).div_ceil(self.k)
    }

    /// Sealed bytes that stripe `stripe` carries (without padding); 0 behind the last one.
    pub fn stripe_sealed_len(&self, stripe: u64) -> u64 {
        self.sealed_len().saturating_sub(stripe * self.full_stripe_len()).min(self.full_stripe_len())
    }

    /// Where stripe `stripe` lies in the sealed stream.
    pub fn stripe_sealed_range(&self, stripe: u64) -> Range<u64> {
        let start = stripe * self.full_stripe_len();
        start..start + self.stripe_sealed_len(stripe)
    }

    /// Payload bytes of one chunk: the sum of its blocks.
    pub fn chunk_payload_len(&self) -> u64 {
        let last = self.stripes() - 1;
        last * self.full_block_len() + self.block_len(last)
    }

    /// Packets that a non-empty range of plaintext touches.
    pub fn packets_of(&self, plain: Range<u64>) -> Range<u64> {
        plain.start / PACKET_PLAIN_BYTES..plain.end.div_ceil(PACKET_PLAIN_BYTES)
    }

    /// Stripes that these packets touch.
    pub fn stripes_of_packets(&self, packets: Range<u64>) -> Range<u64> {
        packets.start / self.stripe_packets()..packets.end.div_ceil(self.stripe_packets())
    }

    /// Packets that stripe `stripe` carries.
    pub fn packets_of_stripe(&self, stripe: u64) -> Range<u64> {
        let start = stripe * self.stripe_packets();
        start..(start + self.stripe_packets()).min(self.packets())
    }

    /// Where packet `packet` lies in the plaintext.
    pub fn packet_plain_range(&self, packet: u64) -> Range<u64> {
        let start = packet * PACKET_PLAIN_BYTES;
        start..(start + PACKET_PLAIN_BYTES).min(self.plain_len)
    }

    /// Where packet `packet` lies in the sealed stream.
    pub fn packet_sealed_range(&self, packet: u64) -> Range<u64> {
        let start = packet * PACKET_SEALED_BYTES;
        start..(start + PACKET_SEALED_BYTES).min(self.sealed_len())
    }

    /// Where a range of the sealed stream within one stripe lies: pieces of (data chunk index, range within that
    /// chunk's block of this stripe), in order.
    pub fn sealed_to_blocks(&self, stripe: u64, sealed: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let whole = self.stripe_sealed_range(stripe);
        debug_assert!(whole.start <= sealed.start && sealed.end <= whole.end, "the range leaves its stripe");
        let block_len = self.block_len(stripe);
        let (mut at, end) = (sealed.start - whole.start, sealed.end - whole.start);
        let mut pieces = Vec::new();
        while at < end {
            let block = at / block_len;
            let piece_end = end.min((block + 1) * block_len);
            // A block index is below k ≤ 32, so it fits every usize.
            pieces.push((block as usize, at - block * block_len..piece_end - block * block_len));
            at = piece_end;
        }
        pieces
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;

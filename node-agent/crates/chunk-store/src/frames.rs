//! Where the frames of one chunk lie, and the check that every read makes.

use std::ops::Range;

use bytes::Bytes;
use codec::{FRAME_HASH_BYTES, FrameHasher, SegmentLayout};
use grid_types::SEGMENT_BYTES_MAX;

use crate::ChunkHeader;

const HASH_BYTES: u64 = FRAME_HASH_BYTES as u64;

/// What a reader wants of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameCut {
    /// The block alone.
    Blocks,
    /// Hash and block, as they are stored.
    Whole,
}

/// What the lengths of all frames of a chunk follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameShape {
    /// Plaintext bytes of the segment, at least 1.
    pub plain_len: u64,
    /// Data chunks, at least 1.
    pub k: u8,
    /// Packets of a full block, at least 1.
    pub block_packets: u8,
}

impl FrameShape {
    pub fn of(header: &ChunkHeader, plain_len: u64) -> Self {
        let k = u8::try_from(header.profile.data_chunks()).unwrap_or(u8::MAX);
        Self { plain_len, k, block_packets: header.block_packets }
    }

    /// From numbers that a damaged index may have spoilt.
    pub fn checked(plain_len: u64, k: u64, block_packets: u64) -> Option<Self> {
        let shape = Self { plain_len, k: k.try_into().ok()?, block_packets: block_packets.try_into().ok()? };
        shape.is_sane().then_some(shape)
    }

    /// What arithmetic relies on.
    pub fn is_sane(self) -> bool {
        (1..=SEGMENT_BYTES_MAX).contains(&self.plain_len) && self.k >= 1 && self.block_packets >= 1
    }

    fn layout(self) -> SegmentLayout {
        SegmentLayout::new(self.plain_len, usize::from(self.k), self.block_packets)
    }

    /// Frames of the chunk.
    pub fn count(self) -> u64 {
        self.layout().stripes()
    }

    /// Payload bytes of the chunk.
    pub fn payload_len(self) -> u64 {
        self.layout().chunk_payload_len()
    }

    /// Bytes of all frames, hashes included.
    pub fn frames_len(self) -> u64 {
        let layout = self.layout();
        layout.chunk_payload_len() + layout.stripes() * HASH_BYTES
    }

    /// Bytes of frames `first..first + count`, from the start of the first frame; `None` outside the chunk.
    pub fn range(self, first: u64, count: u64) -> Option<Range<u64>> {
        let layout = self.layout();
        let end = first.checked_add(count)?;
        if count == 0 || end > layout.stripes() {
            return None;
        }
        let full = layout.block_len(0) + HASH_BYTES;
        let last = layout.block_len(end - 1) + HASH_BYTES;
        Some(first * full..(end - 1) * full + last)
    }

    /// Cuts the bytes of `range(first, count)` into pieces, each checked; the number of the first bad frame else.
    pub fn split(
        self,
        hasher: &FrameHasher,
        first: u64,
        count: u64,
        frames: &Bytes,
        cut: FrameCut,
    ) -> Result<Vec<Bytes>, u64> {
        let layout = self.layout();
        let mut pieces = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut at = 0;
        for number in first..first + count {
            let len = usize::try_from(layout.block_len(number)).map_err(|_| number)?;
            let block = at + FRAME_HASH_BYTES;
            if block + len > frames.len()
                || !hasher.verify(number, &frames[block..block + len], &frames[at..block])
            {
                return Err(number);
            }
            let begin = match cut {
                FrameCut::Blocks => block,
                FrameCut::Whole => at,
            };
            pieces.push(frames.slice(begin..block + len));
            at = block + len;
        }
        Ok(pieces)
    }
}

//! From blocks to plaintext: rebuild what is missing, authenticate, decrypt.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use codec::{ErasureCode, SealContext, Sealer, SegmentKey, SegmentLayout};
use grid_types::{MemoryPermit, PACKET_PLAIN_BYTES, PACKET_TAG_BYTES, Profile, Segment};
use keyring::BucketKey;

use crate::SegmentError;
use crate::buffers::Held;
use crate::fetch::{Blocks, Sources};
use crate::store::Shared;

/// One segment with all that reading it needs.
pub(crate) struct OpenSegment {
    shared: Arc<Shared>,
    pub segment: Segment,
    pub layout: SegmentLayout,
    sealer: Sealer,
    code: Option<ErasureCode>,
    sources: Sources,
}

impl OpenSegment {
    /// Fails when the row contradicts itself.
    pub fn new(shared: Arc<Shared>, segment: Segment, key: &BucketKey) -> Result<Self, SegmentError> {
        let layout = layout_of(&segment)?;
        let sealer = Sealer::new(
            &SegmentKey::new(key.segment_key(segment.seal_id)),
            SealContext {
                cipher: segment.cipher,
                compression: segment.compression,
                seal_id: segment.seal_id,
            },
        );
        let code = shared.code(segment.profile)?;
        let sources = Sources::new(shared.clone(), segment.clone(), layout);
        Ok(Self { shared, segment, layout, sealer, code, sources })
    }

    /// The plaintext of `plain` within `stripes`, one piece a stripe. Safe to drop.
    ///
    /// A packet that does not authenticate although its frame verifies is asked of other chunks, each of those used
    /// left out in turn: a drive that lies must not hide the bytes that others hold.
    pub async fn read(
        &self,
        stripes: Range<u64>,
        plain: &Range<u64>,
        memory: &Arc<MemoryPermit>,
    ) -> Result<Vec<Bytes>, SegmentError> {
        let needed = self.needed(&stripes, plain);
        let blocks = self.sources.fetch(stripes.clone(), &needed, &[]).await?;
        let mut pieces = Vec::with_capacity((stripes.end - stripes.start) as usize);
        for stripe in stripes {
            match self.open_stripe(stripe, plain, &blocks, memory) {
                Err(SegmentError::Seal(error)) => {
                    pieces.push(self.read_around_lies(stripe, plain, &blocks, memory, error).await?);
                }
                opened => pieces.push(opened?),
            }
        }
        Ok(pieces)
    }

    async fn read_around_lies(
        &self,
        stripe: u64,
        plain: &Range<u64>,
        used: &Blocks,
        memory: &Arc<MemoryPermit>,
        error: codec::SealError,
    ) -> Result<Bytes, SegmentError> {
        let needed = self.needed(&(stripe..stripe + 1), plain);
        for (index, blocks) in (0u8..).zip(&used.by_chunk) {
            if blocks.is_none() {
                continue;
            }
            let Ok(others) = self.sources.fetch(stripe..stripe + 1, &needed, &[index]).await else {
                continue;
            };
            if let Ok(opened) = self.open_stripe(stripe, plain, &others, memory) {
                if let Some((chunk, drive)) = self.segment.chunks().find(|(chunk, _)| chunk.index == index) {
                    tracing::error!(%chunk, %drive, "chunk verifies but does not authenticate");
                    self.shared.damaged.note(chunk, drive);
                }
                return Ok(opened);
            }
        }
        Err(error.into())
    }

    /// Packets of a stripe that hold bytes of `plain`.
    fn packets(&self, stripe: u64, plain: &Range<u64>) -> Range<u64> {
        let all = self.layout.packets_of_stripe(stripe);
        let wanted = self.layout.packets_of(plain.clone());
        all.start.max(wanted.start)..all.end.min(wanted.end)
    }

    /// Data chunks that hold bytes of those packets in any of the stripes.
    fn needed(&self, stripes: &Range<u64>, plain: &Range<u64>) -> Vec<usize> {
        let mut needed = vec![false; self.segment.profile.data_chunks()];
        for stripe in stripes.clone() {
            let packets = self.packets(stripe, plain);
            let sealed = self.layout.packet_sealed_range(packets.start).start
                ..self.layout.packet_sealed_range(packets.end - 1).end;
            for (chunk, _) in self.layout.sealed_to_blocks(stripe, sealed) {
                needed[chunk] = true;
            }
        }
        (0..needed.len()).filter(|chunk| needed[*chunk]).collect()
    }

    /// Opens the wanted packets of one stripe into one contiguous piece of plaintext.
    fn open_stripe(
        &self,
        stripe: u64,
        plain: &Range<u64>,
        blocks: &Blocks,
        memory: &Arc<MemoryPermit>,
    ) -> Result<Bytes, SegmentError> {
        let packets = self.packets(stripe, plain);
        let rebuilt = self.rebuild_missing(stripe, &packets, blocks)?;
        let last = self.layout.packets() - 1;
        let capacity = (packets.end - packets.start) * PACKET_PLAIN_BYTES + PACKET_TAG_BYTES;
        let held = Held::memory(memory);
        // At most 32 blocks of 255 packets: fits every usize.
        let mut buffer = self.shared.buffers.take(capacity as usize, held);
        let mut end = 0;
        for packet in packets.clone() {
            let start = end;
            let mut sealed_end = start;
            // Each packet overwrites the tag of the one before, so that plaintext lies in one piece.
            for (chunk, range) in
                self.layout.sealed_to_blocks(stripe, self.layout.packet_sealed_range(packet))
            {
                let block = match self.block(stripe, chunk, blocks) {
                    Some(block) => block,
                    None => rebuilt
                        .iter()
                        .find(|(index, _)| *index == chunk)
                        .map(|(_, block)| block.as_slice())
                        .ok_or_else(|| self.row_error("a needed block was neither read nor rebuilt"))?,
                };
                let bytes = &block[range.start as usize..range.end as usize];
                buffer.as_mut()[sealed_end..sealed_end + bytes.len()].copy_from_slice(bytes);
                sealed_end += bytes.len();
            }
            let opened = self.sealer.open(packet, packet == last, &mut buffer.as_mut()[start..sealed_end])?;
            end = start + opened.len();
        }
        let offset = packets.start * PACKET_PLAIN_BYTES;
        let from = plain.start.saturating_sub(offset) as usize;
        let to = end.min(plain.end.saturating_sub(offset) as usize);
        Ok(buffer.freeze().slice(from..to))
    }

    /// The block of a data chunk; for copies that of any copy, since all are the whole.
    fn block<'a>(&self, stripe: u64, chunk: usize, blocks: &'a Blocks) -> Option<&'a [u8]> {
        let found = match self.segment.profile {
            Profile::Copies(_) => (0..blocks.by_chunk.len()).find_map(|copy| blocks.get(copy, stripe)),
            Profile::Ec { .. } => blocks.get(chunk, stripe),
        };
        found.map(|block| &block[..])
    }

    /// Data blocks with wanted bytes that were not read, from those that were.
    fn rebuild_missing(
        &self,
        stripe: u64,
        packets: &Range<u64>,
        blocks: &Blocks,
    ) -> Result<Vec<(usize, Vec<u8>)>, SegmentError> {
        let Some(code) = &self.code else { return Ok(Vec::new()) };
        let sealed = self.layout.packet_sealed_range(packets.start).start
            ..self.layout.packet_sealed_range(packets.end - 1).end;
        let missing: Vec<usize> = self
            .layout
            .sealed_to_blocks(stripe, sealed)
            .into_iter()
            .map(|(chunk, _)| chunk)
            .filter(|chunk| blocks.get(*chunk, stripe).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let shards: Vec<Option<&[u8]>> = (0..blocks.by_chunk.len())
            .map(|chunk| blocks.get(chunk, stripe).map(|block| &block[..]))
            .collect();
        let rebuilt = code.rebuild(&shards, &missing)?;
        Ok(missing.into_iter().zip(rebuilt).collect())
    }

    fn row_error(&self, what: &'static str) -> SegmentError {
        SegmentError::Row { segment: self.segment.id, what }
    }
}

/// The layout of a segment, once its row is found to make sense.
pub(crate) fn layout_of(segment: &Segment) -> Result<SegmentLayout, SegmentError> {
    let what = if segment.length == 0 || segment.length > grid_types::SEGMENT_BYTES_MAX {
        "its length is not that of a segment"
    } else if segment.block_packets == 0 || segment.profile.data_chunks() == 0 {
        "its blocks are empty"
    } else if segment.drives.len() != segment.profile.total_chunks() {
        "its profile and its list of drives differ in length"
    } else {
        return Ok(SegmentLayout::new(segment.length, segment.profile.data_chunks(), segment.block_packets));
    };
    Err(SegmentError::Row { segment: segment.id, what })
}

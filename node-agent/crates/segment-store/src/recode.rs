//! Re-coding: the same ciphertext in another profile, under a fresh segment id. Needs no key: the seal id stays, and with it
//! everything that the packets, the identity in the headers and the object record in the footer are bound to.

use bytes::Bytes;
use chunk_store::{ChunkError, ChunkHeader};
use codec::{ErasureCode, SegmentLayout};
use futures_util::future::try_join_all;
use grid_types::{ChunkKey, Profile, ProfileChoice, SMALL_BYTES_MAX, Segment, SegmentId};

use crate::chunk_set::SetSpec;
use crate::fetch::{Blocks, Sources};
use crate::open::layout_of;
use crate::refused::Refused;
use crate::stripes::StripeWriter;
use crate::{SegmentError, SegmentStore, writer};

/// No chunk has this index: none is to be asked last.
const NO_CHUNK: u8 = u8::MAX;

impl SegmentStore {
    /// Writes the segment once more as `profile`, over the grid as it is now: reads any k good chunks stripe by stripe,
    /// codes, writes, syncs an ack set as a write does, and re-reads every new chunk. The result names only what was synced
    /// and is in no row yet: the caller puts it into the row by compare-and-set, or has it reaped.
    ///
    /// Takes a few stripes of memory. Dropping the future leaves nothing, or whole chunks that no row names.
    pub async fn recode(&self, segment: &Segment, profile: Profile) -> Result<Segment, SegmentError> {
        if profile.data_chunks() == 0 || profile.total_chunks() == 0 {
            let what = "it cannot be re-coded to no chunks at all";
            return Err(SegmentError::Row { segment: segment.id, what });
        }
        let choice = ProfileChoice::Fixed(profile);
        let new = self.write_again(segment, choice, profile, &mut Refused::default()).await?;
        if let Err(error) = self.verify(&new).await {
            self.discard(std::slice::from_ref(&new)).await;
            return Err(error.into());
        }
        Ok(new)
    }

    /// As `recode`, but what the choice comes to when drives refuse is taken too, and nothing is re-read. Drives that
    /// refused or failed are in `refused` afterwards.
    pub(crate) async fn write_again(
        &self,
        segment: &Segment,
        choice: ProfileChoice,
        expected: Profile,
        refused: &mut Refused,
    ) -> Result<Segment, SegmentError> {
        let layout = layout_of(segment)?;
        let info = self.info_of_another(segment, NO_CHUNK).await?;
        let id = SegmentId::from(self.shared.random.id());
        let header = ChunkHeader {
            chunk: ChunkKey { segment: id, index: 0 },
            seal_id: segment.seal_id,
            profile: expected,
            cipher: segment.cipher,
            compression: segment.compression,
            key_generation: segment.key_generation,
            block_packets: segment.block_packets,
            plain_len: segment.length,
            sealed: info.header.sealed.clone(),
        };
        let old = ChunkHeader { chunk: header.chunk, profile: expected, ..info.header };
        if old != header {
            let what = "its chunks say something else of it than its row";
            return Err(SegmentError::Row { segment: segment.id, what });
        }
        let spec = SetSpec {
            choice,
            small: segment.length <= SMALL_BYTES_MAX,
            expected,
            header: ChunkHeader { plain_len: 0, ..header },
            plain_len_max: segment.length,
            // The old one is there still, to begin anew from.
            rescuable: false,
        };
        let mut source = Sealed {
            sources: Sources::new(self.shared.clone(), segment.clone(), layout),
            layout,
            code: self.shared.code(segment.profile)?,
            copies: matches!(segment.profile, Profile::Copies(_)),
            batch: self.rebuild_batch(&layout),
            held: None,
            rebuilt: None,
            segment: segment.id,
        };
        let read = source.memory_max();
        let mut stripes = StripeWriter::begin(&self.shared, id, &spec, refused, read).await?;
        if let Err(error) = copy_all(&mut source, segment, &mut stripes).await {
            refused.add(stripes.set.lost);
            return Err(error);
        }
        let set = stripes.set;
        let profile = set.profile;
        match set.finish(segment.length, &info.footer).await {
            Ok(drives) => Ok(writer::segment(&spec.header, segment.length, id, profile, drives)),
            Err(failed) => {
                refused.add(failed.lost);
                Err(failed.error)
            }
        }
    }

    /// Reads every chunk where it lies.
    async fn verify(&self, segment: &Segment) -> Result<(), ChunkError> {
        let verified = segment.chunks().map(|(chunk, id)| async move {
            match self.shared.drives.drive(id) {
                Some(drive) => drive.verify(chunk).await,
                // It went away between the sync and now.
                None => Err(ChunkError::Missing { drive: id, chunk }),
            }
        });
        try_join_all(verified).await.map(drop)
    }
}

/// The whole stream into the stripes of the new chunks.
async fn copy_all(
    source: &mut Sealed,
    segment: &Segment,
    stripes: &mut StripeWriter,
) -> Result<(), SegmentError> {
    let target = SegmentLayout::new(segment.length, stripes.set.profile.data_chunks(), segment.block_packets);
    for stripe in 0..target.stripes() {
        let range = target.stripe_sealed_range(stripe);
        // A stripe is at most 32 blocks of 255 packets: fits every usize.
        let len = (range.end - range.start) as usize;
        let mut buffer = stripes.next_buffer().await?;
        source.copy(range.start, &mut buffer.as_mut()[..len]).await?;
        stripes.push(buffer, len).await?;
    }
    Ok(())
}

/// The sealed stream of a segment, read front to back.
struct Sealed {
    sources: Sources,
    layout: SegmentLayout,
    code: Option<ErasureCode>,
    copies: bool,
    /// Stripes of one read.
    batch: u64,
    /// The stripes read last.
    held: Option<Blocks>,
    /// Data blocks of one of them that had to be computed.
    rebuilt: Option<(u64, Vec<(usize, Bytes)>)>,
    segment: SegmentId,
}

impl Sealed {
    /// What it may hold at once: the blocks of a batch, and as much again for what a hedge brings twice.
    fn memory_max(&self) -> u64 {
        2 * self.batch * self.layout.block_len(0) * (self.layout.k + 1)
    }

    /// Fills `into` with the bytes from `at` on; all of them lie within the stream.
    async fn copy(&mut self, mut at: u64, mut into: &mut [u8]) -> Result<(), SegmentError> {
        while !into.is_empty() {
            let stripe = at / self.layout.full_stripe_len();
            self.load(stripe).await?;
            let whole = self.layout.stripe_sealed_range(stripe);
            let end = whole.end.min(at + into.len() as u64);
            for (chunk, range) in self.layout.sealed_to_blocks(stripe, at..end) {
                let block = self.block(stripe, chunk)?;
                let piece = &block[range.start as usize..range.end as usize];
                let (now, rest) = into.split_at_mut(piece.len());
                now.copy_from_slice(piece);
                into = rest;
            }
            at = end;
        }
        Ok(())
    }

    async fn load(&mut self, stripe: u64) -> Result<(), SegmentError> {
        let held = self.held.as_ref().map(|blocks| blocks.first..blocks.first + self.batch);
        if held.is_some_and(|held| held.contains(&stripe)) {
            return Ok(());
        }
        // The old ones first, so that two batches never lie side by side.
        self.held = None;
        self.rebuilt = None;
        let stripes = stripe..self.layout.stripes().min(stripe + self.batch);
        let data: Vec<usize> = (0..self.layout.k as usize).collect();
        self.held = Some(self.sources.fetch(stripes, &data, &[]).await?);
        Ok(())
    }

    /// A data block of a stripe that is held; for copies that of any copy.
    fn block(&mut self, stripe: u64, chunk: usize) -> Result<Bytes, SegmentError> {
        let missing =
            SegmentError::Row { segment: self.segment, what: "a block was neither read nor rebuilt" };
        let Some(held) = &self.held else { return Err(missing) };
        let all = 0..held.by_chunk.len();
        let read = if self.copies {
            all.clone().find_map(|copy| held.get(copy, stripe))
        } else {
            held.get(chunk, stripe)
        };
        if let Some(block) = read {
            return Ok(block.clone());
        }
        if self.rebuilt.as_ref().is_none_or(|(of, _)| *of != stripe) {
            let Some(code) = &self.code else { return Err(missing) };
            let lost: Vec<usize> =
                (0..self.layout.k as usize).filter(|chunk| held.get(*chunk, stripe).is_none()).collect();
            let shards: Vec<Option<&[u8]>> =
                all.map(|chunk| held.get(chunk, stripe).map(|block| &block[..])).collect();
            let blocks = code.rebuild(&shards, &lost)?.into_iter().map(Bytes::from);
            self.rebuilt = Some((stripe, lost.into_iter().zip(blocks).collect()));
        }
        let rebuilt = self.rebuilt.iter().flat_map(|(_, blocks)| blocks);
        rebuilt.filter(|(index, _)| *index == chunk).map(|(_, block)| block.clone()).next().ok_or(missing)
    }
}

//! Rebuilding lost or rotten chunks from the others: works on ciphertext, needs no key.

use std::ops::Range;

use bytes::Bytes;
use chunk_store::{ChunkHeader, ChunkInfo};
use codec::{ErasureCode, FrameHasher, SegmentLayout};
use grid_types::{ChunkKey, DriveId, Segment};

use crate::fetch::Sources;
use crate::open::layout_of;
use crate::remote::DriveWriter;
use crate::{SegmentError, SegmentStore};

impl SegmentStore {
    /// Rebuilds chunk `index` onto `target`: reads any k good chunks, codes, writes, syncs, re-reads. The new chunk is
    /// not in the row yet: the caller relocates or reaps.
    ///
    /// Dropping the future leaves nothing, or a whole chunk that no row names.
    pub async fn rebuild_chunk(
        &self,
        segment: &Segment,
        index: u8,
        target: DriveId,
    ) -> Result<(), SegmentError> {
        let layout = layout_of(segment)?;
        let wrong = |what| SegmentError::Row { segment: segment.id, what };
        if usize::from(index) >= segment.profile.total_chunks() {
            return Err(wrong("it has no such chunk"));
        }
        let drive = self.shared.drives.drive(target).ok_or_else(|| wrong("the target drive is not known"))?;
        let code = self.shared.code(segment.profile)?;
        let sources = Sources::new(self.shared.clone(), segment.clone(), layout);
        // A stripe's blocks, the rebuilt one, and what the target has not written yet.
        let stripe = layout.full_block_len() * (segment.profile.data_chunks() as u64 + 1);
        let _memory = self.shared.memory(2 * stripe * self.rebuild_batch(&layout)).await?;
        let info = self.info_of_another(segment, index).await?;
        let chunk = ChunkKey { segment: segment.id, index };
        let header = ChunkHeader { chunk, plain_len: 0, ..info.header };
        let mut writer = drive.begin(header, layout.chunk_payload_len()).await?;
        let hasher = FrameHasher::new(chunk);
        let replaced = segment.drives[usize::from(index)] == Some(target);
        let mut next = 0;
        while next < layout.stripes() {
            let stripes = next..layout.stripes().min(next + self.rebuild_batch(&layout));
            next = stripes.end;
            copy_stripes(&sources, segment, code.as_ref(), index, replaced, stripes, &hasher, &mut writer)
                .await?;
        }
        writer.finish(segment.length, info.footer).await?;
        Ok(drive.verify(chunk).await?)
    }

    pub(crate) fn rebuild_batch(&self, layout: &SegmentLayout) -> u64 {
        let config = &self.shared.config;
        (config.read_ahead_bytes / layout.full_stripe_len()).clamp(1, config.read_ahead_stripes.max(1) as u64)
    }

    /// Header and footer are the same in all chunks but for the index; the first chunk whose own are good gives them,
    /// the one to be rebuilt last.
    pub(crate) async fn info_of_another(
        &self,
        segment: &Segment,
        index: u8,
    ) -> Result<ChunkInfo, SegmentError> {
        let mut chunks: Vec<(ChunkKey, DriveId)> = segment.chunks().collect();
        chunks.sort_by_key(|(chunk, _)| chunk.index == index);
        let mut away = 0;
        for (chunk, drive) in chunks {
            let Some(drive) = self.shared.drives.drive(drive) else {
                away += 1;
                continue;
            };
            match drive.info(chunk).await {
                Ok(info)
                    if info.header.seal_id == segment.seal_id && info.header.plain_len == segment.length =>
                {
                    return Ok(info);
                }
                Ok(_) => tracing::error!(%chunk, "chunk is of another seal id or length than its row says"),
                Err(error) => tracing::warn!(%chunk, %error, "no header from this chunk"),
            }
        }
        Err(SegmentError::Lost { segment: segment.id, good: 0, needed: segment.profile.data_chunks(), away })
    }
}

async fn copy_stripes(
    sources: &Sources,
    segment: &Segment,
    code: Option<&ErasureCode>,
    index: u8,
    replaced: bool,
    stripes: Range<u64>,
    hasher: &FrameHasher,
    writer: &mut DriveWriter,
) -> Result<(), SegmentError> {
    let wanted = usize::from(index);
    // A chunk that is only to be moved is read itself; where that fails, and where it is to be replaced, others serve.
    let without: &[u8] = if replaced { &[index] } else { &[] };
    let blocks = sources.fetch(stripes.clone(), &[wanted], without).await?;
    for stripe in stripes {
        let any_copy = || (0..blocks.by_chunk.len()).find_map(|copy| blocks.get(copy, stripe));
        let block = match (blocks.get(wanted, stripe), code) {
            (Some(block), _) => block.clone(),
            (None, None) => any_copy()
                .cloned()
                .ok_or(SegmentError::Row { segment: segment.id, what: "no copy has this block" })?,
            (None, Some(code)) => {
                let shards: Vec<Option<&[u8]>> = (0..blocks.by_chunk.len())
                    .map(|chunk| blocks.get(chunk, stripe).map(|block| &block[..]))
                    .collect();
                Bytes::from(code.rebuild(&shards, &[wanted])?.swap_remove(0))
            }
        };
        writer.write_frame(hasher.hash(stripe, &block), vec![block]).await?;
    }
    Ok(())
}

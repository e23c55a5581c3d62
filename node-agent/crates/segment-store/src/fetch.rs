//! Getting the blocks of some stripes from any k chunks: the best ones first, others when one fails or is slow.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::ChunkError;
use codec::SegmentLayout;
use futures_util::stream::{FuturesUnordered, StreamExt};
use grid_types::{ChunkKey, DriveState, Segment};
use tokio::time::timeout;

use crate::SegmentError;
use crate::remote::DriveHandle;
use crate::store::Shared;

/// How much a data chunk is preferred over parity, in points of the read score: decoding costs less than a slow drive.
const DATA_CHUNK_BONUS: u32 = 20;
/// More than any score and the bonus above: drives of this node come first, they cost no network.
const LOCAL_BONUS: u32 = 200;

/// One chunk that can be asked now.
struct Source {
    chunk: ChunkKey,
    drive: DriveHandle,
    rank: u32,
}

/// The chunks of one segment as they can be asked now, best first.
pub(crate) struct Sources {
    shared: Arc<Shared>,
    segment: Segment,
    layout: SegmentLayout,
    ranked: Vec<Source>,
    /// Chunks whose drive is not here or takes no reads.
    away: usize,
}

/// Blocks of a range of stripes: `blocks[chunk][stripe - first]`, `None` for chunks that were not needed or not read.
pub(crate) struct Blocks {
    pub first: u64,
    pub by_chunk: Vec<Option<Vec<Bytes>>>,
}

impl Sources {
    pub fn new(shared: Arc<Shared>, segment: Segment, layout: SegmentLayout) -> Self {
        let grid = shared.grid.load();
        let k = segment.profile.data_chunks();
        let mut away = 0;
        let mut ranked: Vec<Source> = Vec::with_capacity(segment.drives.len());
        for (chunk, drive_id) in segment.chunks() {
            let snapshot = grid.drive(drive_id);
            let score = snapshot.map_or(0, |drive| u32::from(drive.read_score.get()));
            let readable = snapshot.is_none_or(|drive| drive.readable());
            let Some(drive) = shared.drives.drive(drive_id) else {
                away += 1;
                continue;
            };
            // A drive that should not be read, that is missing or slow, or whose node was silent a moment ago, is still
            // better than no bytes: last in line.
            let doubtful = snapshot.is_some_and(|drive| drive.state == DriveState::Suspect)
                || (!drive.is_local() && drive.out_of_service().is_some());
            let rank = if !readable || doubtful {
                0
            } else {
                let data = if k > 1 && usize::from(chunk.index) < k { DATA_CHUNK_BONUS } else { 0 };
                let local = if drive.is_local() { LOCAL_BONUS } else { 0 };
                1 + score + data + local
            };
            ranked.push(Source { chunk, drive, rank });
        }
        // Copies of equal rank take turns, so that segments spread over the drives.
        let turn = usize::from(segment.id.as_bytes()[15]);
        if k == 1 && !ranked.is_empty() {
            let by = turn % ranked.len();
            ranked.rotate_left(by);
        }
        ranked.sort_by_key(|source| std::cmp::Reverse(source.rank));
        Self { shared, segment, layout, ranked, away }
    }

    /// Reads the blocks of `stripes`: of the chunks in `needed` (for copies: of any) where that works, else of any k.
    /// `without` are chunks not to be asked. Safe to drop.
    pub async fn fetch(
        &self,
        stripes: Range<u64>,
        needed: &[usize],
        without: &[u8],
    ) -> Result<Blocks, SegmentError> {
        match self.fetch_all(stripes.clone(), needed, without).await {
            Err(SegmentError::Lost { .. }) if stripes.end - stripes.start > 1 => {}
            result => return result,
        }
        // Chunks may be rotten in different stripes: each stripe by itself may still have k good blocks.
        let mut all = Blocks { first: stripes.start, by_chunk: vec![None; self.segment.drives.len()] };
        for stripe in stripes.clone() {
            let one = self.fetch_all(stripe..stripe + 1, needed, without).await?;
            let behind = (stripe - stripes.start) as usize;
            for (all, one) in all.by_chunk.iter_mut().zip(one.by_chunk) {
                // A stripe without this chunk's block has an empty one: blocks are never empty otherwise.
                let block = one.and_then(|blocks| blocks.into_iter().next());
                match (all.as_mut(), block) {
                    (Some(all), block) => all.push(block.unwrap_or_default()),
                    (None, Some(block)) => {
                        let mut blocks = vec![Bytes::new(); behind];
                        blocks.push(block);
                        *all = Some(blocks);
                    }
                    (None, None) => {}
                }
            }
        }
        Ok(all)
    }

    async fn fetch_all(
        &self,
        stripes: Range<u64>,
        needed: &[usize],
        without: &[u8],
    ) -> Result<Blocks, SegmentError> {
        let k = self.segment.profile.data_chunks();
        let mut by_chunk: Vec<Option<Vec<Bytes>>> = vec![None; self.segment.drives.len()];
        let usable = self.ranked.iter().filter(|source| !without.contains(&source.chunk.index));
        // Of chunks in good standing only those with wanted bytes are asked; else, and for copies, any k.
        let is_needed = |source: &&Source| needed.contains(&usize::from(source.chunk.index));
        let direct = k > 1
            && usable.clone().filter(is_needed).filter(|source| source.rank > 0).count() == needed.len();
        let (mut to_ask, mut in_reserve): (Vec<&Source>, Vec<&Source>) = if direct {
            usable.partition(is_needed)
        } else {
            let mut usable: Vec<&Source> = usable.collect();
            let reserve = usable.split_off(k.min(usable.len()));
            (usable, reserve)
        };
        in_reserve.reverse();
        let mut reads = FuturesUnordered::new();
        let (mut have, mut failed) = (0, 0);
        let config = &self.shared.config;
        let mut delay = config.hedge_min;
        loop {
            for source in to_ask.drain(..) {
                let p95 = Duration::from_micros(source.drive.read_p95_us());
                delay = delay.max(p95.min(config.hedge_max));
                let (drive, chunk) = (source.drive.clone(), source.chunk);
                let (first, count) = (stripes.start, stripes.end - stripes.start);
                reads.push(async move { (chunk, drive.id(), drive.read_frames(chunk, first, count).await) });
            }
            let next = if in_reserve.is_empty() {
                reads.next().await
            } else {
                match timeout(delay, reads.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        // Without those that are late: as many others as make k with what is here.
                        let more = (k - have).min(in_reserve.len());
                        to_ask.extend(in_reserve.drain(in_reserve.len() - more..).rev());
                        continue;
                    }
                }
            };
            match next {
                Some((chunk, drive, Ok(blocks))) => match self.checked(blocks, &stripes) {
                    Some(blocks) => {
                        by_chunk[usize::from(chunk.index)] = Some(blocks);
                        have += 1;
                    }
                    None => self.shared.damaged.note(chunk, drive),
                },
                Some((chunk, drive, Err(error))) => {
                    tracing::debug!(%chunk, %drive, %error, "chunk not read");
                    failed += usize::from(!rotten(&error));
                    if worth_a_repair(&error) {
                        self.shared.damaged.note(chunk, drive);
                    }
                }
                None => {
                    return Err(SegmentError::Lost {
                        segment: self.segment.id,
                        good: have,
                        needed: k,
                        away: self.away + failed,
                    });
                }
            }
            let satisfied = have >= k || needed.iter().all(|index| by_chunk[*index].is_some());
            if satisfied {
                return Ok(Blocks { first: stripes.start, by_chunk });
            }
            let more = k.saturating_sub(have + reads.len()).min(in_reserve.len());
            let only_direct_left = direct && failed_none(&by_chunk, needed, reads.len());
            if !only_direct_left {
                to_ask.extend(in_reserve.drain(in_reserve.len() - more..).rev());
            }
        }
    }

    /// Blocks of the lengths that the row promises; a chunk that says otherwise belongs to another segment or release.
    fn checked(&self, blocks: Vec<Bytes>, stripes: &Range<u64>) -> Option<Vec<Bytes>> {
        let fits = blocks.len() as u64 == stripes.end - stripes.start
            && blocks
                .iter()
                .zip(stripes.clone())
                .all(|(block, stripe)| block.len() as u64 == self.layout.block_len(stripe));
        fits.then_some(blocks)
    }
}

/// True while every needed chunk is either here or still being read: then nothing else has to be asked.
fn failed_none(by_chunk: &[Option<Vec<Bytes>>], needed: &[usize], reading: usize) -> bool {
    needed.iter().filter(|index| by_chunk[**index].is_none()).count() <= reading
}

/// The chunk itself is gone or bad, and waiting for its drive will not help.
fn rotten(error: &ChunkError) -> bool {
    matches!(error, ChunkError::Missing { .. } | ChunkError::Corrupt { .. })
}

/// A drive that is out of service is the business of whoever watches drives, not of the repair of one chunk.
fn worth_a_repair(error: &ChunkError) -> bool {
    rotten(error) || matches!(error, ChunkError::Io { .. })
}

impl Blocks {
    /// The block of a chunk in a stripe, if it was read.
    pub fn get(&self, chunk: usize, stripe: u64) -> Option<&Bytes> {
        let blocks = self.by_chunk[chunk].as_ref()?;
        blocks.get((stripe - self.first) as usize).filter(|block| !block.is_empty())
    }
}

//! Stripes on their way to the drives: buffers out of a bounded window, coded, handed to the chunks frame by frame.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codec::{ErasureCode, SegmentLayout};
use grid_types::{BLOCK_PACKETS_DEFAULT, MemoryPermit, PACK_CHUNK_BYTES_MAX, Profile, SegmentId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::SegmentError;
use crate::buffers::{Held, StripeBuffer};
use crate::chunk_set::{ChunkSet, SetSpec};
use crate::refused::Refused;
use crate::store::Shared;

/// Frames that the chunk store gathers for one write to a file.
const FRAMES_HELD_BY_FILES: u64 = 2;

/// The open chunks of one attempt with the stripes that are on their way to them.
pub(crate) struct StripeWriter {
    shared: Arc<Shared>,
    pub set: ChunkSet,
    pub code: Option<ErasureCode>,
    pub memory: Arc<MemoryPermit>,
    stripe_bytes: usize,
    window: Arc<Semaphore>,
    window_stripes: usize,
    /// Stripes handed out: the number of the next frame.
    frames: u64,
}

impl StripeWriter {
    /// Opens the chunks, once there is memory for the window and for `more` bytes that the caller needs beside it.
    pub async fn begin(
        shared: &Arc<Shared>,
        id: SegmentId,
        spec: &SetSpec,
        refused: &mut Refused,
        more: u64,
    ) -> Result<Self, SegmentError> {
        // Memory first, by the profile to be expected: who waits in line for it holds no open chunk.
        let (stripe_bytes, window_stripes) = window(shared, spec.expected, spec, None);
        let memory = shared.memory(stripe_bytes as u64 * window_stripes as u64 + more).await?;
        let set = ChunkSet::begin(shared, id, spec, refused).await?;
        // Drives that refused may have led to another profile, whose buffers have another shape.
        let (stripe_bytes, window_stripes) = window(shared, set.profile, spec, Some(set.frames_held_max()));
        Ok(Self {
            code: shared.code(set.profile)?,
            set,
            memory: Arc::new(memory),
            stripe_bytes,
            window: Arc::new(Semaphore::new(window_stripes)),
            window_stripes,
            frames: 0,
            shared: shared.clone(),
        })
    }

    /// Stripes handed out so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Codes a sealed stripe and hands its frames out.
    pub async fn push(&mut self, buffer: StripeBuffer, sealed: usize) -> Result<(), SegmentError> {
        let (_, blocks) = cut_blocks(buffer, sealed, self.set.profile, self.code.as_ref())?;
        let frame = self.frames;
        self.frames += 1;
        self.set.push(frame, &blocks).await
    }

    /// A buffer for a whole stripe, once the window has room. When the ack set has written what it was given and a slow
    /// drive alone keeps the window shut for too long, that drive is cut off and its buffers are given up for a fresh
    /// window. So is one that the ack set cannot do without, when it has not moved for much longer and the segment can be
    /// written once more without it.
    pub async fn next_buffer(&mut self) -> Result<StripeBuffer, SegmentError> {
        let mut stalled = Duration::ZERO;
        let permit = loop {
            if let Ok(permit) = self.window.clone().try_acquire_owned() {
                break permit;
            }
            let laggards = self.set.laggards();
            let begun = Instant::now();
            let permit = timeout(self.set.lag_step(), self.window.clone().acquire_owned()).await;
            let waited = begun.elapsed();
            if self.set.blame(&laggards, waited) {
                self.window = Arc::new(Semaphore::new(self.window_stripes));
                continue;
            }
            // The semaphore is never closed, so an error is the end of the step.
            if let Ok(Ok(permit)) = permit {
                break permit;
            }
            stalled += waited;
            if stalled >= self.shared.config.stuck_max && self.set.cut_off_stuck() {
                self.window = Arc::new(Semaphore::new(self.window_stripes));
                continue;
            }
            if stalled >= self.shared.config.stall_max {
                return Err(self.set.too_few(0));
            }
        };
        let held = Held::window(&self.memory, permit);
        Ok(self.shared.buffers.take(self.stripe_bytes, held))
    }
}

/// Bytes of a stripe buffer (all blocks of the first stripe, which is the largest; copies share one block), and how
/// many of them a writer may have in flight. `frames_held` is what a drive may hold before it writes any; before the
/// chunks are open it is guessed, and a guess that is too low costs accounting, not progress.
fn window(shared: &Shared, profile: Profile, spec: &SetSpec, frames_held: Option<usize>) -> (usize, usize) {
    let layout = SegmentLayout::new(spec.plain_len_max, profile.data_chunks(), spec.header.block_packets);
    let blocks = if matches!(profile, Profile::Copies(_)) { 1 } else { profile.total_chunks() as u64 };
    let stripe = layout.block_len(0) * blocks;
    let packed = layout.chunk_payload_len() <= PACK_CHUNK_BYTES_MAX;
    let held = match frames_held {
        Some(frames) => frames as u64,
        None if packed => layout.stripes(),
        None => FRAMES_HELD_BY_FILES,
    };
    // One is filled while the drive holds the others.
    let least = held.saturating_add(1).max(2);
    let most = least.max(shared.config.lag_frames_max as u64 + 1);
    let stripes = (shared.config.write_buffer_bytes / stripe).clamp(least, most).min(layout.stripes());
    // At most 32 blocks of 255 packets, and no more stripes than a segment has: both fit every usize.
    (stripe as usize, stripes as usize)
}

/// Pads the last block, computes the parity behind it, and slices the blocks, without a copy. Returns the whole buffer,
/// which begins with the sealed bytes, and the blocks: one for copies, else k + m, for which `buffer` has room.
pub(crate) fn cut_blocks(
    mut buffer: StripeBuffer,
    sealed: usize,
    profile: Profile,
    code: Option<&ErasureCode>,
) -> Result<(Bytes, Vec<Bytes>), SegmentError> {
    let Some(code) = code else {
        let stripe = buffer.freeze();
        return Ok((stripe.clone(), vec![stripe.slice(..sealed)]));
    };
    let (k, total) = (profile.data_chunks(), profile.total_chunks());
    let block = sealed.div_ceil(k);
    let bytes = &mut buffer.as_mut()[..total * block];
    // The buffer was used before: padding must not carry old bytes.
    bytes[sealed..k * block].fill(0);
    let (data, parity) = bytes.split_at_mut(k * block);
    let data: Vec<&[u8]> = data.chunks(block).collect();
    let mut parity: Vec<&mut [u8]> = parity.chunks_mut(block).collect();
    code.encode(&data, &mut parity)?;
    let stripe = buffer.freeze();
    let blocks = (0..total).map(|index| stripe.slice(index * block..(index + 1) * block)).collect();
    Ok((stripe, blocks))
}

/// The blocks of a whole sealed stream of `plain_len` bytes of plaintext, stripe by stripe. The fewer data chunks, the more
/// stripes there are.
pub(crate) fn cut_stream(
    shared: &Shared,
    memory: &Arc<MemoryPermit>,
    stream: &Bytes,
    plain_len: u64,
    profile: Profile,
) -> Result<Vec<Vec<Bytes>>, SegmentError> {
    let code = shared.code(profile)?;
    let (k, total) = (profile.data_chunks(), profile.total_chunks());
    let layout = SegmentLayout::new(plain_len, k, BLOCK_PACKETS_DEFAULT);
    let cut = |stripe| {
        // All of it lies in memory, so its places fit.
        let range = layout.stripe_sealed_range(stripe);
        let part = stream.slice(range.start as usize..range.end as usize);
        if code.is_none() {
            return Ok(vec![part]);
        }
        let len = part.len().div_ceil(k) * total;
        let mut buffer = shared.buffers.take(len, Held::memory(memory));
        buffer.as_mut()[..part.len()].copy_from_slice(&part);
        Ok(cut_blocks(buffer, part.len(), profile, code.as_ref())?.1)
    };
    (0..layout.stripes()).map(cut).collect()
}

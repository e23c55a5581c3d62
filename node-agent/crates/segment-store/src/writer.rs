//! One segment being written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::ChunkHeader;
use codec::{ErasureCode, SealContext, Sealer, SegmentKey, SegmentLayout, choose_cipher};
use grid_types::{
    BLOCK_PACKETS_DEFAULT, ChunkKey, Compression, DriveId, MemoryPermit, PACK_CHUNK_BYTES_MAX,
    PACKET_PLAIN_BYTES, PACKET_TAG_BYTES, Profile, ProfileChoice, SEGMENT_BYTES_MAX, SMALL_BYTES_MAX,
    Segment, SegmentId,
};
use keyring::BucketKey;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::SegmentError;
use crate::buffers::{Held, StripeBuffer};
use crate::chunk_set::{ChunkSet, Refused, SetSpec};
use crate::format::{self, SegmentIdentity};
use crate::store::Shared;

/// Plaintext bytes of a packet, as a slice length.
const PACKET: usize = PACKET_PLAIN_BYTES as usize;
/// Bytes of a tag, as a slice length.
const TAG: usize = PACKET_TAG_BYTES as usize;

/// Frames that the chunk store gathers for one write to a file.
const FRAMES_HELD_BY_FILES: u64 = 2;

/// What a writer needs to know before the first byte.
#[derive(Clone)]
pub struct SegmentSpec {
    /// Seals it.
    pub bucket_key: BucketKey,
    /// Sealed into the chunk headers.
    pub identity: SegmentIdentity,
    /// What the user asked for.
    pub profile: ProfileChoice,
    /// Plaintext bytes at most (exact where the client announced a length); ≤ `SEGMENT_BYTES_MAX`. Decides
    /// small or large in the table of `auto`, and pack or file.
    pub plain_len_max: u64,
}

/// One segment being written. Dropping it leaves only unpublished bytes, which the drives remove.
pub struct SegmentWriter {
    shared: Arc<Shared>,
    bucket_key: BucketKey,
    set_spec: SetSpec,
    set: ChunkSet,
    placed: Vec<Option<DriveId>>,
    refused: Refused,
    code: Option<ErasureCode>,
    sealer: Sealer,
    stripe_packets: u64,
    stripe_bytes: usize,
    memory: Arc<MemoryPermit>,
    window: Arc<Semaphore>,
    window_stripes: usize,
    stripe: Option<Filling>,
    /// Stripes handed out: the number of the next frame.
    frames: u64,
    /// Plaintext bytes taken.
    taken: u64,
}

/// The stripe that plaintext is gathered in. Packets lie one behind the other, each with room for its tag; all but the
/// one being filled are sealed.
struct Filling {
    buffer: StripeBuffer,
    /// Number of the packet being filled, within the segment.
    packet: u64,
    /// Where that packet begins in the buffer.
    start: usize,
    /// Plaintext bytes in it.
    filled: usize,
}

impl SegmentWriter {
    pub(crate) async fn begin(shared: Arc<Shared>, spec: SegmentSpec) -> Result<Self, SegmentError> {
        let announced = spec.plain_len_max;
        if announced == 0 || announced > SEGMENT_BYTES_MAX {
            return Err(SegmentError::Length { given: announced, announced: SEGMENT_BYTES_MAX });
        }
        let id = SegmentId::from(shared.random.id());
        let grid = shared.grid.load();
        let cipher = choose_cipher(grid.all_have_aes, shared.config.cipher_override);
        let compression = Compression::None;
        let sealer = Sealer::new(
            &SegmentKey::new(spec.bucket_key.segment_key(id)),
            SealContext { cipher, compression, seal_id: id },
        );
        let small = announced <= SMALL_BYTES_MAX;
        let expected = placement::profile_for(spec.profile, small, &grid, shared.config.accept_degraded)?;
        let set_spec = SetSpec {
            choice: spec.profile,
            small,
            expected,
            header: ChunkHeader {
                chunk: ChunkKey { segment: id, index: 0 },
                seal_id: id,
                profile: Profile::Copies(1),
                cipher,
                compression,
                key_generation: spec.bucket_key.generation(),
                block_packets: BLOCK_PACKETS_DEFAULT,
                plain_len: 0,
                sealed: format::seal_identity(&spec.bucket_key, id, &spec.identity, &*shared.random),
            },
            plain_len_max: announced,
        };
        // Memory first, by the profile to be expected: who waits in line for it holds no open chunk.
        let (stripe_bytes, window_stripes) = window(&shared, expected, announced, None);
        let memory = shared.memory(stripe_bytes as u64 * window_stripes as u64).await?;
        let mut refused = Refused::default();
        let set = ChunkSet::begin(&shared, id, &set_spec, &mut refused).await?;
        // Drives that refused may have led to another profile, whose buffers have another shape.
        let (stripe_bytes, window_stripes) =
            window(&shared, set.profile, announced, Some(set.frames_held_max()));
        let layout = SegmentLayout::new(announced, set.profile.data_chunks(), BLOCK_PACKETS_DEFAULT);
        Ok(Self {
            code: shared.code(set.profile)?,
            bucket_key: spec.bucket_key,
            set_spec,
            placed: set.drives(),
            set,
            refused,
            sealer,
            stripe_packets: layout.stripe_packets(),
            stripe_bytes,
            memory: Arc::new(memory),
            window: Arc::new(Semaphore::new(window_stripes)),
            window_stripes,
            stripe: None,
            frames: 0,
            taken: 0,
            shared,
        })
    }

    /// Takes plaintext; waits at the pace of the ack set. Never more than `plain_len_max` in all.
    ///
    /// A writer whose `write` failed or was dropped before it returned is good for nothing but to be dropped.
    pub async fn write(&mut self, plain: Bytes) -> Result<(), SegmentError> {
        let given = self.taken + plain.len() as u64;
        if given > self.set_spec.plain_len_max {
            return Err(SegmentError::Length { given, announced: self.set_spec.plain_len_max });
        }
        self.taken = given;
        let mut rest = &plain[..];
        while !rest.is_empty() {
            let mut stripe = match self.stripe.take() {
                Some(stripe) => stripe,
                None => self.next_stripe().await?,
            };
            if stripe.filled == PACKET {
                // More follows, so this packet is not the last one.
                stripe.seal(&self.sealer, false);
                if stripe.packet.is_multiple_of(self.stripe_packets) {
                    let sealed = stripe.start;
                    self.push(stripe.buffer, sealed).await?;
                    continue;
                }
            }
            let take = rest.len().min(PACKET - stripe.filled);
            let at = stripe.start + stripe.filled;
            stripe.buffer.as_mut()[at..at + take].copy_from_slice(&rest[..take]);
            stripe.filled += take;
            rest = &rest[take..];
            self.stripe = Some(stripe);
        }
        Ok(())
    }

    /// Seals the rest and syncs. `record` (the object record, for a version's last segment) is sealed into the
    /// footers. Returns when the ack set is reached and the others had a short grace; stragglers are dropped and
    /// their index is `None`.
    ///
    /// Dropping the future removes what was synced. A segment of a single stripe that loses its ack set is written
    /// once more on the drives that are left, since its bytes are still here.
    pub async fn finish(mut self, record: Option<Vec<u8>>) -> Result<Segment, SegmentError> {
        let announced = self.set_spec.plain_len_max;
        let Some(mut stripe) = self.stripe.take() else {
            return Err(SegmentError::Length { given: self.taken, announced });
        };
        let seal_id = self.set_spec.header.seal_id;
        let footer = record
            .map(|record| format::seal_record(&self.bucket_key, seal_id, &record, &*self.shared.random))
            .unwrap_or_default();
        stripe.seal(&self.sealer, true);
        let sealed = stripe.start;
        if self.frames > 0 {
            self.push(stripe.buffer, sealed).await?;
            let (id, profile) = (self.set.id, self.set.profile);
            let drives = self.set.finish(self.taken, &footer).await.map_err(|(error, _)| error)?;
            return Ok(segment(&self.set_spec.header, self.taken, id, profile, drives));
        }
        self.finish_single(stripe.buffer, sealed, &footer).await
    }

    /// The whole sealed stream is in one buffer: an attempt that fails is made again elsewhere, under a fresh segment
    /// id and the same seal id, until no drives are left.
    async fn finish_single(
        mut self,
        buffer: StripeBuffer,
        sealed: usize,
        footer: &[u8],
    ) -> Result<Segment, SegmentError> {
        self.set_spec.plain_len_max = self.taken;
        let (mut stream, mut blocks) = cut_blocks(buffer, sealed, self.set.profile, self.code.as_ref())?;
        loop {
            let (id, profile) = (self.set.id, self.set.profile);
            let (error, drives) = match self.set.push(0, &blocks).await {
                Ok(()) => match self.set.finish(self.taken, footer).await {
                    Ok(drives) => return Ok(segment(&self.set_spec.header, self.taken, id, profile, drives)),
                    Err(failed) => failed,
                },
                Err(error) => (error, self.set.lost_drives(&self.placed)),
            };
            if drives.is_empty() {
                return Err(error);
            }
            tracing::warn!(segment = %id, %error, "writing once more, on other drives");
            self.refused.note_failed(drives, &error);
            let next = SegmentId::from(self.shared.random.id());
            self.set = ChunkSet::begin(&self.shared, next, &self.set_spec, &mut self.refused).await?;
            self.placed = self.set.drives();
            if self.set.profile != profile {
                let code = self.shared.code(self.set.profile)?;
                let len = sealed.div_ceil(self.set.profile.data_chunks()) * self.set.profile.total_chunks();
                let held = Held::memory(&self.memory);
                let mut buffer = self.shared.buffers.take(len.max(sealed), held);
                buffer.as_mut()[..sealed].copy_from_slice(&stream[..sealed]);
                (stream, blocks) = cut_blocks(buffer, sealed, self.set.profile, code.as_ref())?;
            }
        }
    }

    /// Codes a sealed stripe and hands its frames out.
    async fn push(&mut self, buffer: StripeBuffer, sealed: usize) -> Result<(), SegmentError> {
        let (_, blocks) = cut_blocks(buffer, sealed, self.set.profile, self.code.as_ref())?;
        let frame = self.frames;
        self.frames += 1;
        self.set.push(frame, &blocks).await
    }

    /// An empty stripe, once the window has room. When the ack set has written what it was given and a slow drive
    /// alone keeps the window shut for too long, that drive is cut off and its buffers are given up for a fresh window.
    async fn next_stripe(&mut self) -> Result<Filling, SegmentError> {
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
            if stalled >= self.shared.config.stall_max {
                return Err(self.set.too_few(0));
            }
        };
        let held = Held::window(&self.memory, permit);
        Ok(Filling {
            buffer: self.shared.buffers.take(self.stripe_bytes, held),
            packet: self.frames * self.stripe_packets,
            start: 0,
            filled: 0,
        })
    }
}

impl Filling {
    /// Seals the packet being filled and moves on to the next.
    fn seal(&mut self, sealer: &Sealer, last: bool) {
        let end = self.start + self.filled + TAG;
        sealer.seal(self.packet, last, &mut self.buffer.as_mut()[self.start..end]);
        self.packet += 1;
        self.start = end;
        self.filled = 0;
    }
}

/// Bytes of a stripe buffer (all blocks of the first stripe, which is the largest; copies share one block), and how
/// many of them a writer may have in flight. `frames_held` is what a drive may hold before it writes any; before the
/// chunks are open it is guessed, and a guess that is too low costs accounting, not progress.
fn window(shared: &Shared, profile: Profile, announced: u64, frames_held: Option<usize>) -> (usize, usize) {
    let layout = SegmentLayout::new(announced, profile.data_chunks(), BLOCK_PACKETS_DEFAULT);
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
fn cut_blocks(
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

fn segment(
    header: &ChunkHeader,
    length: u64,
    id: SegmentId,
    profile: Profile,
    drives: Vec<Option<DriveId>>,
) -> Segment {
    Segment {
        id,
        seal_id: header.seal_id,
        length,
        profile,
        cipher: header.cipher,
        compression: header.compression,
        key_generation: header.key_generation,
        block_packets: header.block_packets,
        drives,
    }
}

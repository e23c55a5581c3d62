//! One segment being written.

use std::sync::Arc;

use bytes::Bytes;
use chunk_store::ChunkHeader;
use codec::{SealContext, Sealer, SegmentKey, SegmentLayout, choose_cipher};
use grid_types::{
    BLOCK_PACKETS_DEFAULT, ChunkKey, Compression, DriveId, MemoryPermit, PACKET_PLAIN_BYTES,
    PACKET_TAG_BYTES, Profile, ProfileChoice, SEGMENT_BYTES_MAX, SMALL_BYTES_MAX, Segment, SegmentId,
};
use keyring::BucketKey;

use crate::SegmentError;
use crate::buffers::{Held, StripeBuffer};
use crate::chunk_set::{ChunkSet, Refused, SetSpec};
use crate::format::{self, SegmentIdentity};
use crate::store::Shared;
use crate::stripes::{StripeWriter, cut_blocks};

/// Plaintext bytes of a packet, as a slice length.
const PACKET: usize = PACKET_PLAIN_BYTES as usize;
/// Bytes of a tag, as a slice length.
const TAG: usize = PACKET_TAG_BYTES as usize;
/// Plaintext of a segment whose sealed bytes are kept until they are synced, so that it can be written once more where its ack
/// set was lost. Larger ones fail, and the client sends them again. 32 writers take 32 MiB for it.
const KEPT_BYTES_MAX: u64 = 1 << 20;

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
    stripes: StripeWriter,
    placed: Vec<Option<DriveId>>,
    refused: Refused,
    sealer: Sealer,
    stripe_packets: u64,
    stripe: Option<Filling>,
    /// Stripes that are complete.
    complete: u64,
    /// Their sealed bytes, where there is more than one stripe and they are kept.
    kept: Option<Vec<u8>>,
    /// The ack set was lost: nothing more is sent until all of the bytes are here.
    lost: Option<(SegmentError, Vec<DriveId>)>,
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
        let mut refused = Refused::default();
        let expected = SegmentLayout::new(announced, expected.data_chunks(), BLOCK_PACKETS_DEFAULT);
        let keep = announced <= KEPT_BYTES_MAX && expected.stripes() > 1;
        let more = if keep { sealed_bytes(announced) } else { 0 };
        let stripes = StripeWriter::begin(&shared, id, &set_spec, &mut refused, more).await?;
        let layout = SegmentLayout::new(announced, stripes.set.profile.data_chunks(), BLOCK_PACKETS_DEFAULT);
        Ok(Self {
            bucket_key: spec.bucket_key,
            set_spec,
            placed: stripes.set.drives(),
            stripes,
            refused,
            sealer,
            stripe_packets: layout.stripe_packets(),
            stripe: None,
            complete: 0,
            kept: keep.then(Vec::new),
            lost: None,
            taken: 0,
            shared,
        })
    }

    #[cfg(test)]
    pub(crate) fn placed(&self) -> Vec<Option<DriveId>> {
        self.placed.clone()
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
    /// Dropping the future removes what was synced. A segment of a single stripe, or of at most `KEPT_BYTES_MAX`, that loses
    /// its ack set is written once more on the drives that are left, since its bytes are still here.
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
        if self.complete > 0 {
            self.push(stripe.buffer, sealed).await?;
            if let Some(stream) = self.kept.take() {
                return self.finish_kept(&stream, &footer).await;
            }
            let set = self.stripes.set;
            let (id, profile) = (set.id, set.profile);
            let drives = set.finish(self.taken, &footer).await.map_err(|(error, _)| error)?;
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
        let StripeWriter { mut set, code, memory, .. } = self.stripes;
        let (mut stream, mut blocks) = cut_blocks(buffer, sealed, set.profile, code.as_ref())?;
        loop {
            let (id, profile) = (set.id, set.profile);
            let (error, drives) = match set.push(0, &blocks).await {
                Ok(()) => match set.finish(self.taken, footer).await {
                    Ok(drives) => return Ok(segment(&self.set_spec.header, self.taken, id, profile, drives)),
                    Err(failed) => failed,
                },
                Err(error) => (error, set.lost_drives(&self.placed)),
            };
            if drives.is_empty() {
                return Err(error);
            }
            tracing::warn!(segment = %id, %error, "writing once more, on other drives");
            self.refused.note_failed(drives, &error);
            let next = SegmentId::from(self.shared.random.id());
            set = ChunkSet::begin(&self.shared, next, &self.set_spec, &mut self.refused).await?;
            self.placed = set.drives();
            if set.profile != profile {
                let code = self.shared.code(set.profile)?;
                let len = sealed.div_ceil(set.profile.data_chunks()) * set.profile.total_chunks();
                let held = Held::memory(&memory);
                let mut buffer = self.shared.buffers.take(len.max(sealed), held);
                buffer.as_mut()[..sealed].copy_from_slice(&stream[..sealed]);
                (stream, blocks) = cut_blocks(buffer, sealed, set.profile, code.as_ref())?;
            }
        }
    }

    /// As `finish_single`, of several stripes whose sealed bytes were kept.
    async fn finish_kept(mut self, stream: &[u8], footer: &[u8]) -> Result<Segment, SegmentError> {
        self.set_spec.plain_len_max = self.taken;
        let StripeWriter { mut set, memory, .. } = self.stripes;
        let mut lost = self.lost.take();
        loop {
            let (id, profile) = (set.id, set.profile);
            let (error, drives) = match lost.take() {
                Some(lost) => lost,
                None => match set.finish(self.taken, footer).await {
                    Ok(drives) => return Ok(segment(&self.set_spec.header, self.taken, id, profile, drives)),
                    Err(failed) => failed,
                },
            };
            if drives.is_empty() {
                return Err(error);
            }
            tracing::warn!(segment = %id, %error, "writing once more, on other drives");
            self.refused.note_failed(drives, &error);
            let next = SegmentId::from(self.shared.random.id());
            set = ChunkSet::begin(&self.shared, next, &self.set_spec, &mut self.refused).await?;
            let placed = set.drives();
            if let Err(error) = push_all(&self.shared, &memory, &mut set, self.taken, stream).await {
                lost = Some((error, set.lost_drives(&placed)));
            }
        }
    }

    /// Hands a sealed stripe out; keeps its bytes where they are kept. Then the loss of the ack set is no error yet.
    async fn push(&mut self, buffer: StripeBuffer, sealed: usize) -> Result<(), SegmentError> {
        self.complete += 1;
        let Some(kept) = &mut self.kept else { return self.stripes.push(buffer, sealed).await };
        kept.extend_from_slice(&buffer.as_ref()[..sealed]);
        if self.lost.is_none()
            && let Err(error) = self.stripes.push(buffer, sealed).await
        {
            self.lost = Some((error, self.stripes.set.lost_drives(&self.placed)));
        }
        Ok(())
    }

    /// An empty stripe, once the window has room.
    async fn next_stripe(&mut self) -> Result<Filling, SegmentError> {
        let packet = self.complete * self.stripe_packets;
        let buffer = match self.lost {
            Some(_) => self.stripes.buffer_outside_window(),
            None => self.stripes.next_buffer().await?,
        };
        Ok(Filling { buffer, packet, start: 0, filled: 0 })
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

/// Sealed bytes of so much plaintext.
fn sealed_bytes(plain: u64) -> u64 {
    plain + plain.div_ceil(PACKET_PLAIN_BYTES) * PACKET_TAG_BYTES
}

/// Cuts a whole sealed stream into stripes, and hands all of them out.
async fn push_all(
    shared: &Arc<Shared>,
    memory: &Arc<MemoryPermit>,
    set: &mut ChunkSet,
    plain: u64,
    stream: &[u8],
) -> Result<(), SegmentError> {
    let (k, total) = (set.profile.data_chunks(), set.profile.total_chunks());
    let code = shared.code(set.profile)?;
    let stripe =
        SegmentLayout::new(plain, k, BLOCK_PACKETS_DEFAULT).stripe_packets() as usize * (PACKET + TAG);
    for (frame, part) in (0..).zip(stream.chunks(stripe)) {
        let len = part.len().div_ceil(k) * total;
        let mut buffer = shared.buffers.take(len.max(part.len()), Held::memory(memory));
        buffer.as_mut()[..part.len()].copy_from_slice(part);
        let (_, blocks) = cut_blocks(buffer, part.len(), set.profile, code.as_ref())?;
        set.push(frame, &blocks).await?;
    }
    Ok(())
}

/// The row of what was written under this header.
pub(crate) fn segment(
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

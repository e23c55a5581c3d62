//! One segment being written.

use std::sync::Arc;

use bytes::Bytes;
use chunk_store::ChunkHeader;
use codec::{SealContext, Sealer, SegmentKey, SegmentLayout, choose_cipher};
use grid_types::{
    BLOCK_PACKETS_DEFAULT, ChunkKey, Compression, DriveId, PACKET_PLAIN_BYTES, PACKET_TAG_BYTES, Profile,
    ProfileChoice, SEGMENT_BYTES_MAX, SMALL_BYTES_MAX, Segment, SegmentId,
};
use keyring::BucketKey;

use crate::buffers::StripeBuffer;
use crate::chunk_set::{ChunkSet, Failed, SetSpec};
use crate::format::{self, SegmentIdentity};
use crate::refused::Refused;
use crate::store::Shared;
use crate::stripes::{StripeWriter, cut_blocks, cut_stream};
use crate::{SegmentError, SegmentStore};

/// Plaintext bytes of a packet, as a slice length.
const PACKET: usize = PACKET_PLAIN_BYTES as usize;
/// Bytes of a tag, as a slice length.
const TAG: usize = PACKET_TAG_BYTES as usize;

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
    refused: Refused,
    sealer: Sealer,
    stripe_packets: u64,
    stripe: Option<Filling>,
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
            rescuable: true,
        };
        let mut refused = Refused::default();
        let stripes = StripeWriter::begin(&shared, id, &set_spec, &mut refused, 0).await?;
        let layout = SegmentLayout::new(announced, stripes.set.profile.data_chunks(), BLOCK_PACKETS_DEFAULT);
        Ok(Self {
            bucket_key: spec.bucket_key,
            set_spec,
            stripes,
            refused,
            sealer,
            stripe_packets: layout.stripe_packets(),
            stripe: None,
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
                    self.stripes.push(stripe.buffer, sealed).await?;
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
    /// Dropping the future removes what was synced. A segment that loses its ack set is written once more on the drives
    /// that are left, in the strongest profile that they carry: one of a single stripe from memory, since its bytes are
    /// still here, a longer one from the chunks that are left, as long as they decode (`rescue`).
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
        if self.stripes.frames() > 0 {
            self.stripes.push(stripe.buffer, sealed).await?;
            return self.finish_whole(footer).await;
        }
        self.finish_single(stripe.buffer, sealed, &footer).await
    }

    /// All stripes are on their way to the drives.
    async fn finish_whole(self, footer: Vec<u8>) -> Result<Segment, SegmentError> {
        let StripeWriter { set, memory, .. } = self.stripes;
        let (id, profile) = (set.id, set.profile);
        let segment = |drives| segment(&self.set_spec.header, self.taken, id, profile, drives);
        let failed = match set.finish(self.taken, &footer).await {
            Ok(drives) => return Ok(segment(drives)),
            Err(failed) => failed,
        };
        // What the stripes needed is needed to read and write them once more.
        drop(memory);
        let Failed { error, synced, lost, unpublished } = *failed;
        let mut refused = self.refused;
        refused.add(lost);
        let left = segment(synced);
        let store = SegmentStore { shared: self.shared };
        let rescued = store.rescue(&left, self.set_spec.choice, refused, error).await;
        // Its chunks go now, whether they served or not.
        drop(unpublished);
        rescued
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
        let (stream, blocks) = cut_blocks(buffer, sealed, set.profile, code.as_ref())?;
        let stream = stream.slice(..sealed);
        let mut stripes = vec![blocks];
        loop {
            let (id, profile) = (set.id, set.profile);
            let (error, lost) = match push_all(&mut set, &stripes).await {
                Ok(()) => match set.finish(self.taken, footer).await {
                    Ok(drives) => return Ok(segment(&self.set_spec.header, self.taken, id, profile, drives)),
                    Err(failed) => (failed.error, failed.lost),
                },
                Err(error) => (error, set.lost),
            };
            if lost.is_empty() {
                return Err(error);
            }
            tracing::warn!(segment = %id, %error, "writing once more, on other drives");
            self.refused.add(lost);
            let next = SegmentId::from(self.shared.random.id());
            set = ChunkSet::begin(&self.shared, next, &self.set_spec, &mut self.refused).await?;
            if set.profile != profile {
                stripes = cut_stream(&self.shared, &memory, &stream, self.taken, set.profile)?;
            }
        }
    }

    /// An empty stripe, once the window has room.
    async fn next_stripe(&mut self) -> Result<Filling, SegmentError> {
        let packet = self.stripes.frames() * self.stripe_packets;
        Ok(Filling { buffer: self.stripes.next_buffer().await?, packet, start: 0, filled: 0 })
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

async fn push_all(set: &mut ChunkSet, stripes: &[Vec<Bytes>]) -> Result<(), SegmentError> {
    for (frame, blocks) in (0..).zip(stripes) {
        set.push(frame, blocks).await?;
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

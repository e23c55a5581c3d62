//! A body becoming segments: cut at `SEGMENT_BYTES_MAX`, the end of one synced while the next is written.

use bytes::Bytes;
use grid_types::{ObjectKey, ProfileChoice, SEGMENT_BYTES_MAX, Segment, SegmentOwner, VersionId};
use keyring::BucketKey;
use meta_store::root::Bucket;
use segment_store::format::SegmentIdentity;
use segment_store::{SegmentError, SegmentSpec, SegmentStore, SegmentWriter};
use tokio::task::JoinHandle;

use crate::EngineError;

/// Segments of one part at most: 5 GiB of them, and then some.
const SEGMENTS_PER_PART_MAX: usize = 1_024;

/// Where a body goes.
#[derive(Clone)]
pub(crate) struct BodyPlace<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) key: &'a ObjectKey,
    pub(crate) bucket_key: BucketKey,
    pub(crate) version: VersionId,
    pub(crate) part: u16,
    pub(crate) profile: ProfileChoice,
}

/// Writes one part's segments. Dropping it leaves finished ones as orphans for the reaper; `abandon` removes them.
pub(crate) struct SegmentSink<'a> {
    store: &'a SegmentStore,
    place: BodyPlace<'a>,
    /// Bytes still to come, where the client announced them.
    rest: Option<u64>,
    /// The segment being written, and the bytes it may still take.
    writer: Option<(SegmentWriter, u64)>,
    /// The segment before it, being synced.
    syncing: Option<JoinHandle<Result<Segment, SegmentError>>>,
    finished: Vec<Segment>,
}

impl<'a> SegmentSink<'a> {
    pub(crate) fn new(store: &'a SegmentStore, place: BodyPlace<'a>, length: Option<u64>) -> Self {
        Self { store, place, rest: length, writer: None, syncing: None, finished: Vec::new() }
    }

    /// Takes the next bytes, at the pace of the drives.
    pub(crate) async fn write(&mut self, mut piece: Bytes) -> Result<(), EngineError> {
        while !piece.is_empty() {
            // A full segment is closed only now that more has come: the last one must be open when the body ends.
            if matches!(self.writer, Some((_, 0))) {
                self.close_full().await?;
            }
            let (writer, room) = match &mut self.writer {
                Some(open) => open,
                None => {
                    let (writer, room) = self.open_next().await?;
                    self.writer.insert((writer, room))
                }
            };
            let fits = usize::try_from(*room).unwrap_or(usize::MAX).min(piece.len());
            let now = piece.split_to(fits);
            *room -= now.len() as u64;
            if let Some(rest) = &mut self.rest {
                *rest = rest.saturating_sub(now.len() as u64);
            }
            writer.write(now).await?;
        }
        Ok(())
    }

    /// Syncs the last segment with the object record in its footers. All segments, in order.
    pub(crate) async fn finish(
        &mut self,
        record: Vec<u8>,
    ) -> Result<Vec<(SegmentOwner, Segment)>, EngineError> {
        let last = match self.writer.take() {
            Some((writer, _)) => Some(writer.finish(Some(record)).await?),
            None => None,
        };
        self.await_synced().await?;
        self.finished.extend(last);
        let owner = |number| SegmentOwner { version: self.place.version, part: self.place.part, number };
        Ok((0u32..).map(owner).zip(std::mem::take(&mut self.finished)).collect())
    }

    /// The body failed: nothing was proposed, so nobody names what was finished.
    pub(crate) async fn abandon(mut self) {
        self.writer = None;
        // A segment that failed to sync leaves nothing to remove.
        let _ = self.await_synced().await;
        self.store.discard(&self.finished).await;
    }

    async fn open_next(&self) -> Result<(SegmentWriter, u64), EngineError> {
        let number = self.finished.len() + usize::from(self.syncing.is_some());
        if number >= SEGMENTS_PER_PART_MAX {
            return Err(EngineError::refused(
                grid_types::ErrorCode::TooLarge,
                "the body has too many segments",
            ));
        }
        let owner = SegmentOwner {
            version: self.place.version,
            part: self.place.part,
            number: u32::try_from(number).expect("at most 1,024"),
        };
        let plain_len_max = self.rest.unwrap_or(SEGMENT_BYTES_MAX).clamp(1, SEGMENT_BYTES_MAX);
        let identity = SegmentIdentity { bucket: self.place.bucket.id, key: self.place.key.clone(), owner };
        let spec = SegmentSpec {
            bucket_key: self.place.bucket_key.clone(),
            identity,
            profile: self.place.profile,
            plain_len_max,
        };
        Ok((self.store.begin(spec).await?, plain_len_max))
    }

    async fn close_full(&mut self) -> Result<(), EngineError> {
        self.await_synced().await?;
        if let Some((writer, _)) = self.writer.take() {
            self.syncing = Some(tokio::spawn(writer.finish(None)));
        }
        Ok(())
    }

    async fn await_synced(&mut self) -> Result<(), EngineError> {
        if let Some(syncing) = self.syncing.take() {
            let segment = syncing.await.map_err(|_| {
                EngineError::refused(grid_types::ErrorCode::Internal, "finishing a segment was cut short")
            })??;
            self.finished.push(segment);
        }
        Ok(())
    }
}

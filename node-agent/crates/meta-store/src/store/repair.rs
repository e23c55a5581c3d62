//! What repair asks: segments by drive, incomplete ones, those to re-code, garbage, reaping, relocation.

use grid_types::{
    BucketId, DriveId, ErrorCode, ObjectKey, Segment, SegmentId, SegmentOwner, ShardId, Timestamp,
};

use super::routing::Patience;
use super::{Inner, MetaStore};
use crate::query::{ClassedSegmentPage, SegmentFilter};
use crate::rows::{GarbageRow, SegmentRow};
use crate::state::{Action, Answer, ShardRange};
use crate::{Command, MetaError, Outcome};

/// Segments with the keys they belong to, and the cursor of the next page.
pub type SegmentPage = (Vec<(BucketId, ObjectKey, SegmentRow)>, Option<Vec<u8>>);

impl Inner {
    /// Do these shards, which have answered, own all keys now? Another node may have split one of them since this one read
    /// the map: then "nobody knows it" is not the answer of all. False = the map is read anew, ask again.
    async fn cover_all_keys(&self, shards: &[ShardId], patience: &mut Patience) -> Result<bool, MetaError> {
        if self.peers.is_alone() {
            return Ok(true);
        }
        let mut ranges = Vec::with_capacity(shards.len());
        for shard in shards {
            ranges.push(self.ask_named(*shard, |view| view.range()).await?);
        }
        if tile(ranges) {
            return Ok(true);
        }
        let reason = "a shard is being split: what moves has no owner in the map yet".to_owned();
        patience.wait(MetaError::Unavailable { shard: ShardId::ROOT, reason }).await?;
        self.reload_map().await?;
        Ok(false)
    }
}

/// Do these ranges cover the key space, each key once?
fn tile(mut ranges: Vec<ShardRange>) -> bool {
    ranges.sort_by(|left, right| left.start.cmp(&right.start));
    let mut next = Some(Vec::new());
    for range in ranges {
        if Some(range.start) != next {
            return false;
        }
        next = range.end;
    }
    next.is_none()
}

impl MetaStore {
    /// All shards of this node but the root.
    pub fn shards(&self) -> Vec<ShardId> {
        self.inner.map.read().shards()
    }

    /// Segments of a shard with a chunk on `drive` (from the drive index, no scan).
    pub async fn segments_on_drive(
        &self,
        shard: ShardId,
        drive: DriveId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<SegmentPage, MetaError> {
        self.inner.ask_named(shard, move |view| view.segments_on_drive(drive, cursor.clone(), limit)).await
    }

    /// Segments of a shard whose row lacks a chunk.
    pub async fn incomplete_segments(
        &self,
        shard: ShardId,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<SegmentPage, MetaError> {
        self.inner.ask_named(shard, move |view| view.incomplete_segments(cursor.clone(), limit)).await
    }

    /// Segments of a shard that `wanted` takes. A scan of all its segments, `query::SCAN_SEGMENTS_MAX` a page: a page may be
    /// empty although more follow. For work that is done once in a long while.
    pub async fn segments_that(
        &self,
        shard: ShardId,
        wanted: SegmentFilter,
        cursor: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<ClassedSegmentPage, MetaError> {
        self.inner.ask_named(shard, move |view| view.segments_that(&*wanted, cursor.clone(), limit)).await
    }

    /// The row that references a segment, if one does (any shard).
    pub async fn find_segment(
        &self,
        segment: SegmentId,
    ) -> Result<Option<(BucketId, ObjectKey, SegmentRow)>, MetaError> {
        // Between a hand-over and the new map nobody would answer for the rows that move.
        let _splits = self.inner.map_changes.read().await;
        let mut patience = Patience::new();
        loop {
            let shards = self.shards();
            for shard in &shards {
                let found = self.inner.ask_named(*shard, move |view| view.find_segment(segment)).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            if self.inner.cover_all_keys(&shards, &mut patience).await? {
                return Ok(None);
            }
        }
    }

    /// Garbage of a shard that is older than `before`, oldest first.
    pub async fn garbage(
        &self,
        shard: ShardId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<GarbageRow>, MetaError> {
        self.inner.ask_named(shard, move |view| view.garbage(before, limit)).await
    }

    /// Executes `GarbageDone` in a shard.
    pub async fn garbage_done(&self, shard: ShardId, sequences: Vec<u64>) -> Result<(), MetaError> {
        let action = Action::Object(Command::GarbageDone { sequences });
        self.inner.propose_named(shard, action).await.map(|_| ())
    }

    /// Proposes `Reap` in every shard; returns the ids that every shard declared dead.
    pub async fn reap(&self, segments: Vec<SegmentId>) -> Result<Vec<SegmentId>, MetaError> {
        // A split hands reaped ids on, but must not happen between two shards' answers.
        let _splits = self.inner.map_changes.read().await;
        let (mut dead, mut patience) = (segments, Patience::new());
        loop {
            let shards = self.shards();
            for shard in &shards {
                if dead.is_empty() {
                    return Ok(dead);
                }
                let action = Action::Object(Command::Reap { segments: dead });
                dead = match self.inner.propose_named(*shard, action).await? {
                    Answer::Object(Outcome::Reaped(dead)) => dead,
                    other => return Err(MetaError::Damaged(format!("a reap was answered with {other:?}"))),
                };
            }
            if self.inner.cover_all_keys(&shards, &mut patience).await? {
                return Ok(dead);
            }
        }
    }

    /// Moves one chunk in its row; Conflict where the row changed.
    pub async fn relocate(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        owner: SegmentOwner,
        segment: SegmentId,
        index: u8,
        expected: Option<DriveId>,
        new: Option<DriveId>,
    ) -> Result<(), MetaError> {
        let command = Command::Relocate { bucket, key: key.clone(), owner, segment, index, expected, new };
        match self.commit(self.new_op(), command).await? {
            Outcome::Done => Ok(()),
            other => Err(MetaError::Refused {
                code: ErrorCode::Internal,
                detail: format!("a relocation was answered with {other:?}"),
            }),
        }
    }

    /// Puts a re-coded segment in the place of `expected`; Conflict where the row changed or the new id is dead.
    pub async fn replace_segment(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        owner: SegmentOwner,
        expected: SegmentId,
        new: Segment,
    ) -> Result<(), MetaError> {
        let command = Command::ReplaceSegment { bucket, key: key.clone(), owner, expected, new };
        match self.commit(self.new_op(), command).await? {
            Outcome::Done => Ok(()),
            other => Err(MetaError::Refused {
                code: ErrorCode::Internal,
                detail: format!("the exchange of a segment was answered with {other:?}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ShardRange, tile};

    fn range(start: &str, end: Option<&str>) -> ShardRange {
        ShardRange {
            start: start.as_bytes().to_vec(),
            end: end.map(|end| end.as_bytes().to_vec()),
            generation: 1,
        }
    }

    #[test]
    fn only_ranges_without_gap_and_overlap_are_all_keys() {
        assert!(tile(vec![range("", None)]));
        assert!(tile(vec![range("m", None), range("", Some("m"))]));
        assert!(!tile(vec![range("", Some("m"))]), "what a parent gave away is missing");
        assert!(!tile(vec![range("", Some("m")), range("n", None)]));
        assert!(!tile(vec![range("", None), range("m", None)]));
        assert!(!tile(Vec::new()));
    }
}

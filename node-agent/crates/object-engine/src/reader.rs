//! Reads a range over the segments of a version, a page of rows at a time.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use grid_types::{BucketId, ErrorCode, ObjectKey, SEGMENT_BYTES_MAX, SegmentOwner, VersionId};
use meta_store::rows::SegmentRow;
use segment_store::SegmentReader;

use crate::put::PLAIN_PART;
use crate::{EngineError, ObjectEngine};

/// What is read.
pub(crate) struct ReadPlace {
    pub(crate) bucket: BucketId,
    pub(crate) key: ObjectKey,
    pub(crate) version: VersionId,
}

/// Where a read stands. Holds one page of rows and one segment's read-ahead.
pub(crate) struct SegmentCursor {
    engine: ObjectEngine,
    place: ReadPlace,
    /// Rows not read to their end; the first one is `reader`'s.
    rows: VecDeque<SegmentRow>,
    reader: Option<SegmentReader>,
    /// Bytes of the first row that lie behind us.
    position: u64,
    /// Bytes still to hand out.
    rest: u64,
    /// The last row that was read to its end: where the next page begins.
    behind: Option<SegmentOwner>,
    /// The row that was read again after its chunks were not found; each row once.
    read_again: Option<SegmentOwner>,
}

impl SegmentCursor {
    /// Finds the segment that `range` (not empty) starts in. `first` is the first page of rows.
    pub(crate) async fn open(
        engine: ObjectEngine,
        place: ReadPlace,
        first: Vec<SegmentRow>,
        multipart: bool,
        range: Range<u64>,
    ) -> Result<Self, EngineError> {
        let mut cursor = Self {
            engine,
            place,
            rows: first.into(),
            reader: None,
            position: range.start,
            rest: range.end - range.start,
            behind: None,
            read_again: None,
        };
        if !cursor.skip_to_position() {
            cursor.seek(range.start, multipart).await?;
        }
        Ok(cursor)
    }

    /// Drops rows that end before `position`; false where it lies behind all of them.
    fn skip_to_position(&mut self) -> bool {
        while let Some(row) = self.rows.front() {
            if self.position < row.segment.length {
                return true;
            }
            self.position -= row.segment.length;
            self.rows.pop_front();
        }
        false
    }

    /// Reads the page that holds byte `offset`. All segments of a part but its last are full, so the number is division.
    async fn seek(&mut self, offset: u64, multipart: bool) -> Result<(), EngineError> {
        let ReadPlace { bucket, key, version } = &self.place;
        let (part, part_offset) = if multipart {
            let row = self.engine.meta().part_at(*bucket, key, *version, offset).await?;
            let row = row.ok_or_else(|| self.torn("no part holds the range"))?;
            (row.number, row.offset)
        } else {
            (PLAIN_PART, 0)
        };
        let within = offset.saturating_sub(part_offset);
        let number =
            u32::try_from(within / SEGMENT_BYTES_MAX).map_err(|_| self.torn("the range lies too far out"))?;
        self.rows = self.engine.meta().segments(*bucket, key, *version, (part, number)).await?.into();
        let start = self.rows.front().map(|row| row.part_offset).filter(|start| *start <= within);
        self.position = within - start.ok_or_else(|| self.torn("no segment holds the range"))?;
        if self.skip_to_position() { Ok(()) } else { Err(self.torn("no segment holds the range")) }
    }

    /// As a stream that ends after its first error.
    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<Bytes, EngineError>> {
        futures_util::stream::unfold(Some(self), |cursor| async {
            let mut cursor = cursor?;
            match cursor.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(cursor))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        while self.rest > 0 {
            let Some(reader) = &mut self.reader else {
                self.open_segment().await?;
                continue;
            };
            match reader.next().await {
                Some(Ok(piece)) => {
                    self.position += piece.len() as u64;
                    self.rest = self.rest.saturating_sub(piece.len() as u64);
                    return Ok(Some(piece));
                }
                Some(Err(error)) if error.code() == ErrorCode::SegmentLost => {
                    self.read_row_again(error.into()).await?;
                }
                Some(Err(error)) => return Err(error.into()),
                None => self.leave_segment()?,
            }
        }
        Ok(None)
    }

    async fn open_segment(&mut self) -> Result<(), EngineError> {
        if self.rows.is_empty() {
            self.next_page().await?;
        }
        let Some(row) = self.rows.front() else { return Err(self.torn("segments are missing at its end")) };
        let segment = row.segment.clone();
        let end = segment.length.min(self.position.saturating_add(self.rest));
        let key = self.engine.keys().get(self.place.bucket, segment.key_generation).await?;
        self.reader = Some(self.engine.segments().read(segment, key, self.position..end));
        Ok(())
    }

    async fn next_page(&mut self) -> Result<(), EngineError> {
        let Some(behind) = self.behind else { return Ok(()) };
        let ReadPlace { bucket, key, version } = &self.place;
        let from = (behind.part, behind.number + 1);
        self.rows = self.engine.meta().segments(*bucket, key, *version, from).await?.into();
        Ok(())
    }

    /// The reader has ended: on to the next segment.
    fn leave_segment(&mut self) -> Result<(), EngineError> {
        self.reader = None;
        let ended = self.rows.pop_front();
        let Some(row) = ended.filter(|row| self.position == row.segment.length) else {
            return Err(self.torn("a segment ended early"));
        };
        self.position = 0;
        self.behind = Some(row.owner);
        Ok(())
    }

    /// Chunks are gone. A repair may have moved them: then the row says where to. Or the object was overwritten long
    /// enough ago that they were collected: then the row is gone, and the connection must be cut.
    async fn read_row_again(&mut self, error: EngineError) -> Result<(), EngineError> {
        self.reader = None;
        let Some(owner) = self.rows.front().map(|row| row.owner) else { return Err(error) };
        if self.read_again == Some(owner) {
            return Err(error);
        }
        self.read_again = Some(owner);
        let ReadPlace { bucket, key, version } = &self.place;
        let rows = self.engine.meta().segments(*bucket, key, *version, (owner.part, owner.number)).await?;
        match rows.first() {
            Some(row) if row.owner == owner && row.segment.length >= self.position => {
                self.rows = rows.into();
                Ok(())
            }
            _ => Err(EngineError::refused(ErrorCode::NoSuchKey, "the version was removed while it was read")),
        }
    }

    fn torn(&self, what: &str) -> EngineError {
        let ReadPlace { key, version, .. } = &self.place;
        EngineError::refused(ErrorCode::Corrupt, format!("version {version} of {key}: {what}"))
    }
}

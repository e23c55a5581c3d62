//! All chunks of all drives, in the order of their segments: a merge of the drives' own lists, a page of each in memory.

use std::collections::VecDeque;

use chunk_store::{ChunkInfo, Drive};
use grid_types::{ChunkKey, DriveId, Segment, SegmentId};

use crate::EngineError;

const PAGE: usize = 4_096;

/// One segment with the chunks that are there.
pub(super) struct FoundSegment {
    pub(super) id: SegmentId,
    pub(super) chunks: Vec<(Drive, u8)>,
}

struct DriveCursor {
    drive: Drive,
    page: VecDeque<ChunkKey>,
    after: Option<ChunkKey>,
    ended: bool,
}

impl DriveCursor {
    async fn fill(&mut self) -> Result<(), EngineError> {
        if self.page.is_empty() && !self.ended {
            let page = self.drive.list(self.after, PAGE).await.map_err(segment_store::SegmentError::from)?;
            self.ended = page.len() < PAGE;
            self.after = page.last().copied().or(self.after);
            self.page = page.into();
        }
        Ok(())
    }
}

pub(super) struct Walk {
    cursors: Vec<DriveCursor>,
}

impl Walk {
    pub(super) fn new(drives: Vec<Drive>) -> Self {
        let cursor = |drive| DriveCursor { drive, page: VecDeque::new(), after: None, ended: false };
        Self { cursors: drives.into_iter().map(cursor).collect() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<FoundSegment>, EngineError> {
        for cursor in &mut self.cursors {
            cursor.fill().await?;
        }
        let heads = self.cursors.iter().filter_map(|cursor| cursor.page.front());
        let Some(id) = heads.map(|chunk| chunk.segment).min() else { return Ok(None) };
        let mut chunks = Vec::new();
        for cursor in &mut self.cursors {
            loop {
                cursor.fill().await?;
                match cursor.page.front() {
                    Some(chunk) if chunk.segment == id => {
                        chunks.push((cursor.drive.clone(), chunk.index));
                        cursor.page.pop_front();
                    }
                    _ => break,
                }
            }
        }
        Ok(Some(FoundSegment { id, chunks }))
    }
}

impl FoundSegment {
    /// Where chunk `index` is.
    pub(super) fn drives_of(&self, index: u8) -> impl Iterator<Item = DriveId> {
        self.chunks.iter().filter(move |(_, at)| *at == index).map(|(drive, _)| drive.id())
    }

    /// Header and footer of the first chunk that verifies, and the row that they make. `None` where none does, or where
    /// too few chunks are left to read the segment.
    pub(super) async fn read(&self) -> Option<(ChunkInfo, Segment)> {
        for (drive, index) in &self.chunks {
            match drive.info(ChunkKey { segment: self.id, index: *index }).await {
                Ok(info) => {
                    let segment = self.segment(&info);
                    let there = segment.drives.iter().flatten().count();
                    return (there >= segment.profile.data_chunks()).then_some((info, segment));
                }
                Err(error) => {
                    tracing::warn!(segment = %self.id, drive = %drive.id(), %error, "a chunk is of no use");
                }
            }
        }
        None
    }

    fn segment(&self, info: &ChunkInfo) -> Segment {
        let header = &info.header;
        let total = u8::try_from(header.profile.total_chunks()).unwrap_or(u8::MAX);
        Segment {
            id: self.id,
            seal_id: header.seal_id,
            length: header.plain_len,
            profile: header.profile,
            cipher: header.cipher,
            compression: header.compression,
            key_generation: header.key_generation,
            block_packets: header.block_packets,
            drives: (0..total).map(|index| self.drives_of(index).next()).collect(),
        }
    }
}

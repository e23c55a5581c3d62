//! Moves or rebuilds one chunk: writes it anew, syncs and re-reads it, changes the row by compare-and-set, and only then
//! removes what is superfluous.

use std::sync::Arc;

use grid_types::{BucketId, ChunkKey, DriveId, ErrorCode, ObjectKey};
use meta_store::rows::SegmentRow;

use crate::RepairError;
use crate::context::RepairContext;

/// A chunk that must be written anew, as its row said when it was found.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub bucket: BucketId,
    pub key: ObjectKey,
    pub row: SegmentRow,
    pub index: u8,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// The row names a good chunk.
    Done,
    /// The row changed meanwhile, or another worker is at it: nothing to do now.
    Overtaken,
    /// No drive may take it now.
    NoDrive,
}

impl Task {
    fn chunk(&self) -> ChunkKey {
        ChunkKey { segment: self.row.segment.id, index: self.index }
    }

    /// Where the row said the chunk is.
    pub fn holder(&self) -> Option<DriveId> {
        self.row.segment.drives.get(usize::from(self.index)).copied().flatten()
    }
}

/// Writes the chunk again on the drive that the row names: it is damaged or missing there.
pub(crate) async fn rebuild_in_place(
    context: &Arc<RepairContext>,
    task: &Task,
) -> Result<Moved, RepairError> {
    let Some(holder) = task.holder() else { return Ok(Moved::Overtaken) };
    let Some(_lock) = context.lock_segment(task.row.segment.id) else { return Ok(Moved::Overtaken) };
    context.segments.rebuild_chunk(&task.row.segment, task.index, holder).await?;
    Ok(Moved::Done)
}

/// Writes the chunk on another drive and moves it in its row. `remove_old`: the old one is removed, if it can be.
pub(crate) async fn move_elsewhere(
    context: &Arc<RepairContext>,
    task: &Task,
    remove_old: bool,
) -> Result<Moved, RepairError> {
    let id = task.row.segment.id;
    let Some(_lock) = context.lock_segment(id) else { return Ok(Moved::Overtaken) };
    let holder = task.holder();
    // Another chunk of the segment may have moved since the row was listed, and must not be met on one drive.
    let Some((_, _, row)) = context.rows.find_segment(id).await? else { return Ok(Moved::Overtaken) };
    let segment = &row.segment;
    if segment.drives.get(usize::from(task.index)) != Some(&holder) {
        return Ok(Moved::Overtaken);
    }
    let grid = context.grid();
    let others: Vec<DriveId> = (0u8..)
        .zip(&segment.drives)
        .filter(|(index, _)| *index != task.index)
        .filter_map(|(_, d)| *d)
        .collect();
    let avoid: Vec<DriveId> = holder.into_iter().collect();
    let mut draw = |bound| context.random.below(bound);
    let Some(target) = placement::place_one(&grid, &others, &avoid, &mut draw) else {
        return Ok(Moved::NoDrive);
    };
    context.segments.rebuild_chunk(segment, task.index, target).await?;
    let (bucket, key, owner) = (task.bucket, task.key.clone(), row.owner);
    let relocated =
        context.rows.relocate(bucket, key, owner, segment.id, task.index, holder, Some(target)).await;
    match relocated {
        Ok(()) => {}
        Err(error) if refused_for_good(error.code()) => {
            // Perhaps an earlier answer was lost and the row names the new chunk: only a row that does not lets it go.
            let named = match context.rows.find_segment(segment.id).await? {
                Some((_, _, row)) => row.segment.drives.get(usize::from(task.index)) == Some(&Some(target)),
                None => false,
            };
            if !named && let Some(drive) = context.in_service(target) {
                drive.remove(vec![task.chunk()]).await?;
            }
            return Ok(Moved::Overtaken);
        }
        // It may have happened: the new chunk stays, and the inventory finds it if nothing names it.
        Err(error) => return Err(error.into()),
    }
    if remove_old
        && let Some(old) = holder.and_then(|holder| context.in_service(holder))
        && let Err(error) = old.remove(vec![task.chunk()]).await
    {
        tracing::info!(chunk = %task.chunk(), drive = %old.id(), %error, "a moved chunk stays on its old drive");
    }
    Ok(Moved::Done)
}

/// The compare-and-set was decided against us.
fn refused_for_good(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Conflict | ErrorCode::NoSuchKey | ErrorCode::NoSuchUpload | ErrorCode::NoSuchBucket
    )
}

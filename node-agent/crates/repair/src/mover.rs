//! Moves or rebuilds one chunk: writes it anew, syncs and re-reads it, changes the row by compare-and-set, and only then
//! removes what is superfluous.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{BucketId, ChunkKey, DriveId, ErrorCode, ObjectKey};
use meta_store::rows::SegmentRow;

use crate::RepairError;
use crate::context::{Prospects, RepairContext};

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
    if place(context, task, &task.row.segment.drives).is_none() {
        return Ok(Moved::NoDrive);
    }
    // Another chunk of the segment may have moved since the row was listed, and must not be met on one drive.
    let Some((_, _, row)) = context.rows.find_segment(id).await? else { return Ok(Moved::Overtaken) };
    let segment = &row.segment;
    if segment.drives.get(usize::from(task.index)) != Some(&holder) {
        return Ok(Moved::Overtaken);
    }
    let Some(target) = place(context, task, &segment.drives) else { return Ok(Moved::NoDrive) };
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
    if remove_old {
        remove_from_holder(context, task).await;
    }
    Ok(Moved::Done)
}

/// Removes a chunk that its row does not name any more from where it was, if that can be.
pub(crate) async fn remove_from_holder(context: &RepairContext, task: &Task) {
    if let Some(old) = task.holder().and_then(|holder| context.in_service(holder))
        && let Err(error) = old.remove(vec![task.chunk()]).await
    {
        tracing::info!(chunk = %task.chunk(), drive = %old.id(), %error, "a moved chunk stays on its old drive");
    }
}

/// Takes a chunk out of its row that is bad where it is and cannot be written there, or that has nowhere to go: the node
/// that leads the row's shard then finds the segment incomplete and rebuilds it where there is a place. Only once `enough` of
/// the others were read and found good, since a bad chunk may still have good frames.
pub(crate) async fn take_out_of_row(
    context: &Arc<RepairContext>,
    task: &Task,
    enough: impl Fn(&[DriveId]) -> bool,
) -> Result<Moved, RepairError> {
    let segment = &task.row.segment;
    let Some(_lock) = context.lock_segment(segment.id) else { return Ok(Moved::Overtaken) };
    let mut good = Vec::new();
    for (chunk, drive) in segment.chunks().filter(|(chunk, _)| chunk.index != task.index) {
        if let Some(open) = context.in_service(drive)
            && open.verify(chunk).await.is_ok()
        {
            good.push(drive);
        }
    }
    if !enough(&good) {
        return Ok(Moved::NoDrive);
    }
    let (bucket, key, owner) = (task.bucket, task.key.clone(), task.row.owner);
    let taken = context.rows.relocate(bucket, key, owner, segment.id, task.index, task.holder(), None).await;
    match taken {
        Ok(()) => Ok(Moved::Done),
        Err(error) if refused_for_good(error.code()) => Ok(Moved::Overtaken),
        Err(error) => Err(error.into()),
    }
}

/// A drive for the chunk, other than those of the segment's other chunks and the one it leaves.
fn place(context: &RepairContext, task: &Task, drives: &[Option<DriveId>]) -> Option<DriveId> {
    let others: Vec<DriveId> = (0u8..)
        .zip(drives)
        .filter(|(index, _)| *index != task.index)
        .filter_map(|(_, drive)| *drive)
        .collect();
    let avoid: Vec<DriveId> = task.holder().into_iter().collect();
    placement::place_one(&context.grid(), &others, &avoid, &mut |bound| context.random.below(bound))
}

/// The compare-and-set was decided against us.
pub(crate) fn refused_for_good(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Conflict | ErrorCode::NoSuchKey | ErrorCode::NoSuchUpload | ErrorCode::NoSuchBucket
    )
}

/// Keeps a worker from trying again and again what cannot be done: after a pass that left something undone the next one
/// waits, unless the drives change.
#[derive(Default)]
pub(crate) struct Undone {
    noted: bool,
    begun_with: (Prospects, Vec<DriveId>),
    waits_since: Option<Duration>,
}

impl Undone {
    pub fn begin_pass(&mut self, context: &RepairContext, lost: &[DriveId]) {
        self.noted = false;
        self.waits_since = None;
        self.begun_with = (context.prospects(), lost.to_vec());
    }

    /// Something could not be done.
    pub fn note(&mut self) {
        self.noted = true;
    }

    pub fn end_pass(&mut self, context: &RepairContext) {
        self.waits_since = self.noted.then(|| context.clock.since_boot());
    }

    /// Is it too early for another pass?
    pub fn waits(&self, context: &RepairContext, lost: &[DriveId]) -> bool {
        let now = context.clock.since_boot();
        self.waits_since.is_some_and(|since| now.saturating_sub(since) < context.config.retry_every)
            && self.begun_with.1 == lost
            && self.begun_with.0 == context.prospects()
    }
}

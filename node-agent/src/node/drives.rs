//! The drives of a node that starts: which are opened, and what is told of the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use chunk_store::{ChunkError, ChunkStore, Drive, DriveConfig};
use grid_types::{DriveId, DriveState};
use meta_store::MetaStore;
use meta_store::root::RecordKind;
use sys::Clock;

use super::StartError;
use crate::drives::{DriveLock, OurDrive, ProblemFolder, WatchedDrive};
use crate::identity::{DriveFailure, NodeFile};
use crate::records::{self, DriveRecord};

/// Records read at once.
const RECORDS_PAGE: usize = 1_000;

/// The drives that a start takes into service.
pub(super) struct InService {
    pub locks: BTreeMap<DriveId, DriveLock>,
    pub opened: Vec<Drive>,
    /// Drives that failed before, not opened.
    pub failed: Vec<OurDrive>,
}

/// Opens the drives that may serve. Drives that failed are left alone; where there are no others, they are opened to be
/// read, since nothing else has what they have.
pub(super) async fn take_into_service(
    drives: &[OurDrive],
    clock: &Arc<dyn Clock>,
    config: &DriveConfig,
    problems: &mut Vec<ProblemFolder>,
    warnings: &mut Vec<String>,
) -> Result<InService, StartError> {
    let (mut failed, sound): (Vec<OurDrive>, Vec<OurDrive>) =
        drives.iter().cloned().partition(|drive| drive.failure.is_some());
    let mut locks = lock_drives(&sound)?;
    let mut opened = open_drives(&sound, clock, config, problems).await?;
    if opened.is_empty() && !failed.is_empty() {
        warnings
            .push("every drive of this node has failed: it reads what it can and takes no writes".to_owned());
        let last = std::mem::take(&mut failed);
        locks.extend(lock_drives(&last)?);
        opened = open_drives(&last, clock, config, problems).await?;
    }
    for drive in &failed {
        let Some(failure) = &drive.failure else { continue };
        tracing::error!(path = %drive.path.display(), reason = failure.advice(&drive.path), "a drive stays out of service");
        problems.push(ProblemFolder {
            path: drive.path.clone(),
            id: Some(drive.label.drive),
            state: DriveState::Failing,
            reason: failure.reason.clone(),
            failed: false,
        });
    }
    Ok(InService { locks, opened, failed })
}

/// One process a drive: fails where another one has any of them.
pub(crate) fn lock_drives(drives: &[OurDrive]) -> Result<BTreeMap<DriveId, DriveLock>, StartError> {
    drives
        .iter()
        .map(|drive| match DriveLock::take(&drive.path) {
            Ok(lock) => Ok((drive.label.drive, lock)),
            Err(source) => Err(StartError::Locked { path: drive.path.clone(), source }),
        })
        .collect()
}

/// Opens all drives at once; what fails becomes a problem.
pub(crate) async fn open_drives(
    drives: &[OurDrive],
    clock: &Arc<dyn Clock>,
    config: &DriveConfig,
    problems: &mut Vec<ProblemFolder>,
) -> Result<Vec<Drive>, StartError> {
    let opening: Vec<_> = drives
        .iter()
        .map(|drive| {
            let (disk, clock, config) = (drive.disk.clone(), clock.clone(), config.clone());
            tokio::task::spawn_blocking(move || Drive::open(disk, clock, config))
        })
        .collect();
    let mut opened = Vec::new();
    for (drive, opening) in drives.iter().zip(opening) {
        match opening.await? {
            Ok(open) => opened.push(open),
            Err(error) => {
                tracing::error!(path = %drive.path.display(), %error, "a drive cannot be opened");
                problems.push(ProblemFolder {
                    path: drive.path.clone(),
                    id: Some(drive.label.drive),
                    state: DriveState::Failing,
                    reason: error.to_string(),
                    // Not what a wrong permission or another release would explain: a sync failed.
                    failed: matches!(error, ChunkError::OutOfService { .. }),
                });
            }
        }
    }
    Ok(opened)
}

/// The folder of the first drive in service: socket and certificates live there.
pub(super) fn state_folder(
    drives: &[OurDrive],
    opened: &[Drive],
    problems: &[ProblemFolder],
) -> Result<PathBuf, StartError> {
    drives
        .iter()
        .find(|drive| opened.iter().any(|open| open.id() == drive.label.drive))
        .map(|drive| drive.path.clone())
        .ok_or_else(|| {
            let told: Vec<String> = problems
                .iter()
                .map(|problem| format!("  {}: {}", problem.path.display(), problem.reason))
                .collect();
            StartError::NoDrive(told.join("\n"))
        })
}

/// Drives that are open, then those that are known and not there; with their locks.
pub(super) async fn watched_drives(
    meta: &MetaStore,
    identity: &NodeFile,
    drives: &[OurDrive],
    store: &ChunkStore,
    problems: &[ProblemFolder],
    clock: &dyn Clock,
) -> Result<Vec<WatchedDrive>, StartError> {
    let mut watched = Vec::new();
    for drive in drives {
        let mut one = WatchedDrive::new(drive.label.drive, drive.path.clone(), DriveState::Waiting);
        one.failure.clone_from(&drive.failure);
        if let Some(open) = store.drive(drive.label.drive) {
            one.present(open.summary());
        }
        watched.push(one);
    }
    for problem in problems {
        let Some(id) = problem.id.filter(|_| problem.state != DriveState::Foreign) else { continue };
        watched.retain(|known: &WatchedDrive| {
            known.id != id || known.problem.is_none() && store.drive(id).is_some()
        });
        if watched.iter().all(|known| known.id != id) {
            let mut one = WatchedDrive::new(id, problem.path.clone(), problem.state);
            let known = identity.drives.iter().find(|known| known.id == id);
            let reason = problem.reason.clone();
            one.failure = known
                .and_then(|known| known.failed.clone())
                .or_else(|| problem.failed.then(|| DriveFailure { at: clock.now(), reason }));
            one.problem = Some(problem.reason.clone());
            one.held_out = problem.state == DriveState::Failing || one.failure.is_some();
            watched.push(one);
        }
    }
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = meta.records(RecordKind::Drive, after.as_deref(), RECORDS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(watched) };
        after = Some(last.key.clone());
        for record in page {
            let Ok(stored) = records::decode::<DriveRecord>("drive", &record.value) else { continue };
            let known = watched.iter_mut().find(|drive| drive.id.as_bytes().as_slice() == record.key);
            if let Some(drive) = known.filter(|_| stored.node == identity.node) {
                drive.locked = stored.locked;
                if stored.leaving {
                    drive.leave();
                }
            }
        }
    }
}

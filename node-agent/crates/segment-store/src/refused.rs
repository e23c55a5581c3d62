//! Drives that refused chunks of a segment or lost them, with what they said.

use grid_types::{DriveId, DriveState, ErrorCode, GridSnapshot, SegmentId};

use crate::SegmentError;

/// What went wrong on a drive, for the error that the caller sees.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub cause: String,
    pub code: ErrorCode,
}

/// Drives that are not to be asked again for chunks of this segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused {
    drives: Vec<(DriveId, Failure)>,
}

impl Refused {
    pub fn note(&mut self, drive: DriveId, failure: Failure) {
        tracing::debug!(%drive, cause = failure.cause, "drive refused or lost a chunk");
        self.drives.push((drive, failure));
    }

    /// Those of another attempt, too.
    pub fn add(&mut self, others: Self) {
        self.drives.extend(others.drives);
    }

    pub fn len(&self) -> usize {
        self.drives.len()
    }

    pub fn is_empty(&self) -> bool {
        self.drives.is_empty()
    }

    /// The first thing that went wrong.
    pub fn first(&self) -> Option<&Failure> {
        self.drives.first().map(|(_, failure)| failure)
    }

    /// The picture without them: full where they said so, away otherwise.
    pub fn without_them(&self, grid: &GridSnapshot) -> GridSnapshot {
        let mut grid = grid.clone();
        for drive in &mut grid.drives {
            match self.drives.iter().find(|(id, _)| *id == drive.id) {
                Some((_, Failure { code: ErrorCode::StorageFull, .. })) => drive.free_bytes = 0,
                Some(_) if drive.state == DriveState::Active => drive.state = DriveState::Suspect,
                _ => {}
            }
        }
        grid
    }

    /// The drives' own words say more than what is missing without them.
    pub fn explain(&self, segment: SegmentId, error: SegmentError) -> SegmentError {
        match (&error, self.first()) {
            (
                SegmentError::Placement(placement::PlacementError::InsufficientDomains { needed, .. }),
                Some(first),
            ) => SegmentError::AckSet {
                segment,
                synced: 0,
                needed: *needed,
                cause: first.cause.clone(),
                code: first.code,
            },
            _ => error,
        }
    }
}

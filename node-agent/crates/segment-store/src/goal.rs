//! What an attempt to write a segment waits for.

use std::sync::Arc;

use grid_types::{DriveId, ErrorCode, FailureDomain, Profile, ProfileChoice};
use placement::ack_set_reached;

use crate::refused::{Failure, Refused};
use crate::store::Shared;

/// An ack set; or, once that is lost for good, as many chunks as decode, so that the segment can be written once more from
/// them, where the caller does that and drives for it are there.
pub(crate) struct Goal {
    pub shared: Arc<Shared>,
    pub profile: Profile,
    pub domains_in_grid: usize,
    pub choice: ProfileChoice,
    pub small: bool,
    /// See `SetSpec::rescuable`.
    pub rescuable: bool,
    /// The ack set is lost.
    pub rescuing: bool,
}

impl Goal {
    /// Are chunks on these domains what is waited for?
    pub fn reached(&self, domains: &[FailureDomain]) -> bool {
        if self.rescuing { domains.len() >= self.profile.data_chunks() } else { self.is_ack_set(domains) }
    }

    /// May chunks on these domains be acknowledged?
    pub fn is_ack_set(&self, domains: &[FailureDomain]) -> bool {
        ack_set_reached(self.profile, domains, self.domains_in_grid)
    }

    /// Could the segment be written once more from so many chunks, on drives other than those lost and `without`?
    pub fn can_be_rescued(&self, chunks: usize, lost: &Refused, without: &[DriveId]) -> bool {
        if !self.rescuable || chunks < self.profile.data_chunks() {
            return false;
        }
        let mut lost = lost.clone();
        for drive in without {
            lost.note(*drive, Failure { cause: String::new(), code: ErrorCode::DriveFailed });
        }
        let grid = lost.without_them(&self.shared.grid.load());
        let row = placement::profile_for(self.choice, self.small, &grid, self.shared.config.accept_degraded);
        row.is_ok_and(|profile| placement::place(profile, &grid, &[], &mut |_| 0).is_ok())
    }
}

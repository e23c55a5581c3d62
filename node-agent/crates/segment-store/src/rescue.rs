//! A write that lost its ack set on the way, and whose chunks decode all the same: before it is acknowledged, the segment is
//! written once more from them, on the drives that are left. The client notices that it takes longer.
//!
//! Invariant: what is returned has an ack set of its own, under a segment id of its own.

use grid_types::{ProfileChoice, SMALL_BYTES_MAX, Segment};

use crate::refused::Refused;
use crate::{SegmentError, SegmentStore};

impl SegmentStore {
    /// `left` names the chunks that were synced, `refused` the drives that are not to be asked again, `error` what the
    /// write has failed with. Each further attempt knows at least one drive less. Takes a few stripes of memory.
    ///
    /// Dropping the future leaves nothing, or whole chunks that no row names.
    pub(crate) async fn rescue(
        &self,
        left: &Segment,
        choice: ProfileChoice,
        mut refused: Refused,
        error: SegmentError,
    ) -> Result<Segment, SegmentError> {
        if left.drives.iter().flatten().count() < left.profile.data_chunks() {
            return Err(error);
        }
        let small = left.length <= SMALL_BYTES_MAX;
        loop {
            let grid = refused.without_them(&self.shared.grid.load());
            let row = placement::profile_for(choice, small, &grid, self.shared.config.accept_degraded);
            // A fixed profile is its own row, whether it can be placed or not.
            let placed = row.and_then(|row| placement::place(row, &grid, &[], &mut |_| 0).map(|_| row));
            let Ok(profile) = placed else { return Err(error) };
            let known = refused.len();
            match self.write_again(left, choice, profile, &mut refused).await {
                Ok(new) => {
                    tracing::warn!(
                        segment = %left.id, %error, as_segment = %new.id, profile = %new.profile,
                        "a drive was lost while it was written: written once more on the others"
                    );
                    return Ok(new);
                }
                Err(again) if refused.len() > known => {
                    tracing::warn!(segment = %left.id, error = %again, "writing once more, on other drives");
                }
                Err(again) => return Err(again),
            }
        }
    }
}

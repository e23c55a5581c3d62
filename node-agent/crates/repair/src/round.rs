//! A round over all readable drives of the node, one after the other, when each is due or the operator says so.

use std::collections::VecDeque;

use chunk_store::Drive;
use grid_types::{ChunkKey, DriveId};

use crate::context::RepairContext;

#[derive(Debug, Default)]
pub(crate) struct DriveRound {
    /// Drives of this round still to be looked at.
    queue: VecDeque<DriveId>,
    begun: bool,
    ordered: bool,
}

impl DriveRound {
    /// The next drive of the round that is still in service; begins a round where none is under way. After `None` the
    /// round is over.
    pub fn next(&mut self, context: &RepairContext) -> Option<Drive> {
        if !std::mem::replace(&mut self.begun, true) {
            self.queue.extend(context.readable_drives().iter().map(Drive::id));
        }
        while let Some(id) = self.queue.pop_front() {
            if let Some(drive) = context.own_in_service(id) {
                return Some(drive);
            }
        }
        *self = Self::default();
        None
    }

    /// Did the operator order this round? Then drives are looked at whether they are due or not.
    pub fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Begins anew with all drives, due or not.
    pub fn order(&mut self) {
        *self = Self { ordered: true, ..Self::default() };
    }
}

/// How much of a drive lies before a chunk, 0 to 1: segment ids are random, so the place in key order is the share.
pub(crate) fn share_before(chunk: ChunkKey) -> f64 {
    let first = chunk.segment.as_bytes();
    f64::from(u16::from_be_bytes([first[0], first[1]])) / 65_536.0
}

//! The room that clients may still fill: free space less the reserve less what open writers were promised.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sys::{Clock, Disk, Space};

use crate::DriveConfig;

/// The file system is asked again after so long, and always before a refusal.
const REFRESH_AFTER: Duration = Duration::from_millis(500);

pub(crate) struct Room {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    per_mille: u64,
    bytes_min: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    space: Option<(Space, Duration)>,
    /// Promised to writers that have not finished.
    promised: u64,
    /// Filled since the file system was asked.
    filled: u64,
}

/// Room promised to one writer; given back when dropped.
pub(crate) struct RoomPermit {
    room: Arc<Room>,
    bytes: u64,
}

impl Room {
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: &DriveConfig) -> Self {
        let (per_mille, bytes_min) = (config.reserve_per_mille, config.reserve_bytes_min);
        Self { disk, clock, per_mille, bytes_min, state: Mutex::new(State::default()) }
    }

    fn reserve(&self, space: Space) -> u64 {
        (space.total / 1_000).saturating_mul(self.per_mille).max(self.bytes_min)
    }

    /// The file system now, and what of it clients may fill.
    pub fn measure(&self) -> std::io::Result<(Space, u64)> {
        let space = self.disk.space()?;
        let mut state = self.state.lock();
        state.space = Some((space, self.clock.since_boot()));
        state.filled = 0;
        Ok((space, space.free.saturating_sub(self.reserve(space)).saturating_sub(state.promised)))
    }

    /// Promises `bytes`; `None` when the reserve would be touched.
    pub fn promise(self: &Arc<Self>, bytes: u64) -> std::io::Result<Option<RoomPermit>> {
        if self.try_promise(bytes) {
            return Ok(Some(RoomPermit { room: self.clone(), bytes }));
        }
        self.measure()?;
        Ok(self.try_promise(bytes).then(|| RoomPermit { room: self.clone(), bytes }))
    }

    fn try_promise(&self, bytes: u64) -> bool {
        let now = self.clock.since_boot();
        let mut state = self.state.lock();
        let Some((space, asked)) = state.space else { return false };
        if now.saturating_sub(asked) > REFRESH_AFTER {
            state.space = None;
            return false;
        }
        let taken = self.reserve(space).saturating_add(state.promised).saturating_add(state.filled);
        if space.free.saturating_sub(taken) < bytes {
            return false;
        }
        state.promised += bytes;
        true
    }

    /// The disk said that it is full: what we knew is void.
    pub fn forget(&self) {
        self.state.lock().space = None;
    }
}

impl Drop for RoomPermit {
    fn drop(&mut self) {
        let mut state = self.room.state.lock();
        state.promised -= self.bytes;
        state.filled += self.bytes;
    }
}

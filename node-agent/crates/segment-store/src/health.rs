//! What writes and reads notice about drives and chunks, for those who act on it: bounded queues, newest kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use grid_types::{ChunkKey, DriveId};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Damaged chunks that wait for repair. At one a read this is what a broken drive yields in seconds; the scrub and
/// the drive's state find the rest.
const DAMAGED_MAX: usize = 1024;
/// Two cut-offs within this time take a drive out of new writes.
const CUT_OFF_WINDOW: Duration = Duration::from_secs(60);

/// Chunks that reads found bad or missing.
#[derive(Default)]
pub(crate) struct DamagedChunks {
    queue: Mutex<VecDeque<(ChunkKey, DriveId)>>,
}

impl DamagedChunks {
    pub fn note(&self, chunk: ChunkKey, drive: DriveId) {
        let mut queue = self.queue.lock();
        if queue.contains(&(chunk, drive)) {
            return;
        }
        if queue.len() == DAMAGED_MAX {
            queue.pop_front();
        }
        queue.push_back((chunk, drive));
    }

    pub fn take(&self) -> Vec<(ChunkKey, DriveId)> {
        self.queue.lock().drain(..).collect()
    }
}

/// Drives that writes had to leave behind.
#[derive(Default)]
pub(crate) struct SlowDrives {
    state: Mutex<SlowState>,
}

#[derive(Default)]
struct SlowState {
    last_cut_off: BTreeMap<DriveId, Instant>,
    slow: BTreeSet<DriveId>,
    cut_offs: u64,
}

impl SlowDrives {
    /// A chunk was cut off; true when it is the drive's second one within a minute.
    pub fn note(&self, drive: DriveId) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.cut_offs += 1;
        // Drives are few; what is older than the window says nothing any more.
        state.last_cut_off.retain(|_, at| now.duration_since(*at) < CUT_OFF_WINDOW);
        let again = state.last_cut_off.insert(drive, now).is_some();
        if again {
            state.slow.insert(drive);
        }
        again
    }

    pub fn take(&self) -> Vec<DriveId> {
        std::mem::take(&mut self.state.lock().slow).into_iter().collect()
    }

    pub fn cut_offs(&self) -> u64 {
        self.state.lock().cut_offs
    }
}

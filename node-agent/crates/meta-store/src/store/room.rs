//! Room for metadata: what grows is refused before a disk is full, so that deletes, which make room, still can.
//!
//! Chunks leave 256 MiB of each drive to log and SQLite. Of these, the last 128 MiB are for what does not grow, and a
//! reserve file holds some of them against everybody else who writes to the file system: it goes when room runs out,
//! and comes back with the room. Once nothing is left, everything is refused *before* it is proposed: a group whose log
//! or file met a full disk half-way could only die.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};

use grid_types::ShardId;

use crate::MetaError;
use crate::command::Command;
use crate::home::HomeDrive;
use crate::state::{Action, SplitCommand};

/// With less room on a drive of the home, only what does not grow is taken: half of what chunks leave free.
const GROWTH_BYTES_MIN: u64 = 128 << 20;
/// With less, nothing is: a new log file (8 MiB), a write-ahead log before its checkpoint (4 MiB), and as much again for what
/// is written between two looks.
const ANYTHING_BYTES_MIN: u64 = 16 << 20;
/// Held back for deletes: some 100,000 of them.
const RESERVE_BYTES: u64 = 32 << 20;
/// The reserve comes back where so much is left beside it: well above the mark at which it goes.
const RESERVE_AGAIN_BYTES: u64 = GROWTH_BYTES_MIN + RESERVE_BYTES;
/// The file that holds it.
const RESERVE_FILE: &str = "meta/reserve";

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Room {
    Everything,
    WhatDoesNotGrow,
    Nothing,
}

/// The room on the home, as last measured.
pub(super) struct RoomWatch(AtomicU8);

impl RoomWatch {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(Room::Everything as u8))
    }

    /// Looks at these drives; gives up their reserve or makes it again. Blocks.
    pub(super) fn measure(&self, drives: &[HomeDrive]) {
        let room = drives.iter().map(room_on).max().unwrap_or(Room::Everything);
        let before = self.0.swap(room as u8, Ordering::Relaxed);
        if before != room as u8 {
            tracing::warn!(?room, "the room for metadata has changed");
        }
    }

    /// Refuses what there is no room for.
    pub(super) fn check(&self, shard: ShardId, action: &Action) -> Result<(), MetaError> {
        match self.reason() {
            Some(_) if self.is(Room::WhatDoesNotGrow) && !grows(action) => Ok(()),
            Some(reason) => Err(MetaError::Full { shard, reason }),
            None => Ok(()),
        }
    }

    /// Why something is refused.
    pub(super) fn reason(&self) -> Option<&'static str> {
        if self.is(Room::Everything) {
            None
        } else if self.is(Room::WhatDoesNotGrow) {
            Some("its drives are nearly full: deletes go on, writes come back with the room")
        } else {
            Some("its drives are full, the reserve for deletes too: make room on them")
        }
    }

    fn is(&self, room: Room) -> bool {
        self.0.load(Ordering::Relaxed) == room as u8
    }
}

fn room_on(drive: &HomeDrive) -> Room {
    let look = || drive.disk.space().map(|space| space.free);
    // A drive that does not answer is its watcher's concern.
    let Ok(free) = look() else { return Room::Everything };
    let free = match free {
        ..ANYTHING_BYTES_MIN => match drive.disk.remove(RESERVE_FILE) {
            Ok(()) => {
                tracing::warn!(drive = %drive.id, "the reserve for deletes is given up: the drive is full");
                look().unwrap_or(free)
            }
            Err(_) => free,
        },
        RESERVE_AGAIN_BYTES.. => {
            if let Err(error) = hold_reserve(drive) {
                tracing::debug!(drive = %drive.id, %error, "no reserve for deletes");
            }
            free
        }
        free => free,
    };
    match free {
        ..ANYTHING_BYTES_MIN => Room::Nothing,
        ANYTHING_BYTES_MIN..GROWTH_BYTES_MIN => Room::WhatDoesNotGrow,
        _ => Room::Everything,
    }
}

/// Not on simulated disks, which nobody else writes to.
fn hold_reserve(drive: &HomeDrive) -> io::Result<()> {
    let disk = &drive.disk;
    if disk.local_path(RESERVE_FILE).is_none() || disk.open_read(RESERVE_FILE).is_ok() {
        return Ok(());
    }
    let held = disk.create_new(RESERVE_FILE)?.reserve(RESERVE_BYTES);
    if held.is_err() {
        disk.remove(RESERVE_FILE)?;
    }
    held
}

/// Does this add rows that stay?
fn grows(action: &Action) -> bool {
    match action {
        Action::Object(command) => !matches!(
            command,
            Command::DeleteVersion { .. }
                | Command::AbortUpload { .. }
                | Command::Relocate { .. }
                | Command::Reap { .. }
                | Command::GarbageDone { .. }
        ),
        Action::Split(SplitCommand::Prepare { .. }) => true,
        // Few and small, and a deletion of a bucket needs them.
        Action::Stub(_) | Action::Records(_) | Action::Split(_) => false,
    }
}

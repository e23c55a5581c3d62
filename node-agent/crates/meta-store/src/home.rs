//! The metadata home: on which drives of this node the log and the snapshots live.
//!
//! Each mirror stores the *mirror set*: an epoch and the drives that are mirrors in it. A change writes a higher epoch to
//! every drive of the new set before anything is acknowledged under it. A start needs a quorum of the newest set: the
//! majority; of two, both. So a change is safe only if the drives that learn of it meet every such quorum of the set
//! before: one of two or of three mirrors may fail at a time; where two of three fail in the same instant the log stops.

use std::sync::Arc;

use grid_types::DriveId;
use sys::Disk;

use crate::log::LogError;

/// Mirrors of the log a node keeps where it has as many drives.
pub const MIRRORS_WANTED: usize = 3;

/// Where the mirror set lies on a drive.
pub(crate) const MIRROR_SET_PATH: &str = "meta/log/mirrors";

/// "SMIR", format version 1.
const MIRROR_SET_MAGIC: [u8; 8] = *b"SMIR\x01\0\0\0";

/// A drive that may carry a mirror; everything lies under `meta/` on it.
#[derive(Clone)]
pub struct HomeDrive {
    /// The drive.
    pub id: DriveId,
    /// Its disk.
    pub disk: Arc<dyn Disk>,
}

/// Which drives are mirrors. Ordered by epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorSet {
    /// Names the log: drives of two nodes are not mixed.
    pub log: [u8; 16],
    /// Grows with each change.
    pub epoch: u64,
    pub drives: Vec<DriveId>,
}

impl MirrorSet {
    /// Mirrors of the set that a start needs.
    pub(crate) fn quorum(&self) -> usize {
        self.drives.len() / 2 + 1
    }

    /// May this set be followed by one that only `informed` learn of?
    pub(crate) fn may_change(&self, informed: &[DriveId]) -> bool {
        let learned = self.drives.iter().filter(|drive| informed.contains(drive)).count();
        learned + self.quorum() > self.drives.len()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MIRROR_SET_MAGIC.to_vec();
        bytes.extend_from_slice(&self.log);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&(self.drives.len() as u64).to_le_bytes());
        for drive in &self.drives {
            bytes.extend_from_slice(drive.as_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let body = body.strip_prefix(&MIRROR_SET_MAGIC)?;
        let (log, body) = body.split_first_chunk::<16>()?;
        let (epoch, body) = body.split_first_chunk::<8>()?;
        let (count, body) = body.split_first_chunk::<8>()?;
        let (drives, rest) = body.as_chunks::<16>();
        if !rest.is_empty() || drives.len() as u64 != u64::from_le_bytes(*count) {
            return None;
        }
        let drives = drives.iter().map(|id| DriveId::from_bytes(*id)).collect();
        Some(Self { log: *log, epoch: u64::from_le_bytes(*epoch), drives })
    }

    /// Makes this set the one that `drive` knows.
    pub(crate) fn write(&self, drive: &HomeDrive) -> std::io::Result<()> {
        drive.disk.write_atomic(MIRROR_SET_PATH, &self.encode(), "log: mirror set")
    }
}

/// What the drives at hand say about the mirrors.
pub(crate) struct HomeView {
    /// The set to go by.
    pub set: MirrorSet,
    /// Highest epoch seen; the next one must be higher.
    pub epoch_max: u64,
    /// The mirrors of the set that are here.
    pub present: Vec<HomeDrive>,
}

/// Reads the mirror sets of all drives and finds the one that counts. `None` where no drive has one. With `forced`, no
/// quorum is asked for.
pub(crate) fn view(drives: &[HomeDrive], forced: bool) -> Result<Option<HomeView>, LogError> {
    let mut known: Vec<(HomeDrive, MirrorSet)> = Vec::new();
    let mut unreadable = Vec::new();
    for drive in drives {
        match drive.disk.read(MIRROR_SET_PATH) {
            Ok(bytes) => match MirrorSet::decode(&bytes) {
                Some(set) => known.push((drive.clone(), set)),
                None => unreadable.push(format!("{} (damaged)", drive.id)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => unreadable.push(format!("{} ({error})", drive.id)),
        }
    }
    for mirror in &unreadable {
        tracing::error!(mirror, "the mirror set of a drive cannot be read");
    }
    let Some(epoch_max) = known.iter().map(|(_, set)| set.epoch).max() else {
        return if unreadable.is_empty() {
            Ok(None)
        } else {
            Err(LogError::Damaged(format!("no mirror set can be read: {}", unreadable.join(", "))))
        };
    };
    if known.iter().any(|(_, set)| set.log != known[0].1.log) {
        return Err(LogError::Damaged(
            "the drives carry metadata logs of two different nodes; take the foreign drive out".to_owned(),
        ));
    }
    // A set that a member contradicts (it knows another one that is not older) never came into force.
    let in_force = |set: &MirrorSet| {
        let contradicts = |other: &MirrorSet| other != set && other.epoch >= set.epoch;
        !known.iter().any(|(drive, other)| set.drives.contains(&drive.id) && contradicts(other))
    };
    let newest = known.iter().map(|(_, set)| set).filter(|set| in_force(set)).max_by_key(|set| set.epoch);
    let Some(set) = newest.or_else(|| known.iter().map(|(_, set)| set).max_by_key(|set| set.epoch)) else {
        return Ok(None);
    };
    let member = |(drive, _): &&(HomeDrive, MirrorSet)| set.drives.contains(&drive.id);
    let present: Vec<HomeDrive> = known.iter().filter(member).map(|(drive, _)| drive.clone()).collect();
    if present.is_empty() || (present.len() < set.quorum() && !forced) {
        let is_here = |id: &&DriveId| !present.iter().any(|drive| drive.id == **id);
        let missing: Vec<String> = set.drives.iter().filter(is_here).map(ToString::to_string).collect();
        return Err(LogError::MirrorsMissing(format!(
            "the metadata log needs {} of its {} mirrors and finds {}; missing or unreadable: {}. Bring a missing drive \
             back. If it is lost for good: a node of a larger grid re-joins, a lone node can be told to go on without \
             it, and loses what only that drive knew",
            set.quorum(),
            set.drives.len(),
            present.len(),
            missing.join(", "),
        )));
    }
    Ok(Some(HomeView { set: set.clone(), epoch_max, present }))
}

/// Which drives ought to be mirrors: those that are stay; then drives on file systems of their own, then the others.
pub(crate) fn choose(drives: &[HomeDrive], now: &[DriveId]) -> Vec<HomeDrive> {
    let is_mirror = |drive: &&HomeDrive| now.contains(&drive.id);
    let mut chosen: Vec<HomeDrive> = drives.iter().filter(is_mirror).take(MIRRORS_WANTED).cloned().collect();
    let file_system = |drive: &HomeDrive| drive.disk.file_system().ok();
    for own_file_system in [true, false] {
        for drive in drives.iter().filter(|drive| !is_mirror(drive)) {
            let Some(here) = file_system(drive) else { continue };
            let taken = chosen.iter().any(|other| file_system(other).as_ref() == Some(&here));
            let there = chosen.iter().any(|other| other.id == drive.id);
            if chosen.len() < MIRRORS_WANTED && !there && !(own_file_system && taken) {
                chosen.push(drive.clone());
            }
        }
    }
    chosen
}

//! The member list as this node has it: in memory for every request between nodes, on its drives for the next start.
//!
//! Invariant: only a list that the grid's CA signed replaces another one, and only one of a higher epoch.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use grid_types::{GridId, NodeId};
use membership::{ListError, SignedList};
use parking_lot::Mutex;
use rpc::Trust;
use sys::Disk;

/// Name of the file at the root of each drive: docs/formats/member-list.md.
pub const MEMBERS_FILE: &str = "shoal-members";

/// The newest list known here. Cheap to ask.
pub struct Members {
    grid: GridId,
    list: ArcSwapOption<SignedList>,
    changes: Mutex<()>,
}

impl Members {
    /// The newest list on these drives; none on those of a node that founded a grid of one.
    pub fn read(grid: GridId, disks: &[Arc<dyn Disk>]) -> Self {
        let members = Self { grid, list: ArcSwapOption::empty(), changes: Mutex::new(()) };
        for disk in disks {
            match read(grid, &**disk) {
                Ok(Some(list)) => {
                    members.replace(list);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a copy of the member list is not used"),
            }
        }
        members
    }

    /// The list, once there is one.
    pub fn list(&self) -> Option<Arc<SignedList>> {
        self.list.load_full()
    }

    /// Takes a list over where it is newer. True where it was.
    pub fn replace(&self, list: SignedList) -> bool {
        let _one_at_a_time = self.changes.lock();
        let known = self.list.load();
        let newer = list.list().grid == self.grid
            && known.as_ref().is_none_or(|known| known.list().epoch < list.list().epoch);
        if newer {
            self.list.store(Some(Arc::new(list)));
        }
        newer
    }

    /// Writes the list to these drives, durably. Blocks.
    pub fn write(&self, disks: &[Arc<dyn Disk>]) -> io::Result<()> {
        let Some(list) = self.list() else { return Ok(()) };
        for disk in disks {
            disk.write_atomic(MEMBERS_FILE, list.bytes(), "member list")?;
        }
        Ok(())
    }
}

impl Trust for Members {
    fn is_member(&self, node: NodeId) -> bool {
        self.list.load().as_ref().is_some_and(|list| list.list().member(node).is_some())
    }
}

/// A copy of the list that cannot be used.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("reading it: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    List(#[from] ListError),
    #[error("it is of grid {0}")]
    OtherGrid(GridId),
}

fn read(grid: GridId, disk: &dyn Disk) -> Result<Option<SignedList>, CopyError> {
    let bytes = match disk.read(MEMBERS_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    // Whoever can write to a drive of this node owns the node: the signature guards against damage here.
    let list = SignedList::verify_any(&bytes)?;
    if list.list().grid != grid {
        return Err(CopyError::OtherGrid(list.list().grid));
    }
    Ok(Some(list))
}

//! Counts what this node's callers changed, so that backups are taken when there is something to back up. What backups
//! themselves write does not count: else each would call for the next.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that a command's row is thought to have beside what is counted: ids, names, stamps.
pub(crate) const ROW_BYTES_GUESSED: u64 = 300;

#[derive(Default)]
pub(crate) struct Changes {
    commits: AtomicU64,
    bytes: AtomicU64,
    roots: AtomicU64,
}

impl Changes {
    /// A command on an object that takes about so many bytes of rows.
    pub(crate) fn object_changed(&self, bytes: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A bucket came or went.
    pub(crate) fn root_changed(&self) {
        self.roots.fetch_add(1, Ordering::Relaxed);
        self.object_changed(ROW_BYTES_GUESSED);
    }

    /// Commands so far, and bytes of their rows.
    pub(crate) fn objects(&self) -> (u64, u64) {
        (self.commits.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Changes of buckets so far.
    pub(crate) fn roots(&self) -> u64 {
        self.roots.load(Ordering::Relaxed)
    }
}

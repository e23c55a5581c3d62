//! Keeps pages that hold keys out of swap.
//!
//! The kernel locks whole pages and does not count: several secrets may share a page, so this module counts for it and
//! unlocks a page when the last of them goes.

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;

use parking_lot::Mutex;

/// How many locks hold each page, by page number.
static LOCKED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// The pages under some bytes stay in memory while this lives.
#[derive(Debug)]
pub struct PageLock {
    pages: RangeInclusive<usize>,
}

impl PageLock {
    /// Locks the pages that `bytes` lie on. They must not move while the lock lives, or it protects something else. Fails
    /// where the process may lock no more (`RLIMIT_MEMLOCK`).
    pub fn of(bytes: &[u8]) -> io::Result<Self> {
        let page_bytes = rustix::param::page_size();
        let first = bytes.as_ptr().addr();
        let last = first + bytes.len().saturating_sub(1);
        let lock = Self { pages: first / page_bytes..=last / page_bytes };
        let mut locked = LOCKED.lock();
        for page in lock.pages.clone() {
            if !locked.contains_key(&page)
                && let Err(error) = kernel::lock(page * page_bytes, page_bytes)
            {
                lock.release(&mut locked, page);
                std::mem::forget(lock);
                return Err(error);
            }
            *locked.entry(page).or_insert(0) += 1;
        }
        drop(locked);
        Ok(lock)
    }

    /// Gives up the pages below `end`.
    fn release(&self, locked: &mut BTreeMap<usize, usize>, end: usize) {
        let page_bytes = rustix::param::page_size();
        for page in self.pages.clone().take_while(|page| *page < end) {
            let holders = locked.get_mut(&page).expect("a page that is held is counted");
            *holders -= 1;
            if *holders == 0 {
                locked.remove(&page);
                kernel::unlock(page * page_bytes, page_bytes);
            }
        }
    }
}

impl Drop for PageLock {
    fn drop(&mut self) {
        self.release(&mut LOCKED.lock(), usize::MAX);
    }
}

#[expect(unsafe_code, reason = "the two calls take addresses; they neither read nor write what is there")]
mod kernel {
    use std::io;

    /// Fails where nothing is mapped, or the limit is reached.
    pub fn lock(address: usize, len: usize) -> io::Result<()> {
        // SAFETY: mlock(2) changes nothing that a program can see of its memory; an address that is not mapped is an error.
        Ok(unsafe { rustix::mm::mlock(std::ptr::without_provenance_mut(address), len) }?)
    }

    /// A page that is gone needs no unlocking.
    pub fn unlock(address: usize, len: usize) {
        // SAFETY: as above, for munlock(2).
        let _ = unsafe { rustix::mm::munlock(std::ptr::without_provenance_mut(address), len) };
    }
}

#[cfg(test)]
mod tests {
    use super::{LOCKED, PageLock};

    fn kernel_says_locked_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn pages_are_locked_while_anyone_needs_them() {
        let bytes = vec![1_u8; 3 * rustix::param::page_size()];
        let Ok(whole) = PageLock::of(&bytes) else {
            // Nothing may be locked here; that is a limit of the machine, and no error of ours.
            return;
        };
        let with_whole = kernel_says_locked_kib();
        assert!(with_whole >= 12, "{with_whole} KiB");
        let part = PageLock::of(&bytes[..1]).unwrap();
        drop(whole);
        let with_part = kernel_says_locked_kib();
        assert!(with_part > 0 && with_part < with_whole, "{with_part} of {with_whole} KiB");
        drop(part);
        assert_eq!(kernel_says_locked_kib(), 0);
        assert!(LOCKED.lock().is_empty());
    }

    #[test]
    fn what_cannot_be_locked_is_told_and_not_counted() {
        let nowhere = std::ptr::without_provenance::<u8>(0);
        assert!(super::kernel::lock(nowhere.addr(), 1).is_err());
    }
}

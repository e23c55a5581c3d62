//! Read buffers that are used again: a fresh one of a megabyte costs hundreds of page faults.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers kept for the next read, per drive.
const KEPT_MAX: usize = 4;
/// Larger buffers are given back to the allocator: 4 × 1.25 MiB is all that a drive holds when idle.
const KEPT_BYTES_MAX: usize = 5 << 18;
/// Smaller ones are not worth keeping.
const KEPT_BYTES_MIN: usize = 64 << 10;

/// A few buffers. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct BufferPool {
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer of exactly the length asked for; returns to the pool when the last `Bytes` of it is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BufferPool {
    /// A buffer of `len` initialised bytes of any content.
    pub fn take(&self, len: usize) -> Buffer {
        let reused = if len < KEPT_BYTES_MIN {
            None
        } else {
            let mut kept = self.kept.lock();
            kept.iter().position(|bytes| bytes.len() >= len).map(|at| kept.swap_remove(at))
        };
        Buffer { bytes: reused.unwrap_or_else(|| vec![0; len]), len, kept: self.kept.clone() }
    }

    /// Gives idle memory back.
    pub fn clear(&self) {
        self.kept.lock().clear();
    }
}

impl Buffer {
    pub fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Shares it without a copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if (KEPT_BYTES_MIN..=KEPT_BYTES_MAX).contains(&self.bytes.len()) {
            let mut kept = self.kept.lock();
            if kept.len() < KEPT_MAX {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

//! Read buffers that are used again: a fresh one of a megabyte costs hundreds of page faults.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Bytes kept for the next reads, per drive: those of eight readers with two batches of 256 KiB each.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Larger buffers are given back to the allocator.
const KEPT_BUFFER_BYTES_MAX: usize = 5 << 18;
/// Smaller ones are not worth keeping.
const KEPT_BUFFER_BYTES_MIN: usize = 64 << 10;

/// A few buffers. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct BufferPool {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer of exactly the length asked for; returns to the pool when the last `Bytes` of it is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    kept: Arc<Mutex<Kept>>,
}

impl BufferPool {
    /// A buffer of `len` initialised bytes of any content.
    pub fn take(&self, len: usize) -> Buffer {
        let reused = if len < KEPT_BUFFER_BYTES_MIN {
            None
        } else {
            let mut kept = self.kept.lock();
            // Not one of much more than is needed, which a larger read could use.
            let fits = |bytes: &Vec<u8>| bytes.len() >= len && bytes.len() / 2 <= len;
            let found = kept.buffers.iter().rposition(fits).map(|at| kept.buffers.swap_remove(at));
            kept.bytes -= found.as_ref().map_or(0, Vec::len);
            found
        };
        Buffer { bytes: reused.unwrap_or_else(|| vec![0; len]), len, kept: self.kept.clone() }
    }

    /// Gives idle memory back.
    pub fn clear(&self) {
        *self.kept.lock() = Kept::default();
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
        let len = self.bytes.len();
        if (KEPT_BUFFER_BYTES_MIN..=KEPT_BUFFER_BYTES_MAX).contains(&len) {
            let mut kept = self.kept.lock();
            if kept.bytes + len <= KEPT_BYTES_MAX {
                kept.bytes += len;
                kept.buffers.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

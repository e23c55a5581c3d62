//! Buffers for stripes: taken from a pool, shared without a copy, given back when the last slice is dropped.

use std::sync::Arc;

use bytes::Bytes;
use grid_types::MemoryPermit;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

/// Buffers kept for the next stripe: enough for a few busy streams, little for an idle node.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Smaller ones are not worth keeping.
const KEPT_BUFFER_BYTES_MIN: usize = 64 << 10;

/// Idle buffers. A fresh buffer of a stripe costs more than a hundred page faults.
#[derive(Default)]
pub(crate) struct BufferPool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    /// A buffer of `len` initialised bytes of any content.
    pub fn take(self: &Arc<Self>, len: usize, held: Held) -> StripeBuffer {
        let reused = if len < KEPT_BUFFER_BYTES_MIN {
            None
        } else {
            let mut idle = self.idle.lock();
            // Not one of much more than is needed, which a larger stripe could use.
            let fits = |buffer: &Vec<u8>| buffer.len() >= len && buffer.len() / 2 <= len;
            let found = idle.buffers.iter().rposition(fits).map(|at| idle.buffers.swap_remove(at));
            idle.bytes -= found.as_ref().map_or(0, Vec::len);
            found
        };
        let bytes = reused.unwrap_or_else(|| vec![0; len]);
        StripeBuffer { bytes, len, pool: self.clone(), _held: held }
    }

    /// Gives idle memory back.
    pub fn clear(&self) {
        *self.idle.lock() = Idle::default();
    }

    fn give_back(&self, bytes: Vec<u8>) {
        if bytes.len() < KEPT_BUFFER_BYTES_MIN {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.bytes + bytes.len() <= KEPT_BYTES_MAX {
            idle.bytes += bytes.len();
            idle.buffers.push(bytes);
        }
    }
}

/// What a buffer holds on to for as long as a slice of it lives.
pub(crate) struct Held {
    _memory: Arc<MemoryPermit>,
    _window: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// The stream's memory.
    pub fn memory(memory: &Arc<MemoryPermit>) -> Self {
        Self { _memory: memory.clone(), _window: None }
    }

    /// The stream's memory and a place in a writer's window.
    pub fn window(memory: &Arc<MemoryPermit>, place: OwnedSemaphorePermit) -> Self {
        Self { _memory: memory.clone(), _window: Some(place) }
    }
}

/// One stripe's bytes.
pub(crate) struct StripeBuffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Arc<BufferPool>,
    _held: Held,
}

impl StripeBuffer {
    pub fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Shares it without a copy.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for StripeBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for StripeBuffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

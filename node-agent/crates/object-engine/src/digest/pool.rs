//! The MD5s of several bodies at once: whoever hashes takes as many waiting batches together as `md5_lanes` says.
//!
//! One worker runs as long as batches wait, on a blocking thread; another one joins only when so many wait that the
//! lanes of the first are full. So a body alone is hashed at once, and bodies that compete share a core instead of
//! spreading over several. No thread is held while nothing waits: a slow client costs none. The queue is bounded by the
//! pipelines, each of which has at most one batch in it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use codec::{md5_lanes, md5_update_many};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::pipeline::BodyHasher;

/// One batch of one body.
pub(super) struct Job {
    pub(super) hasher: BodyHasher,
    pub(super) pieces: Vec<Bytes>,
    pub(super) done: oneshot::Sender<BodyHasher>,
}

/// Hashes batches. Clones share it.
#[derive(Clone)]
pub struct DigestPool {
    shared: Arc<Mutex<Queue>>,
    workers_max: usize,
    lanes: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    workers: usize,
}

impl Default for DigestPool {
    /// As many workers as there are cores.
    fn default() -> Self {
        let workers_max = std::thread::available_parallelism().map_or(1, usize::from);
        Self { shared: Arc::default(), workers_max, lanes: md5_lanes() }
    }
}

impl DigestPool {
    /// Called within a runtime.
    pub(super) fn submit(&self, job: Job) {
        let mut queue = self.shared.lock();
        queue.waiting.push_back(job);
        let lanes_full = queue.waiting.len() >= self.lanes && queue.workers < self.workers_max;
        if queue.workers == 0 || lanes_full {
            queue.workers += 1;
            drop(queue);
            let worker = Worker { shared: self.shared.clone(), lanes: self.lanes };
            tokio::task::spawn_blocking(move || worker.run());
        }
    }
}

/// Counted as long as it lives, however it ends.
struct Worker {
    shared: Arc<Mutex<Queue>>,
    lanes: usize,
}

impl Worker {
    fn run(self) {
        while let Some(jobs) = self.take() {
            hash(jobs);
        }
        // Counted out under the lock by `take` already.
        std::mem::forget(self);
    }

    /// As many batches as there are lanes; counts the worker out where none wait.
    fn take(&self) -> Option<Vec<Job>> {
        let mut queue = self.shared.lock();
        let count = queue.waiting.len().min(self.lanes);
        if count == 0 {
            queue.workers -= 1;
            return None;
        }
        Some(queue.waiting.drain(..count).collect())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.lock().workers -= 1;
    }
}

fn hash(mut jobs: Vec<Job>) {
    // A writer that went away needs no digest.
    jobs.retain(|job| !job.done.is_closed());
    let mut texts: Vec<_> = jobs.iter_mut().map(|job| (&mut job.hasher.md5, job.pieces.as_slice())).collect();
    md5_update_many(&mut texts);
    for mut job in jobs {
        if let Some(checksum) = &mut job.hasher.checksum {
            job.pieces.iter().for_each(|piece| checksum.update(piece));
        }
        // The pieces go first: whoever waits for the digest may wait for their memory too.
        drop(job.pieces);
        let _ = job.done.send(job.hasher);
    }
}

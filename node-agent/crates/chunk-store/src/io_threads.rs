//! The threads that read and write chunk files of one drive. Reads go first, but for one write that may always run, and
//! writes (whose syncs take long) never take the last thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A piece of blocking work.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Which queue a job stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Read,
    Write,
}

/// The two queues. `permit` bounds them; jobs that end or clean up after a writer come without one, at most one a
/// writer, so that a dropped future still runs to completion.
pub(crate) struct IoQueue {
    state: Mutex<Queues>,
    ready: Condvar,
    writers_max: usize,
    read_slots: Arc<Semaphore>,
    write_slots: Arc<Semaphore>,
}

#[derive(Default)]
struct Queues {
    reads: VecDeque<Job>,
    writes: VecDeque<Job>,
    writing: usize,
    closed: bool,
}

impl IoQueue {
    pub fn new(threads: usize, jobs_max: usize) -> Self {
        Self {
            state: Mutex::new(Queues::default()),
            ready: Condvar::new(),
            writers_max: threads.saturating_sub(1).max(1),
            read_slots: Arc::new(Semaphore::new(jobs_max)),
            write_slots: Arc::new(Semaphore::new(jobs_max)),
        }
    }

    /// Waits for a place in the queue. Safe to drop.
    pub async fn permit(&self, lane: Lane) -> Option<OwnedSemaphorePermit> {
        let slots = match lane {
            Lane::Read => &self.read_slots,
            Lane::Write => &self.write_slots,
        };
        slots.clone().acquire_owned().await.ok()
    }

    /// Queues a job. After `close` nobody runs it: it is dropped, and with it the sender that somebody waits on.
    pub fn push(&self, lane: Lane, job: Job) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return drop(job);
        }
        match lane {
            Lane::Read => state.reads.push_back(job),
            Lane::Write => state.writes.push_back(job),
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Threads end when the queues are empty.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }

    fn take(&self) -> Option<(Lane, Job)> {
        let mut state = self.state.lock();
        loop {
            let may_write = !state.writes.is_empty() && state.writing < self.writers_max;
            if may_write
                && (state.writing == 0 || state.reads.is_empty())
                && let Some(job) = state.writes.pop_front()
            {
                state.writing += 1;
                return Some((Lane::Write, job));
            }
            if let Some(job) = state.reads.pop_front() {
                return Some((Lane::Read, job));
            }
            if state.closed && state.writes.is_empty() {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    fn done(&self, lane: Lane) {
        if lane == Lane::Write {
            self.state.lock().writing -= 1;
            self.ready.notify_all();
        }
    }
}

/// Starts the threads. `panicked` is called when a job panics: a bug, after which the drive must not go on.
pub(crate) fn start(
    queue: &Arc<IoQueue>,
    threads: usize,
    panicked: &Arc<dyn Fn() + Send + Sync>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut started = Vec::new();
    for _ in 0..threads.max(1) {
        let (queue, panicked) = (queue.clone(), panicked.clone());
        let thread = std::thread::Builder::new().name("chunk-io".to_owned()).spawn(move || {
            while let Some((lane, job)) = queue.take() {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                    panicked();
                }
                queue.done(lane);
            }
        })?;
        started.push(thread);
    }
    Ok(started)
}

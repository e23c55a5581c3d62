//! Threads that read SQLite: a point read takes some 10 µs, so a thread hand-over must stay small beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

/// Threads that read: reads of two requests at a time, as boards have two to four cores.
const THREADS: usize = 2;
/// Questions that may wait; who comes later waits for a place.
const WAITING_MAX: usize = 1_024;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that answer questions. Dropping it ends them once the queue is empty.
pub(super) struct Readers {
    queue: Arc<Queue>,
    places: Semaphore,
}

struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    ended: bool,
}

impl Readers {
    pub(super) fn start() -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            state: Mutex::new(State { jobs: VecDeque::new(), ended: false }),
            wake: Condvar::new(),
        });
        for number in 0..THREADS {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("meta-read-{number}")).spawn(move || queue.work())?;
        }
        Ok(Self { queue, places: Semaphore::new(WAITING_MAX) })
    }

    /// Runs a job on one of the threads; `None` if it panicked. Dropping the future does not stop the job.
    pub(super) async fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> Option<R> {
        let _place = self.places.acquire().await.ok()?;
        let (answer, asked) = oneshot::channel();
        self.queue.state.lock().jobs.push_back(Box::new(move || {
            // Who asked may have gone.
            let _ = answer.send(job());
        }));
        self.queue.wake.notify_one();
        asked.await.ok()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.state.lock().ended = true;
        self.queue.wake.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        loop {
            let job = {
                let mut state = self.state.lock();
                loop {
                    if let Some(job) = state.jobs.pop_front() {
                        break job;
                    }
                    if state.ended {
                        return;
                    }
                    self.wake.wait(&mut state);
                }
            };
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("a metadata read panicked");
            }
        }
    }
}

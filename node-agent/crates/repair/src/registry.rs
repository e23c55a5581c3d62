//! Runs workers, one task each, at their pace; lists and steers them.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sys::Clock;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::{Counters, Step, Worker};

/// How busy the foreground is: 0 idle, 1 as busy as it can be.
pub(crate) type Load = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Under full load a worker sleeps so many times longer.
const LOAD_FACTOR: f64 = 8.0;
/// And never longer than this between two steps.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// First wait after a failed step; doubled with each further one.
const BACK_OFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait after a failed step.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// Weight of the newest step in the rate.
const RATE_WEIGHT: f64 = 0.05;

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Working, or sleeping between two steps.
    Running,
    /// Nothing to do.
    Idle,
    /// By order.
    Paused,
    /// The last step failed; it tries again soon.
    Failing,
}

impl JobState {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Failing => "failing",
        }
    }
}

/// A worker as the operator sees it.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// What it is at.
    pub state: JobState,
    /// Its figures.
    pub counters: Counters,
    /// Items a second, lately; sleeps included.
    pub rate: f64,
    /// Until the pass ends, where that can be told.
    pub eta: Option<Duration>,
}

/// All workers of this node. Cheap to clone.
#[derive(Clone)]
pub struct JobRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    load: Load,
    stop: watch::Sender<bool>,
    jobs: Mutex<Vec<Arc<Job>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

struct Job {
    status: Mutex<JobStatus>,
    steering: Mutex<Steering>,
    /// Woken by each order.
    ordered: Notify,
}

struct Steering {
    paused: bool,
    run_now: bool,
    tranquility: f64,
}

impl JobRegistry {
    pub(crate) fn new(clock: Arc<dyn Clock>, load: Load) -> Self {
        let (stop, _) = watch::channel(false);
        let shared = Shared { clock, load, stop, jobs: Mutex::default(), tasks: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Starts a worker on the current runtime.
    pub fn spawn(&self, worker: Box<dyn Worker>, tranquility: f64) {
        let status = JobStatus {
            name: worker.name(),
            purpose: worker.purpose(),
            state: JobState::Idle,
            counters: worker.counters(),
            rate: 0.0,
            eta: None,
        };
        let job = Arc::new(Job {
            status: Mutex::new(status),
            steering: Mutex::new(Steering { paused: false, run_now: false, tranquility }),
            ordered: Notify::new(),
        });
        self.shared.jobs.lock().push(job.clone());
        let stop = self.shared.stop.subscribe();
        let (clock, load) = (self.shared.clock.clone(), self.shared.load.clone());
        self.shared.tasks.lock().push(tokio::spawn(run(worker, job, stop, clock, load)));
    }

    /// All workers, ordered by name.
    pub fn list(&self) -> Vec<JobStatus> {
        let mut list: Vec<JobStatus> =
            self.shared.jobs.lock().iter().map(|job| job.status.lock().clone()).collect();
        list.sort_by_key(|status| status.name);
        list
    }

    /// Finishes the step at hand, then waits. False when there is no such worker.
    pub fn pause(&self, name: &str) -> bool {
        self.steer(name, |steering| steering.paused = true)
    }

    /// Goes on.
    pub fn resume(&self, name: &str) -> bool {
        self.steer(name, |steering| steering.paused = false)
    }

    /// Begins a round now.
    pub fn run_now(&self, name: &str) -> bool {
        self.steer(name, |steering| steering.run_now = true)
    }

    /// Sets the pace: after a step that took t it sleeps t times this; 0 = full speed.
    pub fn set_tranquility(&self, name: &str, tranquility: f64) -> bool {
        self.steer(name, |steering| steering.tranquility = tranquility.max(0.0))
    }

    fn steer(&self, name: &str, order: impl FnOnce(&mut Steering)) -> bool {
        let jobs = self.shared.jobs.lock();
        let Some(job) = jobs.iter().find(|job| job.status.lock().name == name) else { return false };
        order(&mut job.steering.lock());
        job.ordered.notify_one();
        true
    }

    /// Stops all workers and waits for them; a step at hand is cut off.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.shared.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
    }
}

async fn run(
    mut worker: Box<dyn Worker>,
    job: Arc<Job>,
    mut stop: watch::Receiver<bool>,
    clock: Arc<dyn Clock>,
    load: Load,
) {
    let mut back_off = BACK_OFF_MIN;
    let mut last = clock.since_boot();
    while !*stop.borrow() {
        let (paused, run_now) = {
            let mut steering = job.steering.lock();
            (steering.paused, std::mem::take(&mut steering.run_now))
        };
        if run_now {
            worker.run_now();
        }
        if paused {
            job.status.lock().state = JobState::Paused;
            tokio::select! {
                () = job.ordered.notified() => continue,
                _ = stop.changed() => return,
            }
        }
        job.status.lock().state = JobState::Running;
        let before = worker.counters();
        let begun = clock.since_boot();
        let result = tokio::select! {
            result = worker.step() => result,
            _ = stop.changed() => return,
        };
        let now = clock.since_boot();
        let took = now.saturating_sub(begun);
        let (state, sleep) = match &result {
            Ok(Step::Busy) => {
                back_off = BACK_OFF_MIN;
                let calm = job.steering.lock().tranquility * (1.0 + LOAD_FACTOR * load().clamp(0.0, 1.0));
                (JobState::Running, took.mul_f64(calm).min(SLEEP_MAX))
            }
            Ok(Step::Idle(wait)) => {
                back_off = BACK_OFF_MIN;
                (JobState::Idle, *wait)
            }
            Err(error) => {
                tracing::warn!(job = worker.name(), %error, "a background step failed");
                let wait = back_off;
                back_off = (back_off * 2).min(BACK_OFF_MAX);
                (JobState::Failing, wait)
            }
        };
        {
            let mut status = job.status.lock();
            let mut counters = worker.counters();
            if let Err(error) = &result {
                counters.last_error = Some(error.to_string());
            }
            let elapsed = now.saturating_sub(last).as_secs_f64().max(1e-6);
            let rate = counters.done.saturating_sub(before.done) as f64 / elapsed;
            status.rate += RATE_WEIGHT * (rate - status.rate);
            status.eta = eta(&status, &before, &counters, elapsed);
            status.counters = counters;
            status.state = state;
        }
        last = now;
        if sleep.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            () = job.ordered.notified() => {}
            _ = stop.changed() => return,
        }
    }
}

/// What is left of the pass at the speed of the last step, smoothed with what was told before.
fn eta(status: &JobStatus, before: &Counters, after: &Counters, elapsed: f64) -> Option<Duration> {
    let (from, to) = (before.pass?, after.pass?);
    if to <= from || to >= 1.0 {
        return status.eta.filter(|_| to < 1.0);
    }
    let fresh = (1.0 - to) / (to - from) * elapsed;
    let told = status.eta.map_or(fresh, |eta| eta.as_secs_f64());
    Duration::try_from_secs_f64(told + RATE_WEIGHT * (fresh - told)).ok()
}

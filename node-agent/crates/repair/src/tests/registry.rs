use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use meta_store::MetaError;
use sys::RealClock;

use crate::{Counters, JobRegistry, JobState, RepairError, Step, Worker};

/// Counts its steps; fails, rests or works as it is told.
#[derive(Clone, Default)]
struct Puppet {
    steps: Arc<AtomicU64>,
    rounds: Arc<AtomicU64>,
    /// 0 busy, 1 idle, 2 failing, 3 never ends a step.
    mood: Arc<AtomicU64>,
}

impl Worker for Puppet {
    fn name(&self) -> &'static str {
        "puppet"
    }
    fn purpose(&self) -> &'static str {
        "does as it is told"
    }
    fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
        async move {
            self.steps.fetch_add(1, Ordering::SeqCst);
            match self.mood.load(Ordering::SeqCst) {
                0 => Ok(Step::Busy),
                1 => Ok(Step::Idle(Duration::from_secs(3_600))),
                2 => Err(MetaError::Damaged("on purpose".to_owned()).into()),
                _ => std::future::pending().await,
            }
        }
        .boxed()
    }
    fn counters(&self) -> Counters {
        Counters { done: self.steps.load(Ordering::SeqCst), ..Counters::default() }
    }
    fn run_now(&mut self) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..4_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("never: {what}");
}

fn registry() -> JobRegistry {
    JobRegistry::new(Arc::new(RealClock), Arc::new(|| 0.0))
}

fn state(jobs: &JobRegistry) -> JobState {
    jobs.list()[0].state
}

#[tokio::test]
async fn a_worker_is_listed_paused_and_resumed() {
    let (jobs, puppet) = (registry(), Puppet::default());
    jobs.spawn(Box::new(puppet.clone()), 0.0);
    until("it works", || puppet.steps.load(Ordering::SeqCst) > 10).await;
    assert_eq!(jobs.list()[0].name, "puppet");
    assert!(jobs.pause("puppet"));
    until("it pauses", || state(&jobs) == JobState::Paused).await;
    let steps = puppet.steps.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(puppet.steps.load(Ordering::SeqCst), steps);
    assert!(jobs.resume("puppet"));
    until("it goes on", || puppet.steps.load(Ordering::SeqCst) > steps + 10).await;
    assert!(!jobs.pause("nobody") && !jobs.resume("nobody") && !jobs.run_now("nobody"));
    jobs.shutdown().await;
    let steps = puppet.steps.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(puppet.steps.load(Ordering::SeqCst), steps, "nothing runs after shutdown");
}

#[tokio::test]
async fn an_idle_worker_runs_when_it_is_ordered_to() {
    let (jobs, puppet) = (registry(), Puppet::default());
    puppet.mood.store(1, Ordering::SeqCst);
    jobs.spawn(Box::new(puppet.clone()), 0.0);
    until("it rests", || puppet.steps.load(Ordering::SeqCst) == 1 && state(&jobs) == JobState::Idle).await;
    assert!(jobs.run_now("puppet"));
    until("it runs", || puppet.steps.load(Ordering::SeqCst) == 2).await;
    assert_eq!(puppet.rounds.load(Ordering::SeqCst), 1);
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_failing_worker_says_why_and_tries_again() {
    let (jobs, puppet) = (registry(), Puppet::default());
    puppet.mood.store(2, Ordering::SeqCst);
    jobs.spawn(Box::new(puppet.clone()), 0.0);
    until("it fails", || state(&jobs) == JobState::Failing).await;
    assert!(jobs.list()[0].counters.last_error.as_ref().unwrap().contains("on purpose"));
    puppet.mood.store(1, Ordering::SeqCst);
    until("it recovers", || state(&jobs) == JobState::Idle).await;
    jobs.shutdown().await;
}

#[tokio::test]
async fn a_step_that_hangs_does_not_hang_the_shutdown() {
    let (jobs, puppet) = (registry(), Puppet::default());
    puppet.mood.store(3, Ordering::SeqCst);
    jobs.spawn(Box::new(puppet.clone()), 0.0);
    until("it hangs", || puppet.steps.load(Ordering::SeqCst) == 1).await;
    jobs.shutdown().await;
}

#[tokio::test]
async fn tranquility_and_load_slow_a_worker() {
    struct Slow(Arc<AtomicU64>);
    impl Worker for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }
        fn purpose(&self) -> &'static str {
            "takes its time"
        }
        fn step(&mut self) -> BoxFuture<'_, Result<Step, RepairError>> {
            async move {
                self.0.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok(Step::Busy)
            }
            .boxed()
        }
        fn counters(&self) -> Counters {
            Counters::default()
        }
    }
    let (fast, calm) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let idle = registry();
    let loaded = JobRegistry::new(Arc::new(RealClock), Arc::new(|| 1.0));
    idle.spawn(Box::new(Slow(fast.clone())), 0.0);
    loaded.spawn(Box::new(Slow(calm.clone())), 10.0);
    until("the fast one worked", || fast.load(Ordering::SeqCst) >= 60).await;
    let (fast, calm) = (fast.load(Ordering::SeqCst), calm.load(Ordering::SeqCst));
    assert!(calm * 5 < fast, "{calm} against {fast} steps");
    idle.shutdown().await;
    loaded.shutdown().await;
}

//! Periods, ages and pace of the workers.

use std::time::Duration;

/// Periods, ages and pace; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct RepairConfig {
    /// `rebuild` looks for work again after so long.
    pub rebuild_every: Duration,
    /// A node that has just started waits so long before its first pass of `rebuild`, unless one is ordered: it has not heard
    /// the others yet, and would take for lost what they hold.
    pub rebuild_settle: Duration,
    /// After a pass that left something undone (no drive to go to, too few good chunks), `rebuild` and `drain` try that
    /// again after so long, or when the drives have changed.
    pub retry_every: Duration,
    /// A drive must be failing for so long before its chunks are rebuilt: a cable may be put back.
    pub failing_grace: Duration,
    /// A drive of another node must be suspect for so long before its chunks are rebuilt: a node that restarts, or whose
    /// network is away for a while, costs no copying. Longer than a boot with a check of its file systems.
    pub away_before_rebuild: Duration,
    /// `drain` looks for work again after so long.
    pub drain_every: Duration,
    /// No row may have named a draining drive for so long before it counts as empty: writes that began before the order
    /// may still commit.
    pub drain_settle: Duration,
    /// `uplift` looks at the grid again after so long.
    pub uplift_look_every: Duration,
    /// What the grid can protect must have been the same for so long before segments are held against it: a node that
    /// restarts, or drives that come one by one, cost no pass.
    pub uplift_settle: Duration,
    /// A pass of `uplift` over all rows begins so long after the one before ended, although nothing has changed: a write
    /// may have met drives that refused.
    pub uplift_every: Duration,
    /// ... and after one that left something undone.
    pub uplift_retry_every: Duration,
    /// `uplift` writes only while so much of the room of all drives is free, in percent: the old chunks stay beside the new
    /// ones for a while, and clients come first.
    pub uplift_free_percent_min: u64,
    /// `collect-garbage` looks for rows again after so long.
    pub garbage_every: Duration,
    /// Chunks of a deleted version stay for so long, for reads that run.
    pub garbage_age: Duration,
    /// A pass of `scrub` over a drive begins so long after the one before began.
    pub scrub_every: Duration,
    /// A pass of `inventory` over a drive begins so long after the one before ended.
    pub inventory_every: Duration,
    /// A chunk must be known to be referenced by nothing for so long before its removal is asked for.
    pub lease: Duration,
    /// `compact` looks at the drives again after so long.
    pub compact_every: Duration,
    /// Rows or chunks of one page.
    pub page: usize,
    /// Chunks without a row that one drive may remember; more are found in a later pass. 40 bytes each.
    pub candidates_max: usize,
    /// How much slower than full speed.
    pub tranquility: Tranquility,
}

/// After a step that took t, a worker sleeps t times this (more under load).
#[derive(Debug, Clone)]
pub struct Tranquility {
    /// Of `rebuild`: promises are at stake.
    pub rebuild: f64,
    /// Of `drain`.
    pub drain: f64,
    /// Of `uplift`.
    pub uplift: f64,
    /// Of `collect-garbage`.
    pub garbage: f64,
    /// Of `scrub`.
    pub scrub: f64,
    /// Of `inventory`.
    pub inventory: f64,
    /// Of `compact`.
    pub compact: f64,
}

impl Default for RepairConfig {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        let tranquility = Tranquility {
            rebuild: 0.2,
            drain: 1.0,
            uplift: 1.0,
            garbage: 1.0,
            scrub: 4.0,
            inventory: 4.0,
            compact: 2.0,
        };
        Self {
            rebuild_every: Duration::from_secs(5),
            rebuild_settle: Duration::from_secs(5),
            retry_every: Duration::from_secs(300),
            failing_grace: Duration::from_secs(60),
            away_before_rebuild: Duration::from_secs(15 * 60),
            drain_every: Duration::from_secs(15),
            drain_settle: Duration::from_secs(600),
            uplift_look_every: Duration::from_secs(15),
            uplift_settle: Duration::from_secs(60),
            uplift_every: Duration::from_secs(24 * HOUR),
            uplift_retry_every: Duration::from_secs(HOUR),
            uplift_free_percent_min: 5,
            garbage_every: Duration::from_secs(60),
            garbage_age: Duration::from_secs(15 * 60),
            scrub_every: Duration::from_secs(30 * 24 * HOUR),
            inventory_every: Duration::from_secs(6 * HOUR),
            lease: Duration::from_secs(24 * HOUR),
            compact_every: Duration::from_secs(60),
            page: 64,
            candidates_max: 65_536,
            tranquility,
        }
    }
}

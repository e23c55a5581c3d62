//! Background workers that keep the promise: finds lost, rotten, badly placed chunks; rebuilds, scrubs, reaps, drains,
//! uplifts.
//!
//! Invariants: imports neither object-engine nor keyring: works on ciphertext alone; reap is a command, a chunk goes
//! only after every shard declared its segment dead; every worker is named, listable, pausable, throttled and resumable.
//! Of several nodes, the one that leads a shard does what its rows ask for, the one that holds a drive what the drive does.
//! A row names a chunk only after it was synced and re-read; every step may be cut off anywhere and done again.

mod compact;
mod config;
mod context;
mod drain;
mod error;
mod garbage;
mod inventory;
mod mover;
mod rebuild;
mod registry;
mod round;
mod rows;
mod scrub;
mod state_file;
mod uplift;
mod worker;

pub use config::{RepairConfig, Tranquility};
pub use context::RepairContext;
pub use error::RepairError;
pub use registry::{JobRegistry, JobState, JobStatus};
pub use rows::{RowPage, SegmentRows};
pub use worker::{Counters, Step, Worker};

#[cfg(test)]
mod tests;

/// All workers of this node, started. Dropping it stops them after the step at hand is cut off.
pub struct Repair {
    context: std::sync::Arc<RepairContext>,
    jobs: JobRegistry,
}

impl Repair {
    /// Starts the workers on the current runtime.
    pub fn start(context: RepairContext) -> Self {
        let context = std::sync::Arc::new(context);
        let jobs = JobRegistry::new(context.clock.clone(), context.load.clone());
        let tranquility = &context.config.tranquility;
        jobs.spawn(Box::new(rebuild::Rebuild::new(context.clone())), tranquility.rebuild);
        jobs.spawn(Box::new(drain::Drain::new(context.clone())), tranquility.drain);
        jobs.spawn(Box::new(uplift::Uplift::new(context.clone())), tranquility.uplift);
        jobs.spawn(Box::new(garbage::CollectGarbage::new(context.clone())), tranquility.garbage);
        jobs.spawn(Box::new(scrub::Scrub::new(context.clone())), tranquility.scrub);
        jobs.spawn(Box::new(inventory::Inventory::new(context.clone())), tranquility.inventory);
        jobs.spawn(Box::new(compact::Compact::new(context.clone())), tranquility.compact);
        Self { context, jobs }
    }

    /// What the operator sees and steers.
    pub fn jobs(&self) -> &JobRegistry {
        &self.jobs
    }

    /// Draining drives on which nothing is left that the grid needs, since the last call: this node's own, and where it
    /// leads the root shard those of all nodes.
    pub fn take_emptied(&self) -> Vec<grid_types::DriveId> {
        self.context.take_emptied()
    }

    /// Segments that the last pass of `rebuild` found with too few good chunks: data is lost unless a drive comes back.
    pub fn unrecoverable(&self) -> u64 {
        self.context.unrecoverable()
    }

    /// Stops all workers and waits for them.
    pub async fn shutdown(&self) {
        self.jobs.shutdown().await;
    }
}

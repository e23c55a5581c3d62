//! The drives of this node: finding them at start, watching them at run time.

mod check;
mod discovery;
mod lock;
mod order;
mod score;
mod table;
mod watch;

#[cfg(test)]
mod discovery_tests;
#[cfg(test)]
mod score_tests;

pub use discovery::{Discovered, DiscoveryError, OurDrive, ProblemFolder, discover};
pub use lock::DriveLock;
pub use order::{DriveOrder, OrderError};
pub use score::Scores;
pub use table::{DriveTable, WatchedDrive};
pub use watch::{DriveWatch, WatchConfig, WatchStart};

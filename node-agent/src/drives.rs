//! The drives of this node: finding them at start, watching them at run time.

mod check;
mod discovery;
mod lock;
mod score;
mod table;
mod watch;

#[cfg(test)]
mod discovery_tests;
#[cfg(test)]
mod score_tests;

pub use discovery::{Discovered, DiscoveryError, OurDrive, ProblemFolder, discover};
pub use lock::DriveLock;
pub use score::Scores;
pub use table::DriveTable;
pub use watch::{DriveOrder, DriveWatch, WatchConfig, WatchStart, WatchedDrive};

//! The only door to the operating system: clock, randomness, disk (network follows with the grid); real ones, and
//! simulated ones with faults.
//!
//! Invariant: the Raft log, chunk files and packs touch no `std::fs`, no `Instant` and no `SystemTime`; they go
//! through these traits. Calls of `Disk` and `DiskFile` block and belong on threads that may block.

pub mod clock;
pub mod disk;
pub mod locked_memory;
pub mod random;
mod rtc;
mod steered_clock;
mod supply;

pub use clock::{Clock, Reading, RealClock, SimClock, TimeTrust};
pub use disk::{DirEntry, Disk, DiskFile, FaultDisk, MutantDisk, PowerSupply, RealDisk, Space, SyncSite};
pub use random::{Random, RealRandom, SeededRandom};
pub use rtc::read_rtc;
pub use steered_clock::SteeredClock;
pub use supply::{HWMON, under_voltage};

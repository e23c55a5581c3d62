//! Which time it is, and who vouches for it.
//!
//! - `core`: decides, as a pure state machine of what it is told and the clock that never steps.
//! - `agreement`: what the majority of several clocks says.
//! - `sntp`: asks servers of the Network Time Protocol. `wire`: what members tell each other of their time.
//! - `floor`: the file with the time before which it cannot be.
//! - `keeper`: the task that owns the core, asks, and steers the clock of the process; `service` answers members, `status`
//!   is what it shows.
//!
//! Invariants: a time before the floor is never believed, whoever tells it; the floor rises by proofs and by elapsed time
//! alone, slower than any clock here runs, so that it stays behind the true time while no proof was wrong; what replaces a
//! proof is at least as good; nothing here sets the host's clock.

mod agreement;
mod config;
mod core;
mod floor;
mod keeper;
mod service;
mod sntp;
mod source;
mod status;
mod wire;

pub use self::core::Refusal;
pub use config::{CLOCKS_APART_MAX, FLOOR_EARLIEST, GRID_TIME_AFTER, NTP_SERVERS_MAX, TimeConfig};
pub use floor::{FLOOR_FILE, read_floor, write_floor};
pub use keeper::{Electorate, KeeperStart, OperatorTime, SERVICE, TimeKeeper};
pub use source::TimeSource;
pub use status::{PeerClock, TimeStatus};

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod sntp_tests;

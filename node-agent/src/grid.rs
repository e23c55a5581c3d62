//! This node's part in the grid: who belongs to it, how others reach this node, who of them lives.

mod joining;
mod link;
mod members;
mod picture;
mod registry;
mod voters;

pub use joining::{JoinBy, Joining, JoiningError, join};
pub use link::{Followed, Following, GridLink, GridLinkError, LinkStart, multicast_of, reachable};
pub use members::{MEMBERS_FILE, Members};
pub use picture::Picture;
pub use registry::{CA_SETTING, GridRegistry, RegistryFailure, resealed_ca};

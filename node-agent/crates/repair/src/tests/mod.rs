//! Workers over real metadata and segments on simulated drives.

mod garbage;
mod inventory;
mod nodes;
mod rebuild;
mod registry;
mod rig;
mod scrub;
mod survival;
mod uplift;

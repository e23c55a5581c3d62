//! Workers over real metadata and segments on simulated drives.

mod garbage;
mod improve;
mod inventory;
mod leaving;
mod nodes;
mod rebuild;
mod registry;
mod rig;
mod scrub;
mod survival;
mod uplift;

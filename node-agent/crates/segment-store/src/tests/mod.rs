//! Whole segments on simulated drives.

mod damage;
mod failure;
mod rebuild;
mod rig;
mod round_trip;

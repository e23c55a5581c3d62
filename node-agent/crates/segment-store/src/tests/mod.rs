//! Whole segments on simulated drives.

mod damage;
mod failure;
mod power_cut;
mod rebuild;
mod rig;
mod round_trip;

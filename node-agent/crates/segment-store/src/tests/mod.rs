//! Whole segments on simulated drives.

mod ack_sets;
mod chunk_service;
mod damage;
mod failure;
mod nodes;
mod nodes_rig;
mod peers;
mod power_cut;
mod rebuild;
mod recode;
mod rescue;
mod rig;
mod round_trip;

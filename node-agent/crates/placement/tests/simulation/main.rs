//! Seeded simulations of placement: random grids and profiles, one property a file. A seed that fails is the bug report.

mod ack_sets;
mod changes;
mod fallback;
mod grids;
mod repairs;
mod scale;
mod spread;

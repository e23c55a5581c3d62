//! The whole store on real and simulated disks.

mod fixture;
mod lifecycle_tests;

//! The whole store on real and simulated disks.

mod backup_tests;
mod fixture;
mod lifecycle_tests;

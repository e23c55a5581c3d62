//! The whole store on real and simulated disks.

mod backup_tests;
mod crash_tests;
mod drive_failure_tests;
mod fixture;
mod grid;
mod grid_tests;
mod heartbeat_tests;
mod late_voter_tests;
mod leader_tests;
mod lifecycle_tests;
mod power_cut_tests;
mod room_tests;
mod split_tests;
mod supervisor_tests;

//! The state machine without Raft.

mod command_tests;
mod fixture;
mod list_tests;
mod property_tests;
mod reap_simulation_tests;
mod replace_tests;
mod schema_tests;
mod split_simulation_tests;
mod split_tests;
mod upload_tests;

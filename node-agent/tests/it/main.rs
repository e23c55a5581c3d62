//! The integration tests of the agent: one binary, a module a subject.

mod architecture;
mod clock;
mod command_line;
mod demo;
mod flash;
mod rebuild;
mod repository;
mod shoal;

//! The handlers of the table, a file a noun.

pub mod backup;
pub mod clock;
pub mod drives;
pub mod enrolments;
pub mod health;
pub mod jobs;
pub mod keys;
pub mod nodes;
pub mod page;
pub mod pairing;
pub mod quarantine;
pub mod status;
pub mod tickets;

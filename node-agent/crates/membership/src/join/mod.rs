//! How a stranger with a ticket becomes a member, how a node whose key was registered takes up
//! its place, and how a person lets one in by comparing a code.
//!
//! Order: the joiner gets the signed list and checks it against the ticket's pin, and that the peer's TLS key is a
//! member's; only then it proves the secret, bound to this TLS connection; the server verifies, changes ticket and
//! member list in one compare-and-set, and answers with the new list and the root key.
//!
//! Invariants: a false grid learns nothing that it could use elsewhere; whoever holds no good ticket learns nothing but
//! that; the same key is admitted once, however often it asks.

mod applicant;
mod pairing;
mod registry;
mod service;
mod throttle;
mod wire;

pub use applicant::{Admission, Applicant, Door, JoinError, enrol, join};
pub use pairing::{PAIRING_LIFETIME, PAIRINGS_MAX, PairingApplicant, PairingCode, PendingPairing, pair};
pub use registry::{AdmitError, JoinSecrets, Registry, RegistryError};
pub use service::{JoinService, SERVICE};
pub use throttle::{FAILURE_WINDOW, FAILURES_MAX, THROTTLED_SOURCES_MAX};
pub use wire::{JOIN_MESSAGE_BYTES_MAX, ROOT_KEY_BYTES_MAX, SETTINGS_BYTES_MAX};

#[cfg(test)]
mod tests;

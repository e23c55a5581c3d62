//! AWS Signature Version 4: header, query (presigned) and streaming forms. Version 2 behind a switch.
//!
//! Source: AWS, "Authenticating Requests (AWS Signature Version 4)". Parsing and verifying are pure functions of the
//! request, the secret and the time; only looking up the secret is asynchronous.
//!
//! Invariants: signatures are compared in constant time; nothing of the body is read before its head is verified; a
//! signing key enters the cache only after a signature by it was right.

mod authorization;
mod canonical;
mod clock_time;
mod payload;
mod presigned;
mod scope;
mod signing_key;
mod verify;
mod version_2;

pub use authorization::{Authorization, parse_authorization};
pub use canonical::{SignedRequest, canonical_query, canonical_request, uri_encode};
pub use clock_time::{format_basic, format_extended, parse_basic, parse_http};
pub use payload::{Payload, PayloadHash};
pub use presigned::{EXPIRES_SECONDS_MAX, Presigned, parse_presigned};
pub use scope::{CredentialScope, ScopeError};
pub use signing_key::{SigningKey, SigningKeyCache};
pub use verify::{Proof, ProofRules, Verified, parse_proof, verify};
pub use version_2::{Version2, is_version_2, verify_version_2};

/// The one algorithm that is spoken.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests;

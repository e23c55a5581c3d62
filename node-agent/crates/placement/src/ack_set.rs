//! When is a write durable enough to acknowledge?

use grid_types::{FailureDomain, Profile};

/// True when the chunks on these domains (one entry per synced chunk) still decode after the loss of any one domain;
/// for `Copies(1)` when its one chunk is synced; with a single domain in all, when k chunks are synced.
pub fn ack_set_reached(_profile: Profile, _acked: &[FailureDomain], _domains_in_grid: usize) -> bool {
    todo!()
}

/// The pure part: acked − max per domain ≥ k.
pub fn durable_after_any_domain_loss(_k: usize, _acked: &[FailureDomain]) -> bool {
    todo!()
}

//! When is a write durable enough to acknowledge?

use std::collections::BTreeMap;

use grid_types::{FailureDomain, Profile};

/// True when the chunks on these domains (one entry per synced chunk) still decode after the loss of any one domain;
/// for `Copies(1)` when its one chunk is synced; with a single domain in all, when k chunks are synced.
pub fn ack_set_reached(profile: Profile, acked: &[FailureDomain], domains_in_grid: usize) -> bool {
    let k = profile.data_chunks();
    if domains_in_grid <= 1 || profile.loss_tolerance() == 0 {
        return acked.len() >= k;
    }
    durable_after_any_domain_loss(k, acked)
}

/// The pure part: acked − max per domain ≥ k.
pub fn durable_after_any_domain_loss<Domain: Ord>(k: usize, acked: &[Domain]) -> bool {
    let mut per_domain: BTreeMap<&Domain, usize> = BTreeMap::new();
    for domain in acked {
        *per_domain.entry(domain).or_default() += 1;
    }
    let most = per_domain.values().copied().max().unwrap_or(0);
    acked.len() - most >= k
}

/// Chunks on distinct domains that an acknowledgement needs, for messages: k + 1, or k where nothing may be lost.
pub fn ack_set_domains(profile: Profile) -> usize {
    profile.data_chunks() + usize::from(profile.loss_tolerance() > 0)
}

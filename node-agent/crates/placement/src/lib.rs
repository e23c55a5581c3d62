//! Chooses drives for the chunks of a segment: pure functions of a `GridSnapshot` and a random draw.
//!
//! Invariant: no I/O, no clock, no state. Ack-set rule (invariant 1): with acked chunks spread over failure domains,
//! acked − max per domain ≥ k.

mod ack_set;
mod auto;
mod choose;
mod domains;
mod uplift;

pub use ack_set::{ack_set_domains, ack_set_reached, durable_after_any_domain_loss};
pub use auto::{auto_profile, profile_for};
pub use choose::{Placement, PlacementError, place, place_near, place_one};
pub use domains::{Domains, domains_in_grid};
pub use uplift::{Change, Uplift, Wish, Wishes};

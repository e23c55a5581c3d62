//! The grid's root keys on this node: where they lie, how they are changed, how members get them.
//!
//! A rotation is a row of small steps, each of which the next leader takes up where the last one was when the power went:
//!
//! 1. Somebody orders it: the record `root-keys-wanted`. Removing a member orders it in the same commit.
//! 2. The root's leader draws the next key, puts it beside its data, and names it in the record `root-keys`.
//! 3. Every member fetches it from one that has it, puts it beside its data on every drive, and says so in its own record.
//! 4. Once every member that lives, every voter of the root shard and a majority of all have it, it becomes the active one: the one
//!    that seals.
//! 5. The leader seals anew, in batches, what an older key sealed; again and again until nothing is left.
//! 6. Once every member seals with the new key, and has what the root shard says now on its drives (root bag), the older keys
//!    are forgotten.
//!
//! Invariants: a key lies on every drive in service before anything is sealed with it; a key is forgotten only when nothing is
//! sealed with it and every member has its successor; a key is told to members alone, by a node that knows who was removed
//! when it was drawn. A member that was away gets the key before it serves.

mod keeper;
mod reseal;
#[cfg(test)]
mod root_keys_tests;
mod service;
mod state;
mod store;

pub use keeper::{KeeperError, KeeperParts, KeyKeeper};
pub use service::ROOT_KEY_SERVICE;
pub use state::{note_held, wanted};
pub use store::{KeyPlaces, load, put_beside};

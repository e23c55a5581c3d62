//! What the root shard says of root keys; no key is in it. Records of kind 7:
//!
//! | record | value |
//! |---|---|
//! | `root-keys` | `Rotation`; absent until the first rotation |
//! | `root-keys-wanted` | a rotation was ordered |
//! | `root-key-holder/` ‖ node id | `Holder` |

use data_encoding::HEXLOWER;
use grid_types::NodeId;
use keyring::{ROOT_KEYS_MAX, RootKey, RootKeys};
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaError, MetaStore};
use serde::{Deserialize, Serialize};

pub(super) const ROTATION: &[u8] = b"root-keys";
/// Key of the record that orders a rotation.
pub const WANTED: &[u8] = b"root-keys-wanted";
pub(super) const HOLDERS: &[u8] = b"root-key-holder/";

/// The root keys of the grid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotation {
    /// The generation that seals.
    pub active: u32,
    /// All that something may be sealed with, and the one that is being handed out.
    pub keys: Vec<KnownKey>,
    /// Nothing in the metadata is sealed with another one than the active one, and nobody seals so any more.
    pub resealed: bool,
}

/// A root key, as far as everybody may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownKey {
    pub generation: u32,
    /// `RootKey::check`, hex.
    pub check: String,
    /// Epoch of the member list when it was drawn: who knows an older one does not hand it out.
    pub list_epoch: u64,
}

/// What a member has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Beside the data, on every drive in service.
    pub generations: Vec<u32>,
    /// What it seals with.
    pub sealing: u32,
    /// With this one active and all sealed anew, its drives got what the root shard said.
    pub bag: u32,
}

/// Records written in one commit, at most.
const BATCH: usize = 128;

#[derive(Debug, Serialize, Deserialize)]
struct Wanted {}

impl Rotation {
    /// Of the keys up to `active` that this node holds.
    pub(super) fn of(keys: &RootKeys, active: u32, list_epoch: u64) -> Self {
        let mut held = keys.generations();
        held.retain(|generation| *generation <= active);
        held.sort_unstable();
        let held = held.into_iter().filter_map(|generation| keys.get(generation));
        Self { active, keys: held.map(|key| KnownKey::of(&key, list_epoch)).collect(), resealed: false }
    }

    /// Whether one more can be handed out.
    pub(super) fn has_room(&self) -> bool {
        self.keys.iter().filter(|key| key.generation <= self.active).count() < ROOT_KEYS_MAX
    }

    /// This key is handed out next, in the place of one that was and seals nothing yet.
    pub(super) fn hand_out(&mut self, key: KnownKey) {
        self.keys.retain(|known| known.generation <= self.active);
        self.keys.push(key);
        self.resealed = false;
    }

    pub(super) fn with_newest_active(self) -> Self {
        Self { active: self.newest(), resealed: false, ..self }
    }

    pub(super) fn newest(&self) -> u32 {
        self.keys.iter().map(|key| key.generation).max().unwrap_or(self.active)
    }

    pub(super) fn generations(&self) -> Vec<u32> {
        self.keys.iter().map(|key| key.generation).collect()
    }

    pub(super) fn known(&self, generation: u32) -> Option<&KnownKey> {
        self.keys.iter().find(|key| key.generation == generation)
    }
}

impl KnownKey {
    pub(super) fn of(key: &RootKey, list_epoch: u64) -> Self {
        Self { generation: key.generation(), check: check(key), list_epoch }
    }

    pub(super) fn is(&self, key: &RootKey) -> bool {
        self.generation == key.generation() && self.check == check(key)
    }
}

fn check(key: &RootKey) -> String {
    HEXLOWER.encode(&key.check().0)
}

pub(super) fn holder_key(node: NodeId) -> Vec<u8> {
    [HOLDERS, node.as_bytes()].concat()
}

pub(super) fn setting(key: &[u8], expect: Expect, value: Option<Vec<u8>>) -> RecordWrite {
    RecordWrite { kind: RecordKind::Setting, key: key.to_vec(), expect, value }
}

/// After metadata was made anew from a backup: the records say that the grid uses the keys that this node holds, the newest of
/// which seals; who has what is asked again. Else a key that came after the backup would be forgotten.
pub async fn note_held(meta: &MetaStore, keys: &RootKeys, list_epoch: u64) -> Result<(), NoteError> {
    let known = meta.record(RecordKind::Setting, ROTATION).await?;
    let active = keys.generations().into_iter().max().unwrap_or_default();
    if known.is_none() && keys.generations().len() == 1 {
        return Ok(());
    }
    keys.seal_with(active);
    let rotation = Rotation::of(keys, active, list_epoch);
    let mut writes = vec![setting(ROTATION, Expect::Any, Some(crate::records::encode(&rotation)?))];
    let holders = meta.records(RecordKind::Setting, Some(HOLDERS), membership::MEMBERS_MAX).await?;
    let holders = holders.into_iter().map(|record| record.key).filter(|key| key.starts_with(HOLDERS));
    writes.extend(holders.map(|key| setting(&key, Expect::Any, None)));
    for batch in writes.chunks(BATCH) {
        meta.write_records(batch.to_vec()).await?;
    }
    Ok(())
}

/// Why `note_held` failed.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// The root shard.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A record cannot be written.
    #[error("writing a record: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Orders a rotation, once it is committed.
pub fn wanted() -> Result<RecordWrite, serde_json::Error> {
    Ok(setting(WANTED, Expect::Any, Some(crate::records::encode(&Wanted {})?)))
}

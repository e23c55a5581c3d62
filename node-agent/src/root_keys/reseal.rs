//! One pass over all that is sealed with a root key.

use keyring::{RootKeys, SealedValue};
use meta_store::root::{Expect, Record, RecordKind, RecordWrite};
use meta_store::{MetaError, MetaStore};
use sys::Random;

use crate::grid::{CA_SETTING, resealed_ca};
use crate::node::{AUTHORITY_LABEL, AUTHORITY_SETTING};

/// Records read, and written in one commit, at most.
const BATCH: usize = 128;

/// What a pass found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Records that are sealed with a root key, or hold a key that is.
    pub records: u64,
    /// Of them, sealed with another one than the current.
    pub older: u64,
    /// Of them, could not be opened: damaged.
    pub stuck: u64,
}

/// Looks at every sealed record; seals anew what an older key sealed, if told to. A batch that somebody else changed under
/// it is left to the next pass. Safe to stop and to repeat.
pub async fn pass(
    meta: &MetaStore,
    keys: &RootKeys,
    random: &dyn Random,
    write: bool,
) -> Result<Pass, MetaError> {
    let mut pass = Pass::default();
    for kind in [RecordKind::BucketKey, RecordKind::AccessKey] {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = meta.records(kind, after.as_deref(), BATCH).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            reseal(meta, keys, random, kind, page, write, &mut pass).await?;
        }
    }
    let mut settings = Vec::new();
    for key in [CA_SETTING, AUTHORITY_SETTING] {
        settings.extend(meta.record(RecordKind::Setting, key).await?);
    }
    reseal(meta, keys, random, RecordKind::Setting, settings, write, &mut pass).await?;
    Ok(pass)
}

async fn reseal(
    meta: &MetaStore,
    keys: &RootKeys,
    random: &dyn Random,
    kind: RecordKind,
    records: Vec<Record>,
    write: bool,
    pass: &mut Pass,
) -> Result<(), MetaError> {
    let mut writes = Vec::new();
    for record in records {
        pass.records += 1;
        match again(keys, random, kind, &record) {
            Ok(None) => {}
            Ok(Some(value)) => {
                pass.older += 1;
                let expect = Expect::Generation(record.generation);
                writes.push(RecordWrite { kind, key: record.key, expect, value: Some(value) });
            }
            Err(error) => {
                pass.stuck += 1;
                tracing::warn!(?kind, error, "a sealed record cannot be opened");
            }
        }
    }
    if !write || writes.is_empty() {
        return Ok(());
    }
    match meta.write_records(writes).await {
        Err(error) if error.code() == grid_types::ErrorCode::Conflict => Ok(()),
        written => written,
    }
}

fn again(
    keys: &RootKeys,
    random: &dyn Random,
    kind: RecordKind,
    record: &Record,
) -> Result<Option<Vec<u8>>, String> {
    let (key, value) = (record.key.as_slice(), record.value.as_slice());
    match kind {
        RecordKind::BucketKey => {
            object_engine::rewrapped_record(keys, key, value, random).map_err(|error| error.to_string())
        }
        RecordKind::AccessKey => {
            iam::resealed_record(keys, key, value, random).map_err(|error| error.to_string())
        }
        _ if key == CA_SETTING => resealed_ca(keys, value, random).map_err(|error| error.to_string()),
        _ => {
            let sealed = SealedValue(value.to_vec());
            let again = keys.reseal_value(AUTHORITY_LABEL, &sealed, random);
            again.map(|again| again.map(|SealedValue(bytes)| bytes)).map_err(|error| error.to_string())
        }
    }
}

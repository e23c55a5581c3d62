//! Opens the file of a shard, or rebuilds it from a snapshot; the log brings the rest.

use std::sync::Arc;

use grid_types::ShardId;
use parking_lot::Mutex;

use super::FIRST_SHARD;
use super::homes::{Homes, decode_head};
use crate::MetaError;
use crate::group::Opened;
use crate::log::GroupLog;
use crate::state::{ShardFile, ShardRange, Storage};

/// Files up to this size are checked whole before they serve (0.1 s); larger ones while they serve.
pub(super) const CHECK_FIRST_BYTES_MAX: u64 = 64 << 20;

/// Opens the file of `shard`; `rebuild`: what is there was found damaged. Blocks.
pub(super) fn open_shard(
    homes: &Arc<Homes>,
    shard: ShardId,
    log: &GroupLog,
    rebuild: bool,
) -> Result<Opened, MetaError> {
    let state = log.state();
    let purged = state.purged.as_ref().map(|(index, _)| *index);
    let snapshots = homes.snapshots(shard);
    let covered = snapshots.first().map(decode_head).transpose()?;
    let (_, storage) = homes.storage(shard)?;

    if !rebuild && storage.exists().map_err(|error| error.of_shard(shard))? {
        match reuse(homes, shard, &storage, purged, state.last) {
            Ok(file) => return Ok(Opened { file: Arc::new(file), covered: Arc::new(Mutex::new(covered)) }),
            Err(reason) => {
                tracing::error!(%shard, reason, "the metadata file is not used; it is rebuilt from snapshot and log");
            }
        }
    }
    for info in &snapshots {
        let durable = decode_head(info)?;
        let applied = durable.applied.index;
        if applied < purged || applied > state.last {
            continue;
        }
        match homes.restore(shard, storage.clone(), info) {
            Ok(file) => {
                return Ok(Opened { file: Arc::new(file), covered: Arc::new(Mutex::new(Some(durable))) });
            }
            Err(error) => tracing::error!(%shard, %error, "a snapshot cannot be used; trying the next one"),
        }
    }
    Err(MetaError::Damaged(format!(
        "shard {shard}: neither its file nor one of {} snapshots fits the log (purged to {purged:?}, last entry \
         {:?}): bring back the missing drives, or run `shoal rebuild-metadata`",
        snapshots.len(),
        state.last
    )))
}

/// The file as it is, if it is whole and the log goes on from where it stands.
fn reuse(
    homes: &Arc<Homes>,
    shard: ShardId,
    storage: &Storage,
    purged: Option<u64>,
    last: Option<u64>,
) -> Result<ShardFile, String> {
    let small = storage.bytes().map_err(|error| error.to_string())? <= CHECK_FIRST_BYTES_MAX;
    let file = ShardFile::open(storage.clone(), homes.cache_bytes(), small, homes.clone())
        .map_err(|error| error.to_string())?;
    if shard != FIRST_SHARD && file.range().map_err(|error| error.to_string())? == ShardRange::default() {
        return Err("a split began it and did not hand its range over".to_owned());
    }
    let applied = file.applied().map_err(|error| error.to_string())?.applied.index;
    if applied < purged {
        return Err(format!("it ends at entry {applied:?}, the log begins after {purged:?}"));
    }
    if applied > last {
        return Err(format!("it is ahead of the log: entry {applied:?} of {last:?}"));
    }
    Ok(file)
}

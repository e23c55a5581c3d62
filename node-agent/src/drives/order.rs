//! What an operator may ask of the watcher, and what of it is written into the root shard.

use std::path::PathBuf;

use grid_types::{DriveId, DriveState, ErrorCode, NodeId, Timestamp};
use meta_store::MetaStore;
use meta_store::root::{Expect, RecordKind, RecordWrite};

use super::WatchedDrive;
use crate::records::{self, DriveRecord};

/// What can be asked of the watcher. Each answers when it is durable.
pub enum DriveOrder {
    /// Take a folder.
    Add {
        /// The folder, absolute.
        path: PathBuf,
        /// See `Take`.
        adopt_from: Option<NodeId>,
        /// See `Take`.
        allow_not_empty: bool,
        /// See `Take`.
        same_file_system_ok: bool,
        /// The drive that leaves when this one is in service.
        replaces: Option<DriveId>,
    },
    /// Lock or unlock.
    Lock {
        /// The drive.
        id: DriveId,
        /// True = lock.
        locked: bool,
    },
    /// Let its chunks move away; then it leaves. The last drive of a node stays, empty, until the node is removed.
    Drain {
        /// The drive.
        id: DriveId,
    },
    /// Nothing that the grid needs is left on this drive, which was ordered to leave.
    Emptied {
        /// The drive.
        id: DriveId,
    },
}

/// Why an order was refused.
#[derive(Debug, Clone)]
pub struct OrderError {
    /// The kind.
    pub code: ErrorCode,
    /// Words for the operator.
    pub message: String,
}

/// Writes the records of these drives; those that were removed lose theirs.
pub(super) async fn store_records(
    meta: &MetaStore,
    node: NodeId,
    now: Timestamp,
    changed: &[WatchedDrive],
) -> Result<(), OrderError> {
    let not_stored = |code: ErrorCode, error: String| OrderError {
        code,
        message: format!("done on this node, but not stored in the metadata: {error}"),
    };
    let mut writes = Vec::new();
    for drive in changed {
        let key = drive.id.as_bytes().to_vec();
        let known = meta
            .record(RecordKind::Drive, &key)
            .await
            .map_err(|error| not_stored(error.code(), error.to_string()))?;
        let added = known
            .and_then(|record| records::decode::<DriveRecord>("drive", &record.value).ok())
            .map_or(now, |record| record.added);
        let (locked, leaving, path) = (drive.locked, drive.leaving, drive.path.clone());
        let value = if drive.state == DriveState::Removed {
            None
        } else {
            let record = DriveRecord { node, path, locked, leaving, added };
            let bytes = records::encode(&record);
            Some(bytes.map_err(|error| not_stored(ErrorCode::Internal, error.to_string()))?)
        };
        writes.push(RecordWrite { kind: RecordKind::Drive, key, expect: Expect::Any, value });
    }
    meta.write_records(writes).await.map_err(|error| not_stored(error.code(), error.to_string()))
}

pub(super) fn no_such_drive(id: DriveId) -> OrderError {
    OrderError {
        code: ErrorCode::NoSuchDrive,
        message: format!(
            "this node has no drive {id}: `shoal drive list` shows those that it has; ask the node that has this one"
        ),
    }
}

//! Each start registers an incarnation in the root shard, by compare-and-set with the previous one kept on the drives.
//! A copy of this node or an old backup of it has another previous one and is refused.
//!
//! Order: a nonce is written to the drives as pending, then registered, then confirmed on the drives. A crash between
//! two steps leaves a pending nonce that the next start recognises as its own; so does a registration that had no answer and
//! commits when the shard has a majority again, be it after several further starts.

#[cfg(test)]
mod incarnation_tests;

use data_encoding::HEXLOWER;
use grid_types::{ErrorCode, NodeId, Timestamp};
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaError, MetaStore};

use crate::identity::NodeFile;
use crate::records::{self, NodeRecord, RecordError};

/// Records read at once.
const RECORDS_PAGE: usize = 64;

/// Why this start is refused.
#[derive(Debug, thiserror::Error)]
pub enum IncarnationError {
    /// The grid does not know this node.
    #[error("the grid has no member {0}: it was removed, or these drives belong to another grid")]
    Unknown(grid_types::NodeId),
    /// Another process is this node now.
    #[error(
        "this node runs at {0} already: these drives are a copy of its drives. Nothing is served from them; empty their folders \
         to make this a new node"
    )]
    Running(std::net::SocketAddr),
    /// The drives are older than the metadata.
    #[error(
        "this node started {registered} times, these drives know of {on_drives}: they are a copy or an old backup, and the \
         newer ones may be serving elsewhere. Nothing is served from them"
    )]
    DrivesOlder {
        /// Starts that the root shard registered.
        registered: u64,
        /// Starts that the drives know of.
        on_drives: u64,
    },
    /// The metadata is older than the drives.
    #[error(
        "these drives know of {on_drives} starts of this node, its metadata of {registered}: the metadata comes from an old \
         backup. Nothing is served from it; `shoal rebuild-metadata` makes it anew from the drives"
    )]
    MetadataOlder {
        /// Starts that the root shard registered.
        registered: u64,
        /// Starts that the drives know of.
        on_drives: u64,
    },
    /// As many starts, but not the same ones.
    #[error(
        "start {0} of this node was another one than these drives saw: a copy of this node runs or ran elsewhere. Nothing is \
         served from them"
    )]
    Clone(u64),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record cannot be written.
    #[error("writing the node's record: {0}")]
    Encode(#[from] serde_json::Error),
    /// Metadata.
    #[error("registering this start: {0}")]
    Meta(#[from] MetaError),
}

/// What the drives and the root shard say, compared. Pure.
fn judge(file: &NodeFile, record: &NodeRecord) -> Result<(), IncarnationError> {
    if record.restored {
        return Ok(());
    }
    let (registered, on_drives) = (record.incarnation, file.incarnation);
    let confirmed = registered == on_drives && record.nonce == file.nonce;
    let own_pending = Some(registered) == on_drives.checked_add(1) && file.is_pending(&record.nonce);
    if confirmed || own_pending {
        return Ok(());
    }
    Err(match registered.cmp(&on_drives) {
        std::cmp::Ordering::Greater => IncarnationError::DrivesOlder { registered, on_drives },
        std::cmp::Ordering::Less => IncarnationError::MetadataOlder { registered, on_drives },
        std::cmp::Ordering::Equal => IncarnationError::Clone(registered),
    })
}

/// Makes the node's record say what its drives say: after the metadata was made anew by order, what it knows of starts is
/// older than the drives, or nothing.
pub async fn adopt(meta: &MetaStore, file: &NodeFile, added: Timestamp) -> Result<(), IncarnationError> {
    let key = file.node.as_bytes().to_vec();
    let known = meta.record(RecordKind::Node, &key).await?;
    let added = match known {
        Some(record) => records::decode::<NodeRecord>("node", &record.value)?.added,
        None => added,
    };
    let record = NodeRecord {
        public_key: HEXLOWER.encode(&file.public_key()),
        incarnation: file.incarnation,
        nonce: file.nonce.clone(),
        added,
        restored: false,
    };
    let value = Some(records::encode(&record)?);
    meta.write_records(vec![RecordWrite { kind: RecordKind::Node, key, expect: Expect::Any, value }]).await?;
    Ok(())
}

/// Metadata that came from a backup knows less of the starts of the other members than their drives do: at their next
/// start, once, their drives count.
pub async fn trust_others_once(meta: &MetaStore, me: NodeId) -> Result<(), IncarnationError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = meta.records(RecordKind::Node, after.as_deref(), RECORDS_PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.key.clone());
        let mut writes = Vec::new();
        for record in page.iter().filter(|record| record.key != me.as_bytes()) {
            let known: NodeRecord = records::decode("node", &record.value)?;
            writes.push(RecordWrite {
                kind: RecordKind::Node,
                key: record.key.clone(),
                expect: Expect::Any,
                value: Some(records::encode(&NodeRecord { restored: true, ..known })?),
            });
        }
        if !writes.is_empty() {
            meta.write_records(writes).await?;
        }
    }
}

/// Registers this start by its nonce, which the start draws once: where the metadata is not available, the call may be repeated
/// with the same file, which knows by then what may be on its way. `write` puts the file on every drive in service, durably.
pub async fn register(
    meta: &MetaStore,
    file: &mut NodeFile,
    nonce: &str,
    write: impl AsyncFn(&NodeFile),
) -> Result<(), IncarnationError> {
    let key = file.node.as_bytes().to_vec();
    let incarnation = loop {
        let stored =
            meta.record(RecordKind::Node, &key).await?.ok_or(IncarnationError::Unknown(file.node))?;
        let record: NodeRecord = records::decode("node", &stored.value)?;
        judge(file, &record)?;
        if record.nonce == nonce {
            break record.incarnation;
        }
        // The registered start becomes the base even where its confirmation was lost.
        if !record.restored {
            file.incarnation = record.incarnation;
            file.nonce.clone_from(&record.nonce);
        }
        file.set_pending(nonce);
        file.generation += 1;
        write(file).await;
        let next = NodeRecord {
            incarnation: file.incarnation + 1,
            nonce: nonce.to_owned(),
            restored: false,
            ..record
        };
        let written = meta.write_records(vec![RecordWrite {
            kind: RecordKind::Node,
            key: key.clone(),
            expect: Expect::Generation(stored.generation),
            value: Some(records::encode(&next)?),
        }]);
        match written.await {
            // Somebody else's, or an earlier one of this node that was on its way: a second look tells.
            Err(error) if error.code() == ErrorCode::Conflict => {}
            written => {
                written?;
                break next.incarnation;
            }
        }
    };
    file.confirm(incarnation, nonce);
    file.generation += 1;
    write(file).await;
    Ok(())
}

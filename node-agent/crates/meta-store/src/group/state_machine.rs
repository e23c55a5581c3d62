//! A shard's file as the Raft library sees it.

use std::io;
use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use parking_lot::Mutex;

use super::encoding::{decode_log_id, decode_stored_membership, encode_log_id, encode_stored_membership};
use super::types::{EntryPayload, LogId, SnapshotMeta, StoredMembership, Types};
use crate::log::GroupLog;
use crate::state::{Body, Durable, Entry, ShardFile, StateError};

/// What a snapshot is to the Raft library: the file it will be read from when somebody asks for it.
pub(super) type SnapshotSource = Arc<ShardFile>;

/// What the newest snapshot copies and the synced file both cover; purging stops there.
pub(crate) type Covered = Arc<Mutex<Option<Durable>>>;

pub(super) struct StateMachine {
    pub file: Arc<ShardFile>,
    pub log: GroupLog,
    pub covered: Covered,
    /// Entries of one transaction at most.
    pub batch_entries_max: usize,
}

fn io_error(error: StateError) -> io::Error {
    let kind = if error.is_damage() { io::ErrorKind::InvalidData } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

fn join_error(error: tokio::task::JoinError) -> io::Error {
    io::Error::other(error)
}

/// Log id and members of a state.
fn decode_durable(durable: &Durable) -> io::Result<(Option<LogId>, StoredMembership)> {
    let id = match durable.applied.index {
        Some(_) => Some(decode_log_id(&durable.applied.log_id)?),
        None => None,
    };
    let members = durable.membership.as_deref().map(decode_stored_membership).transpose()?;
    Ok((id, members.unwrap_or_default()))
}

impl StateMachine {
    fn covered_meta(&self) -> io::Result<Option<SnapshotMeta>> {
        let covered = self.covered.lock().clone();
        covered.map(|covered| meta(&covered)).transpose()
    }

    async fn apply_batch(&self, batch: Vec<EntryResponder<Types>>) -> io::Result<()> {
        let Some((last, _)) = batch.last() else {
            return Ok(());
        };
        // The library applies what a quorum has, which the local log may not have synced yet.
        self.log.wait_durable(last.log_id.index).await?;
        let file = self.file.clone();
        let applied = tokio::task::spawn_blocking(move || apply_blocking(&file, batch));
        applied.await.map_err(join_error)?
    }
}

fn meta(durable: &Durable) -> io::Result<SnapshotMeta> {
    let (last_log_id, last_membership) = decode_durable(durable)?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

/// Applies in one transaction, then answers: who hears an answer finds it in the file.
fn apply_blocking(file: &ShardFile, batch: Vec<EntryResponder<Types>>) -> io::Result<()> {
    let ids: Vec<Vec<u8>> = batch.iter().map(|(entry, _)| encode_log_id(&entry.log_id)).collect();
    let members: Vec<Vec<u8>> = batch
        .iter()
        .map(|(entry, _)| match &entry.payload {
            EntryPayload::Membership(members) => {
                encode_stored_membership(&StoredMembership::new(Some(entry.log_id), members.clone()))
            }
            _ => Vec::new(),
        })
        .collect();
    let entries: Vec<Entry<'_>> = batch
        .iter()
        .zip(ids.iter().zip(&members))
        .map(|((entry, _), (id, members))| Entry {
            index: entry.log_id.index,
            log_id: id,
            body: match &entry.payload {
                EntryPayload::Blank => Body::Blank,
                EntryPayload::Normal(command) => Body::Proposal(&command.0),
                EntryPayload::Membership(_) => Body::Membership(members),
            },
        })
        .collect();
    let replies = file.apply(&entries).map_err(io_error)?;
    drop(entries);
    for ((_, responder), reply) in batch.into_iter().zip(replies) {
        if let Some(responder) = responder {
            responder.send(reply);
        }
    }
    Ok(())
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        decode_durable(&self.file.applied().map_err(io_error)?)
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Vec::new();
        while let Some(entry) = entries.next().await {
            batch.push(entry?);
            if batch.len() >= self.batch_entries_max {
                self.apply_batch(std::mem::take(&mut batch)).await?;
            }
        }
        self.apply_batch(batch).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { file: self.file.clone(), meta: self.covered_meta() }
    }

    /// A group of one receives no snapshots; groups of more come with the grid.
    async fn install_snapshot(&mut self, _: &SnapshotMeta, _: SnapshotSource) -> Result<(), io::Error> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this release receives no snapshots from other nodes"))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf>, io::Error> {
        Ok(self.covered_meta()?.map(|meta| Snapshot { meta, snapshot: self.file.clone() }))
    }
}

type SnapshotOf = openraft::alias::SnapshotOf<Types, SnapshotSource>;

/// Tells the library how far snapshot copies reach; the copying is done before it is asked.
pub(super) struct Builder {
    file: Arc<ShardFile>,
    meta: io::Result<Option<SnapshotMeta>>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf, io::Error> {
        match std::mem::replace(&mut self.meta, Ok(None))? {
            Some(meta) => Ok(Snapshot { meta, snapshot: self.file.clone() }),
            None => Err(io::Error::other("no snapshot copy has been written yet")),
        }
    }
}

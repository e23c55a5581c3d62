//! Background work of each shard: checkpoints, snapshot copies and purging, the check of large files.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use grid_types::ShardId;
use tokio::sync::watch;

use super::Inner;
use super::opener::CHECK_FIRST_BYTES_MAX;
use crate::MetaError;
use crate::group::Group;
use crate::state::ShardFile;

/// A WAL of this size is written back.
const WAL_BYTES_MAX: u64 = 4 << 20;

/// A shard to which nothing was applied is looked at so much less often: what else changes it is old age, and a split
/// that goes on under a new leader.
const LOOKS_SKIPPED_MAX: u32 = 9;

/// What this run knows of one shard's file.
struct Progress {
    file: Weak<ShardFile>,
    /// `applied_bytes` at the last look, and looks skipped since.
    seen_bytes: u64,
    skipped: u32,
    /// Time since boot at the last checkpoint.
    checkpointed: Duration,
    /// `applied_bytes` at the last snapshot copy.
    copied_bytes: u64,
    checked: bool,
}

/// Runs until `stop`.
pub(super) async fn run(inner: Weak<Inner>, period: Duration, mut stop: watch::Receiver<bool>) {
    let mut progress: BTreeMap<ShardId, Progress> = BTreeMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let Some(inner) = inner.upgrade() else {
            return;
        };
        if let Err(error) = inner.measure_room().await {
            tracing::error!(%error, "the room for metadata cannot be measured");
        }
        let groups: Vec<(ShardId, Group)> =
            inner.groups.read().iter().map(|(shard, group)| (*shard, group.clone())).collect();
        for (shard, group) in groups {
            if let Err(error) = inner.maintain(shard, &group, &mut progress).await {
                tracing::error!(%shard, %error, "maintenance of a metadata shard failed; it is tried again");
            }
        }
    }
}

impl Inner {
    async fn measure_room(self: &Arc<Self>) -> Result<(), MetaError> {
        let inner = self.clone();
        super::blocking(move || {
            inner.room.measure(&inner.homes.metadata_drives());
            Ok(())
        })
        .await
    }

    async fn maintain(
        self: &Arc<Self>,
        shard: ShardId,
        group: &Group,
        all: &mut BTreeMap<ShardId, Progress>,
    ) -> Result<(), MetaError> {
        let Ok((file, covered)) = group.file() else {
            return Ok(());
        };
        let now = self.clock.since_boot();
        let known = all.get(&shard).is_some_and(|progress| progress.file.ptr_eq(&Arc::downgrade(&file)));
        if !known {
            let fresh = Progress {
                file: Arc::downgrade(&file),
                seen_bytes: 0,
                skipped: LOOKS_SKIPPED_MAX,
                checkpointed: now,
                copied_bytes: 0,
                checked: false,
            };
            all.insert(shard, fresh);
        }
        let Some(progress) = all.get_mut(&shard) else {
            return Ok(());
        };
        let applied_bytes = file.applied_bytes();
        if progress.seen_bytes == applied_bytes && progress.skipped < LOOKS_SKIPPED_MAX {
            progress.skipped += 1;
            return Ok(());
        }
        (progress.seen_bytes, progress.skipped) = (applied_bytes, 0);
        if !progress.checked {
            progress.checked = true;
            if file.storage().bytes().is_ok_and(|bytes| bytes > CHECK_FIRST_BYTES_MAX) {
                let (group, file) = (group.clone(), file.clone());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = file.check() {
                        group.report_damage(&error.to_string());
                    }
                });
            }
        }
        let wal = file.storage().wal_bytes();
        let aged = now.saturating_sub(progress.checkpointed) >= self.config.checkpoint_age && wal > 0;
        if wal >= WAL_BYTES_MAX || aged {
            let file = file.clone();
            let done =
                super::blocking(move || file.checkpoint().map_err(|error| error.of_shard(shard))).await?;
            if done.is_some() {
                progress.checkpointed = now;
            }
        }
        let tail = file.applied_bytes() - progress.copied_bytes;
        let live = {
            let file = file.clone();
            super::blocking(move || file.live_bytes().map_err(|error| error.of_shard(shard))).await?
        };
        self.split_if_due(shard, live).await?;
        // A copy writes the whole shard to each mirror: the longer the shard, the longer the tail that is worth it.
        if tail >= self.config.checkpoint_tail_bytes.max(live) {
            let at = file.applied_bytes();
            if self.copy_snapshot(shard, &file, &covered).await? {
                progress.copied_bytes = at;
                group.purge().await?;
            }
        }
        Ok(())
    }

    /// Begins a split where the shard is too large, and sees that one that was begun goes on.
    async fn split_if_due(self: &Arc<Self>, shard: ShardId, live: u64) -> Result<(), MetaError> {
        if shard == ShardId::ROOT || self.splitting.lock().get(&shard).is_some_and(|task| !task.is_finished())
        {
            return Ok(());
        }
        // The leader splits; what its replica shows is enough to see that there is something to do.
        let group = self.group(shard)?;
        if !group.leads() {
            return Ok(());
        }
        let (file, _) = group.file()?;
        let begun = file.writer().split().is_some();
        if begun || (live > self.config.shard_bytes_max && self.begin_split(shard).await?) {
            let task = tokio::spawn(self.clone().run_split(shard));
            self.splitting.lock().insert(shard, task);
        }
        Ok(())
    }

    /// Writes a snapshot to all mirrors and notes how far it reaches. False where a child that was split off has no
    /// snapshot of its own yet: until then the parent's log must be able to make it anew.
    async fn copy_snapshot(
        &self,
        shard: ShardId,
        file: &Arc<ShardFile>,
        covered: &crate::group::Covered,
    ) -> Result<bool, MetaError> {
        let (homes, file) = (self.homes.clone(), file.clone());
        let durable = super::blocking(move || {
            let unborn = |file: &ShardFile| {
                let split = file.writer().split().cloned();
                split.is_some_and(|split| split.committed && homes.snapshots(split.child).is_empty())
            };
            if unborn(&file) {
                return Ok(None);
            }
            let image = file.image().map_err(|error| error.of_shard(shard))?;
            // The hand-over may lie within the image, but not before it in a log that is still whole.
            if unborn(&file) {
                return Ok(None);
            }
            homes.write_snapshot(shard, image).map(Some)
        })
        .await?;
        let Some(durable) = durable else {
            return Ok(false);
        };
        *covered.lock() = Some(durable);
        Ok(true)
    }
}

//! The operator's orders: taking a folder as a drive, locking one, letting one go.

use std::path::{Path, PathBuf};

use chunk_store::{Drive, DriveSummary};
use grid_types::{DriveId, DriveState, ErrorCode};

use super::super::check::{Take, take};
use super::super::order::{no_such_drive, store_records};
use super::{DriveLock, DriveOrder, Event, OrderError, Reply, WatchedDrive, Watcher};

impl Watcher {
    pub(super) fn on_order(&mut self, order: DriveOrder, reply: Reply) {
        match order {
            DriveOrder::Add { path, adopt_from, allow_not_empty, same_file_system_ok, replaces } => {
                if let Some(id) = replaces
                    && self.table.get_mut(id).is_none()
                {
                    let _ = reply.send(Err(no_such_drive(id)));
                    return;
                }
                if let Some(id) = self.failed_at(&path) {
                    if self.start.store.drive(id).is_some_and(|open| open.out_of_service().is_none()) {
                        self.retake(id, reply);
                        return;
                    }
                    // What is left of its last service would hold the folder's lock.
                    self.start.store.remove(id);
                    self.start.locks.remove(&id);
                }
                let others = || self.table.drives().iter().filter(|drive| drive.in_service());
                let order = Take {
                    same_file_system_ok: same_file_system_ok || self.config.drives_are_domains,
                    file_systems: others()
                        .filter_map(|drive| Some(drive.summary.as_ref()?.file_system.clone()))
                        .collect(),
                    in_service: others().map(|drive| drive.id).collect(),
                    adopt_from,
                    allow_not_empty,
                    path,
                };
                let (identity, clock) = (self.start.identity.clone(), self.start.clock.clone());
                let (random, config) = (self.start.random.clone(), self.config.drive.clone());
                let key = self.start.root_key_beside_data.clone();
                self.work.spawn(async move {
                    let path = order.path.clone();
                    let taking = tokio::task::spawn_blocking(move || {
                        let taken = take(&order, &identity, clock, &*random, config)?;
                        if let Some(key) = key {
                            crate::root_keys::put_beside(&key, &order.path)
                                .map_err(|error| error.to_string())?;
                        }
                        Ok(taken)
                    });
                    let taken =
                        taking.await.unwrap_or_else(|error| Err(format!("taking it broke off: {error}")));
                    let result = match taken {
                        Ok(taken) => {
                            let probed = taken.0.probe().await;
                            probed.map(|()| taken).map_err(|error| format!("it does not work: {error}"))
                        }
                        Err(error) => Err(error),
                    };
                    Event::Took { result, path, replaces, reply }
                });
            }
            DriveOrder::Lock { id, locked } => match self.table.get_mut(id) {
                Some(drive) => {
                    drive.locked = locked;
                    let drive = drive.clone();
                    self.persist(vec![drive.clone()], drive, reply);
                }
                None => {
                    let _ = reply.send(Err(no_such_drive(id)));
                }
            },
            DriveOrder::Drain { id } => match self.table.get_mut(id) {
                Some(drive) => {
                    drive.leave();
                    let drive = drive.clone();
                    self.persist(vec![drive.clone()], drive, reply);
                }
                None => {
                    let _ = reply.send(Err(no_such_drive(id)));
                }
            },
            DriveOrder::Emptied { id } => self.on_emptied(id, reply),
        }
    }

    /// The drive in this folder, where it may come back by order alone.
    fn failed_at(&self, path: &Path) -> Option<DriveId> {
        let here = |drive: &&WatchedDrive| drive.path == path && (drive.held_out || drive.failure.is_some());
        self.table.drives().iter().find(here).map(|drive| drive.id)
    }

    /// Takes back a failed drive that is open, since it is read for want of another.
    fn retake(&mut self, id: DriveId, reply: Reply) {
        let Some(open) = self.start.store.drive(id) else { return };
        let timeout = self.config.look_timeout;
        self.work.spawn(async move {
            let result = match tokio::time::timeout(timeout, open.probe()).await {
                Ok(Ok(())) => {
                    let summary = tokio::task::spawn_blocking(move || open.summary()).await;
                    summary.map_err(|error| error.to_string())
                }
                Ok(Err(error)) => Err(format!("it does not work: {error}")),
                Err(_) => Err(format!("it did not answer for {} s", timeout.as_secs())),
            };
            Event::Retook { id, result, reply }
        });
    }

    pub(super) fn on_retook(&mut self, id: DriveId, result: Result<DriveSummary, String>, reply: Reply) {
        let refused = |message| Err(OrderError { code: ErrorCode::Conflict, message });
        let (summary, Some(drive)) = (result, self.table.get_mut(id)) else {
            let _ = reply.send(Err(no_such_drive(id)));
            return;
        };
        let summary = match summary {
            Ok(summary) => summary,
            Err(message) => {
                let _ = reply.send(refused(message));
                return;
            }
        };
        drive.failure = None;
        drive.probed = (self.start.clock.since_boot(), summary.stats.syncs);
        drive.present(summary);
        let drive = drive.clone();
        tracing::info!(drive = %id, path = %drive.path.display(), "failed drive taken back by order");
        self.rewrite_node_file();
        self.publish();
        self.persist(vec![drive.clone()], drive, reply);
    }

    fn on_emptied(&mut self, id: DriveId, reply: Reply) {
        let gone = match self.table.get_mut(id) {
            Some(drive) if drive.leaving => drive.clone(),
            Some(_) => {
                let message = format!("drive {id} was not ordered to leave");
                let _ = reply.send(Err(OrderError { code: ErrorCode::Conflict, message }));
                return;
            }
            None => {
                let _ = reply.send(Err(no_such_drive(id)));
                return;
            }
        };
        if self.table.drives().iter().all(|drive| drive.id == id || !drive.in_service()) {
            // The metadata of this node lies on it.
            tracing::info!(drive = %id, path = %gone.path.display(), "the last drive of this node is empty");
            let _ = reply.send(Ok(gone));
            return;
        }
        tracing::info!(drive = %id, path = %gone.path.display(), "drive is empty and leaves the grid");
        self.table.remove(id);
        if let Some(open) = self.start.store.drive(id) {
            open.take_out_of_service("it left the grid");
            self.start.store.remove(id);
            self.start.locks.remove(&id);
        }
        self.rewrite_node_file();
        let gone = WatchedDrive { state: DriveState::Removed, ..gone };
        self.persist(vec![gone.clone()], gone, reply);
    }

    pub(super) fn on_took(
        &mut self,
        result: Result<(Drive, DriveSummary, DriveLock), String>,
        path: PathBuf,
        replaces: Option<DriveId>,
        reply: Reply,
    ) {
        let (open, summary, lock) = match result {
            Ok(taken) => taken,
            Err(message) => {
                let _ = reply.send(Err(OrderError { code: ErrorCode::Conflict, message }));
                return;
            }
        };
        let mut drive = WatchedDrive::new(open.id(), path, DriveState::Waiting);
        drive.probed = (self.start.clock.since_boot(), summary.stats.syncs);
        drive.present(summary);
        if let Some(known) = self.table.get_mut(drive.id) {
            drive.locked = known.locked;
        }
        tracing::info!(drive = %drive.id, path = %drive.path.display(), "drive put into service");
        self.start.locks.insert(drive.id, lock);
        self.start.store.add(open);
        self.table.insert(drive.clone());
        let mut changed = vec![drive.clone()];
        if let Some(old) = replaces.filter(|old| *old != drive.id).and_then(|old| self.table.get_mut(old)) {
            old.leave();
            changed.push(old.clone());
        }
        self.rewrite_node_file();
        // What is stored next may need it: the metadata takes nothing while every drive has failed.
        self.publish();
        self.persist(changed, drive, reply);
    }

    /// Writes the records of these drives into the root shard, then replies.
    fn persist(&mut self, changed: Vec<WatchedDrive>, answer: WatchedDrive, reply: Reply) {
        let (meta, node, now) = (self.start.meta.clone(), self.start.identity.node, self.start.clock.now());
        self.work.spawn(async move {
            let result = store_records(&meta, node, now, &changed).await;
            let _ = reply.send(result.map(|()| answer));
            Event::Done
        });
    }
}

//! Mirrors that fail, leave or join while the log is written.

use std::sync::Arc;

use grid_types::DriveId;

use super::super::LogError;
use super::super::fill::{self, Copied, Ends};
use super::super::mirror::{Failure, Mirror};
use super::{HomePlan, Writer};
use crate::home::{self, HomeDrive, MirrorSet};

impl Writer {
    /// Goes on without the mirrors that failed, if that is safe.
    pub(super) fn drop_failed(&mut self, failed: &[Failure]) -> Result<(), LogError> {
        if failed.is_empty() {
            return Ok(());
        }
        for Failure { mirror, error } in failed {
            tracing::error!(drive = %mirror.drive.id, %error, "a mirror of the metadata log failed and is dropped");
            self.shared.mirror_failed(mirror.drive.id, error);
        }
        let gone: Vec<Arc<Mirror>> = failed.iter().map(|failure| failure.mirror.clone()).collect();
        self.mirrors.remove(&gone);
        self.change_set(&[], false)?;
        self.publish();
        Ok(())
    }

    /// Makes the mirrors in service the mirror set: first on those that join, then on the others and on those that leave
    /// in good health.
    pub(super) fn change_set(&mut self, leaving: &[HomeDrive], forced: bool) -> Result<(), LogError> {
        loop {
            let all = self.mirrors.all();
            let stopped = |reason: &str| LogError::Stopped { reason: reason.to_owned() };
            if all.is_empty() {
                return Err(stopped("its last mirror failed"));
            }
            let in_service: Vec<DriveId> = all.iter().map(|mirror| mirror.drive.id).collect();
            let few = "so many mirrors failed at once that those left cannot prove to be the newest";
            let reachable = in_service.iter().copied().chain(leaving.iter().map(|drive| drive.id));
            if !forced && !self.set.may_change(&reachable.collect::<Vec<_>>()) {
                // Nothing may be written: a lone mirror that calls itself the set would start beside the others.
                return Err(stopped(few));
            }
            let set = MirrorSet { log: self.set.log, epoch: self.epoch_max + 1, drives: in_service.clone() };
            self.epoch_max += 1;
            let (old, new): (Vec<Arc<Mirror>>, Vec<Arc<Mirror>>) =
                all.into_iter().partition(|mirror| self.set.drives.contains(&mirror.drive.id));
            let mut failed = Vec::new();
            let mut informed = Vec::new();
            for mirror in new.into_iter().chain(old) {
                match set.write(&mirror.drive) {
                    Ok(()) => informed.push(mirror.drive.id),
                    Err(error) => {
                        tracing::error!(drive = %mirror.drive.id, %error, "a mirror set cannot be written");
                        self.shared.mirror_failed(mirror.drive.id, &error);
                        failed.push(mirror);
                    }
                }
            }
            for drive in leaving {
                match set.write(drive) {
                    Ok(()) => informed.push(drive.id),
                    Err(error) => tracing::warn!(drive = %drive.id, %error, "a leaving mirror was not told"),
                }
            }
            if failed.is_empty() {
                if !forced && !self.set.may_change(&informed) {
                    return Err(stopped(few));
                }
                self.set = set;
                return Ok(());
            }
            self.mirrors.remove(&failed);
        }
    }

    pub(super) fn publish(&self) {
        let all = self.mirrors.all();
        let ids: Vec<DriveId> = all.iter().map(|mirror| mirror.drive.id).collect();
        self.shared.set_mirrors(all);
        let epoch = self.set.epoch;
        self.shared.set_status(|status| (status.mirrors, status.epoch) = (ids, epoch));
    }

    pub(super) fn plan_home(&self, drives: &[HomeDrive]) -> HomePlan {
        let now = &self.set.drives;
        let wanted = home::choose(drives, now).into_iter();
        HomePlan {
            newcomers: wanted.filter(|drive| !now.contains(&drive.id)).collect(),
            from: self.mirrors.all(),
            files: self.ends(),
        }
    }

    pub(super) fn ends(&self) -> Ends {
        self.files.iter().map(|(file, info)| (*file, info.end)).collect()
    }

    /// Makes the mirrors follow the drives in service.
    pub(super) fn set_home(&mut self, drives: &[HomeDrive], copied: &[Copied]) -> Result<(), LogError> {
        let now = self.set.drives.clone();
        let wanted = home::choose(drives, &now);
        let mut changed = false;
        for copied in copied {
            let id = copied.drive.id;
            if now.contains(&id) || !wanted.iter().any(|drive| drive.id == id) {
                continue;
            }
            let from = self.mirrors.all();
            let joined = fill::complete(copied, &from, &self.shared, &self.ends(), self.file)
                .and_then(|mirror| self.mirrors.add(mirror));
            match joined {
                Ok(()) => changed = true,
                Err(error) => {
                    tracing::warn!(drive = %id, %error, "a drive cannot become a mirror of the metadata log");
                }
            }
        }
        let is_wanted = |mirror: &Arc<Mirror>| wanted.iter().any(|drive| drive.id == mirror.drive.id);
        let leaving: Vec<Arc<Mirror>> =
            self.mirrors.all().into_iter().filter(|mirror| !is_wanted(mirror)).collect();
        if leaving.len() == self.mirrors.all().len() {
            return Err(LogError::Invalid(
                "no drive could take the place of the mirrors that leave".to_owned(),
            ));
        }
        if changed || !leaving.is_empty() {
            self.mirrors.remove(&leaving);
            let drives: Vec<HomeDrive> = leaving.iter().map(|mirror| mirror.drive.clone()).collect();
            self.change_set(&drives, false)?;
            self.publish();
        }
        Ok(())
    }
}

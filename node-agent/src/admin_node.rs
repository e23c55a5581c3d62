//! The node as the operator's door sees it.

mod answers;
mod time;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use admin_api::metrics::{BudgetSample, DoorSample, DriveSample, NodeSample};
use admin_api::types::{
    AddDrive, ClockInfo, ConfirmPairing, CreateEnrolment, CreateKey, CreateTicket, DriveInfo, EnrolmentInfo,
    JobInfo, JobOrder, KeyInfo, Locate, Located, LocatedChunk, LocatedSegment, NewKey, NewTicket, NodeInfo,
    Pairing, QuarantineChoice, QuarantineDone, QuarantinedInfo, Readiness, ReleaseQuarantined, ReplaceDrive,
    RootKeyHolder, RootKeyInfo, SetClock, Status, TakeBackup, TicketInfo, VerifyReport, WaitingNode,
};
use admin_api::{AdminError, ByteStream, Node, OperatorKeyHash};
use chunk_store::{ChunkError, ChunkStore};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{
    BucketName, DriveId, ErrorCode, GridSnapshot, MemoryBudget, NameError, NodeId, ObjectKey, ProfileChoice,
};
use http_server::ConnectionCount;
use iam::{AccessKeyState, Iam};
use keyring::{PassphraseCost, PassphraseKey, RootKeys};
use membership::{
    Enrolment, Gossip, GridPin, JoinService, Liveness, NodePublicKey, OperatorTime, TicketOrder,
};
use meta_store::{MetaError, MetaStore};
use object_engine::ObjectEngine;
use object_engine::backup::MetadataBackup;
use repair::Repair;
use segment_store::GridView;
use sys::{Clock, Random, TimeTrust};

use self::answers::{
    absolute, drive_info, enrolment_info, hex, job_info, key_info, liveness_word, of_chunk, of_engine,
    of_iam, of_keeper, of_meta, of_registry, quarantine_choice, quarantined_info, writable_domains,
};
use self::time::{clock_info, clock_warnings, member_clock, of_time};
use crate::access_log::AccessLog;
use crate::backup::{BackupSource, Head, SourceError};
use crate::drives::{DriveOrder, DriveWatch};
use crate::grid::{GridLink, GridRegistry};
use crate::identity::NodeFile;
use crate::root_keys::KeyKeeper;
use crate::timekeeping::Timekeeping;

/// Chunks listed at once while verifying.
const VERIFY_PAGE: usize = 256;
/// Name of the worker that the object engine runs beside those of repair.
const BACKUP_JOB: &str = "backup-metadata";
/// Incomplete segments counted of one shard for one cause.
const INCOMPLETE_PAGE: usize = 1_000;
/// For counting what status shows beside the rest.
const COUNT_PATIENCE: Duration = Duration::from_secs(2);
/// Damaged chunks that a report names.
const DAMAGED_SHOWN_MAX: usize = 100;

/// What the node is made of, as far as an operator asks.
pub struct AdminNodeParts {
    /// Who it is.
    pub identity: NodeFile,
    /// Metadata.
    pub meta: MetaStore,
    /// The door for other nodes.
    pub link: Arc<GridLink>,
    /// The door for nodes that are no members yet.
    pub joining: Arc<JoinService>,
    /// Who lives.
    pub gossip: Arc<Gossip>,
    /// Members and tickets.
    pub registry: GridRegistry,
    /// Drives in service.
    pub store: ChunkStore,
    /// Which time it is.
    pub time: Arc<Timekeeping>,
    /// S3 answers 503 while that is not proven.
    pub refuses_unproven: bool,
    /// The grid now.
    pub grid: GridView,
    /// Drives, all of them.
    pub watch: Arc<DriveWatch>,
    /// Background workers.
    pub repair: Arc<Repair>,
    /// Backups of the metadata.
    pub backup: Arc<MetadataBackup>,
    /// For what is quarantined.
    pub engine: ObjectEngine,
    /// For backups.
    pub root_keys: RootKeys,
    /// Rotates them.
    pub keeper: Arc<KeyKeeper>,
    /// Access keys.
    pub iam: Iam,
    /// Memory of requests.
    pub budget: MemoryBudget,
    /// For its dropped lines.
    pub access_log: AccessLog,
    /// For uptime.
    pub clock: Arc<dyn Clock>,
    /// For new keys.
    pub random: Arc<dyn Random>,
    /// Start, on the clock since boot.
    pub started: Duration,
    /// The region that S3 clients are told.
    pub region: String,
    /// The profile of STANDARD.
    pub profile: ProfileChoice,
    /// Writes with fewer than two writable domains?
    pub accept_degraded: bool,
    /// From start.
    pub warnings: Vec<String>,
}

/// The listeners, once they are bound.
pub struct OpenDoors {
    /// S3 endpoint.
    pub s3_url: String,
    /// The operator's endpoint.
    pub admin_url: String,
    /// Open connections of S3.
    pub s3: ConnectionCount,
    /// Open connections of the admin port.
    pub admin: ConnectionCount,
}

/// The node as the operator's door sees it.
pub struct AdminNode {
    parts: AdminNodeParts,
    doors: OnceLock<OpenDoors>,
    /// One backup at a time: while it is read, no shard is checkpointed.
    backing_up: Arc<tokio::sync::Semaphore>,
}

type NodeFuture<'a, T> = BoxFuture<'a, Result<T, AdminError>>;

impl AdminNode {
    /// Over these parts.
    pub fn new(parts: AdminNodeParts) -> Self {
        Self { parts, doors: OnceLock::new(), backing_up: Arc::new(tokio::sync::Semaphore::new(1)) }
    }

    /// The endpoints, once they are bound.
    pub fn set_doors(&self, doors: OpenDoors) {
        // Called once, at the end of the start.
        let _ = self.doors.set(doors);
    }

    /// Drives in service, for tests that let one fail.
    #[cfg(test)]
    pub fn store(&self) -> &ChunkStore {
        &self.parts.store
    }

    fn uptime(&self) -> Duration {
        self.parts.clock.since_boot().saturating_sub(self.parts.started)
    }

    fn drive_infos(&self) -> Vec<DriveInfo> {
        let grid = self.parts.grid.load();
        let mut infos: Vec<DriveInfo> =
            self.parts.watch.drives().iter().map(|drive| drive_info(drive, &grid)).collect();
        let problems = self.parts.watch.problems();
        infos.extend(problems.iter().map(|problem| DriveInfo {
            id: problem.id,
            path: problem.path.display().to_string(),
            state: problem.state,
            locked: false,
            problem: Some(problem.reason.clone()),
            read_score: 0,
            write_score: 0,
            file_system: String::new(),
            total_bytes: 0,
            free_bytes: 0,
            corruptions: 0,
            read_p95_us: 0,
            sync_p95_us: 0,
        }));
        infos
    }

    async fn order(&self, order: DriveOrder) -> Result<DriveInfo, AdminError> {
        let drive =
            self.parts.watch.order(order).await.map_err(|error| AdminError::of(error.code, error.message))?;
        Ok(drive_info(&drive, &self.parts.grid.load()))
    }

    /// Segments with fewer chunks in service than their profile wants, counted up to `INCOMPLETE_PAGE` a shard and cause.
    async fn segments_incomplete(&self) -> Result<u64, MetaError> {
        let (meta, drives) = (&self.parts.meta, self.parts.watch.drives());
        let mut found = 0;
        for shard in meta.shards() {
            found += meta.incomplete_segments(shard, None, INCOMPLETE_PAGE).await?.0.len();
            for drive in drives.iter().filter(|drive| !drive.in_service() || drive.leaving) {
                found += meta.segments_on_drive(shard, drive.id, None, INCOMPLETE_PAGE).await?.0.len();
            }
        }
        Ok(found as u64)
    }

    fn backup_job(&self) -> JobInfo {
        let status = self.parts.backup.status();
        let detail = match status.last {
            Some(last) => {
                let age = self.parts.clock.now().since(last).as_secs();
                format!("the last backup has {} bytes and is {age} s old", status.last_bytes)
            }
            None => "no backup yet: the first one comes 15 minutes after the first change".to_owned(),
        };
        JobInfo {
            name: BACKUP_JOB.to_owned(),
            state: if status.trouble.is_some() { "failing" } else { "idle" }.to_owned(),
            purpose: "stores copies of the metadata on the drives, for rebuild-metadata".to_owned(),
            detail,
            done: 0,
            failed: 0,
            waiting: 0,
            pass: None,
            items_per_second: 0.0,
            eta_seconds: None,
            last_error: status.trouble,
        }
    }

    async fn order_backup(&self, order: JobOrder) -> Result<JobInfo, AdminError> {
        if order != JobOrder::Run {
            return Err(AdminError::invalid("backups of the metadata are not paused; `run` takes one now"));
        }
        let done = self.parts.backup.back_up_now().await;
        done.map_err(|error| AdminError::of(error.code(), error.to_string()))?;
        Ok(self.backup_job())
    }

    /// Would the voters of every shard still decide, were this member gone at once?
    fn may_lose(&self, node: NodeId) -> Result<(), AdminError> {
        let list = self.parts.link.members().list();
        let Some(list) = list else { return Ok(()) };
        let Some(member) = list.list().member(node) else { return Ok(()) };
        let view = self.parts.gossip.view();
        let lives = |number: &u64| {
            list.list().current().any(|other| {
                let here = other.node == self.parts.identity.node;
                other.number == *number && (here || view.liveness(other.node) == Liveness::Alive)
            })
        };
        for voters in self.parts.meta.voters() {
            let settled =
                voters.iter().all(|voter| list.list().current().any(|other| other.number == *voter));
            let left = voters.iter().filter(|voter| **voter != member.number && lives(voter)).count();
            if !settled || voters.contains(&member.number) && left <= voters.len() / 2 {
                return Err(AdminError::of(
                    ErrorCode::Conflict,
                    "without that node too few voters would be left to decide anything: wait until the others are up and vote \
                     (`shoal node list`), then remove it; of two nodes, one goes on with `shoal grid continue-without`",
                ));
            }
        }
        Ok(())
    }

    /// What an acknowledgement is worth now, in words.
    fn promise(&self, grid: &GridSnapshot) -> String {
        let domains = writable_domains(grid).len();
        match placement::profile_for(self.parts.profile, false, grid, self.parts.accept_degraded) {
            Err(error) => format!("nothing is acknowledged now: {error}"),
            Ok(profile) if profile.loss_tolerance() == 0 || domains < 2 => {
                format!("{profile}: what was acknowledged is synced, and lost with its drive")
            }
            Ok(profile) if grid.node_count() < 2 => {
                format!("{profile}: what was acknowledged survives the loss of any one drive")
            }
            Ok(profile) => match self.parts.meta.root_voters().0.len() {
                0 | 1 => format!("{profile}: the metadata lies on one node so far, and is lost with it"),
                2 => format!(
                    "{profile}: what was acknowledged survives the loss of any one node; with one of two nodes away \
                     nothing is written"
                ),
                _ => format!("{profile}: what was acknowledged survives the loss of any one node"),
            },
        }
    }
}

impl Node for AdminNode {
    fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if let Err(reason) = self.parts.meta.ready() {
            reasons.push(format!("metadata: {reason}"));
        }
        if let Some(reason) = self.parts.meta.read_only() {
            reasons.push(format!("writes: {reason}"));
        }
        if let Some(reason) = self.parts.meta.full() {
            reasons.push(format!("writes: the metadata takes no more: {reason}"));
        }
        let grid = self.parts.grid.load();
        if !grid.drives.iter().any(grid_types::DriveSnapshot::readable) {
            reasons.push("no drive can be read".to_owned());
        }
        if let Err(error) =
            placement::profile_for(self.parts.profile, false, &grid, self.parts.accept_degraded)
        {
            reasons.push(format!("writes: {error}"));
        }
        if self.parts.refuses_unproven && self.parts.time.reading().trust == TimeTrust::Unproven {
            reasons.push("time: it is not proven yet, and S3 answers 503 until it is".to_owned());
        }
        Readiness::of(reasons)
    }

    fn status(&self) -> NodeFuture<'_, Status> {
        async move {
            let grid = self.parts.grid.load();
            let drives = self.parts.watch.drives();
            let in_service = || grid.drives.iter().filter(|drive| drive.readable());
            let mut warnings = self.parts.warnings.clone();
            warnings.extend(
                self.drive_infos()
                    .into_iter()
                    .filter_map(|drive| Some(format!("{}: {}", drive.path, drive.problem?))),
            );
            let segments_incomplete = match tokio::time::timeout(COUNT_PATIENCE, self.segments_incomplete()).await {
                Ok(Ok(count)) => count,
                // The picture without this number says more than none.
                Ok(Err(error)) => {
                    warnings.push(format!("how many segments are incomplete is not known now: {error}"));
                    0
                }
                Err(_) => {
                    warnings.push("how many segments are incomplete is not known now: no answer in time".to_owned());
                    0
                }
            };
            if self.parts.link.is_shut_out() {
                warnings.push(
                    "this node is no member of its grid any more: it was removed, or left behind; on empty folders it can \
                     join as a new one"
                        .to_owned(),
                );
            }
            warnings.extend(clock_warnings(&self.parts.time.status()));
            let board = tokio::task::spawn_blocking(board::status_lines).await.unwrap_or_default();
            let doors = self.doors.get();
            Ok(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                grid: self.parts.identity.grid,
                node: self.parts.identity.node,
                incarnation: self.parts.identity.incarnation,
                uptime_seconds: self.uptime().as_secs(),
                s3: doors.iter().map(|doors| doors.s3_url.clone()).collect(),
                admin: doors.iter().map(|doors| doors.admin_url.clone()).collect(),
                region: self.parts.region.clone(),
                profile: self.parts.profile.to_string(),
                promise: self.promise(&grid),
                readiness: self.readiness(),
                drives_in_service: u32::try_from(in_service().count()).unwrap_or(u32::MAX),
                drives_known: {
                    let elsewhere = grid.drives.iter().filter(|drive| drive.node != self.parts.identity.node);
                    u32::try_from(drives.len() + elsewhere.count()).unwrap_or(u32::MAX)
                },
                total_bytes: in_service().map(|drive| drive.total_bytes).sum(),
                free_bytes: in_service().map(|drive| drive.free_bytes).sum(),
                segments_incomplete,
                segments_unrecoverable: self.parts.repair.unrecoverable(),
                warnings,
                clock: Some(clock_info(&self.parts.time)),
                board,
            })
        }
        .boxed()
    }

    fn sample(&self) -> NodeFuture<'_, NodeSample> {
        async move {
            let grid = self.parts.grid.load();
            let drives = self.parts.watch.drives();
            let drives = drives.iter().map(|drive| {
                let info = drive_info(drive, &grid);
                let stats = drive.summary.as_ref().map(|summary| summary.stats.clone()).unwrap_or_default();
                DriveSample {
                    drive: drive.id.to_string(),
                    state: drive.state,
                    total_bytes: info.total_bytes,
                    free_bytes: info.free_bytes,
                    read_score: info.read_score,
                    write_score: info.write_score,
                    read_bytes: stats.read_bytes,
                    written_bytes: stats.written_bytes,
                    syncs: stats.syncs,
                    corruptions: stats.corruptions,
                    read_p95_us: stats.read_p95_us,
                    sync_p95_us: stats.sync_p95_us,
                }
            });
            let uptime = self.uptime();
            let process = tokio::task::spawn_blocking(move || crate::process::sample(uptime)).await;
            Ok(NodeSample {
                ready: self.readiness().ready,
                segments_unrecoverable: self.parts.repair.unrecoverable(),
                metadata_ready: self.parts.meta.ready().is_ok(),
                metadata_shards: self.parts.meta.shards().len() as u64,
                drives: drives.collect(),
                budgets: vec![BudgetSample {
                    limit: "requests",
                    total_bytes: self.parts.budget.total(),
                    available_bytes: self.parts.budget.available(),
                }],
                doors: self.doors.get().map_or_else(Vec::new, |doors| {
                    let sample =
                        |door, count: &ConnectionCount| DoorSample { door, connections: count.get() as u64 };
                    vec![sample("s3", &doors.s3), sample("admin", &doors.admin)]
                }),
                jobs: self.jobs().await?,
                process: process.unwrap_or_default(),
                access_log_dropped: self.parts.access_log.dropped(),
                clock: Some(clock_info(&self.parts.time)),
            })
        }
        .boxed()
    }

    fn drives(&self) -> NodeFuture<'_, Vec<DriveInfo>> {
        async move { Ok(self.drive_infos()) }.boxed()
    }

    fn add_drive(&self, order: AddDrive) -> NodeFuture<'_, DriveInfo> {
        async move {
            let taken = self
                .order(DriveOrder::Add {
                    path: absolute(&order.path)?,
                    adopt_from: None,
                    allow_not_empty: order.allow_not_empty,
                    same_file_system_ok: order.same_file_system_ok,
                    replaces: None,
                })
                .await?;
            // A drive that was away holds chunks that have moved, and may lack some that it should have.
            for job in ["inventory", "scrub"] {
                self.parts.repair.jobs().run_now(job);
            }
            Ok(taken)
        }
        .boxed()
    }

    fn adopt_drive(&self, order: AddDrive) -> NodeFuture<'_, DriveInfo> {
        async move {
            let path = absolute(&order.path)?;
            let folder = path.clone();
            let label = tokio::task::spawn_blocking(move || {
                sys::RealDisk::open(&folder).and_then(|disk| chunk_store::label::read(&disk))
            });
            let label = label.await.map_err(|error| AdminError::of(ErrorCode::Internal, error.to_string()))?;
            let label = label.map_err(|error| AdminError::invalid(format!("{}: {error}", path.display())))?;
            let shown = path.display();
            let Some(label) = label else {
                return Err(AdminError::invalid(format!("{shown} is no drive; `shoal drive add` makes it one")));
            };
            let members = self.parts.link.members().list();
            let member = members.is_some_and(|list| list.list().member(label.node).is_some());
            let conflict = |message: String| AdminError::of(ErrorCode::Conflict, message);
            if label.grid != self.parts.identity.grid {
                return Err(conflict(format!("{shown} belongs to grid {}: its chunks mean nothing here", label.grid)));
            }
            if member && self.parts.gossip.view().liveness(label.node) != Liveness::Down {
                return Err(conflict(format!(
                    "{shown} belongs to node {}, which lives, or did so a moment ago: stop that node, or remove it first",
                    label.node
                )));
            }
            let taken = self
                .order(DriveOrder::Add {
                    path,
                    adopt_from: Some(label.node),
                    allow_not_empty: true,
                    same_file_system_ok: order.same_file_system_ok,
                    replaces: None,
                })
                .await?;
            for job in ["inventory", "scrub"] {
                self.parts.repair.jobs().run_now(job);
            }
            Ok(taken)
        }
        .boxed()
    }

    fn replace_drive(&self, drive: DriveId, order: ReplaceDrive) -> NodeFuture<'_, DriveInfo> {
        async move {
            self.order(DriveOrder::Add {
                path: absolute(&order.path)?,
                adopt_from: None,
                allow_not_empty: order.allow_not_empty,
                same_file_system_ok: order.same_file_system_ok,
                replaces: Some(drive),
            })
            .await
        }
        .boxed()
    }

    fn lock_drive(&self, drive: DriveId, locked: bool) -> NodeFuture<'_, DriveInfo> {
        async move { self.order(DriveOrder::Lock { id: drive, locked }).await }.boxed()
    }

    fn verify_drive(&self, drive: DriveId) -> NodeFuture<'_, VerifyReport> {
        async move {
            let Some(open) = self.parts.store.drive(drive) else {
                let message = format!("drive {drive} is not in service on this node");
                return Err(AdminError::of(ErrorCode::NoSuchDrive, message));
            };
            let mut report = VerifyReport::default();
            let mut after = None;
            loop {
                let page = open.list(after, VERIFY_PAGE).await.map_err(|error| of_chunk(&error))?;
                let Some(last) = page.last() else { return Ok(report) };
                after = Some(*last);
                for chunk in page {
                    match open.verify(chunk).await {
                        Ok(()) => report.checked += 1,
                        // Removed since the list was read.
                        Err(ChunkError::Missing { .. }) => {}
                        Err(ChunkError::Corrupt { .. }) => {
                            report.checked += 1;
                            let row = self.parts.meta.find_segment(chunk.segment).await;
                            if row.map_err(|error| of_meta(&error))?.is_none() {
                                report.damaged_garbage += 1;
                                continue;
                            }
                            report.damaged += 1;
                            if report.first_damaged.len() < DAMAGED_SHOWN_MAX {
                                report.first_damaged.push(chunk.to_string());
                            }
                        }
                        Err(error) => return Err(of_chunk(&error)),
                    }
                }
            }
        }
        .boxed()
    }

    fn jobs(&self) -> NodeFuture<'_, Vec<JobInfo>> {
        let mut jobs: Vec<JobInfo> = self.parts.repair.jobs().list().into_iter().map(job_info).collect();
        jobs.push(self.backup_job());
        async move { Ok(jobs) }.boxed()
    }

    fn order_job(&self, name: &str, order: JobOrder) -> NodeFuture<'_, JobInfo> {
        if name == BACKUP_JOB {
            return self.order_backup(order).boxed();
        }
        let jobs = self.parts.repair.jobs();
        let known = match order {
            JobOrder::Pause => jobs.pause(name),
            JobOrder::Resume => jobs.resume(name),
            JobOrder::Run => jobs.run_now(name),
        };
        let status = jobs.list().into_iter().find(|job| known && job.name == name);
        let message = format!("there is no job `{name}`; `shoal job list` shows them");
        async move { status.map(job_info).ok_or_else(|| AdminError::not_found("NoSuchJob", message)) }.boxed()
    }

    fn clock(&self) -> NodeFuture<'_, ClockInfo> {
        let info = clock_info(&self.parts.time);
        async move { Ok(info) }.boxed()
    }

    fn set_clock(&self, order: SetClock) -> NodeFuture<'_, ClockInfo> {
        async move {
            let SetClock { time, lower_floor } = order;
            self.parts
                .time
                .set(OperatorTime { time, lower_floor })
                .await
                .map_err(|refusal| of_time(&refusal))?;
            Ok(clock_info(&self.parts.time))
        }
        .boxed()
    }

    fn nodes(&self) -> NodeFuture<'_, Vec<NodeInfo>> {
        async move {
            let parts = &self.parts;
            let list = parts.link.members().list();
            let Some(list) = list else { return Ok(Vec::new()) };
            let (view, grid) = (parts.gossip.view(), parts.grid.load());
            let (voters, leader) = parts.meta.root_voters();
            let now = parts.clock.since_boot();
            let time = parts.time.status();
            let info = |member: &membership::Member| {
                let here = member.node == parts.identity.node;
                let seen = view.members.get(&member.node);
                let (state, since) = match seen {
                    _ if here => ("alive", parts.started),
                    Some(seen) => (liveness_word(seen.liveness), seen.since),
                    None => ("suspect", now),
                };
                let drives: Vec<_> = grid.drives.iter().filter(|drive| drive.node == member.node).collect();
                let own = parts.link.addresses();
                let addresses = if here { own.iter() } else { member.addresses.iter() };
                NodeInfo {
                    node: member.node,
                    number: member.number,
                    name: member.name.clone(),
                    addresses: addresses.map(ToString::to_string).collect(),
                    state: state.to_owned(),
                    since_seconds: now.saturating_sub(since).as_secs(),
                    here,
                    votes: voters.contains(&member.number),
                    leads: leader == Some(member.number),
                    drives: u32::try_from(drives.len()).unwrap_or(u32::MAX),
                    total_bytes: drives.iter().map(|drive| drive.total_bytes).sum(),
                    free_bytes: drives.iter().map(|drive| drive.free_bytes).sum(),
                    added: member.added,
                    clock: member_clock(&time, member.node, here),
                }
            };
            Ok(list.list().current().map(info).collect())
        }
        .boxed()
    }

    fn remove_node(&self, node: NodeId) -> NodeFuture<'_, ()> {
        async move {
            if node == self.parts.identity.node {
                return Err(AdminError::invalid("a node does not remove itself: ask another one"));
            }
            self.may_lose(node)?;
            self.parts.registry.remove(node).await.map_err(|failure| of_registry(&failure))?;
            Ok(())
        }
        .boxed()
    }

    fn drain_drive(&self, drive: DriveId) -> NodeFuture<'_, DriveInfo> {
        self.order(DriveOrder::Drain { id: drive }).boxed()
    }

    fn locate(&self, order: Locate) -> NodeFuture<'_, Located> {
        async move {
            let (meta, grid) = (&self.parts.meta, self.parts.grid.load());
            let of_meta = |error: MetaError| AdminError::of(error.code(), error.to_string());
            let name: BucketName =
                order.bucket.parse().map_err(|error: NameError| AdminError::invalid(error.to_string()))?;
            let key = ObjectKey::new(&order.key).map_err(|error| AdminError::invalid(error.to_string()))?;
            let missing = |code, what: String| AdminError::of(code, format!("{what} does not exist"));
            let bucket = meta.bucket(&name).await.map_err(of_meta)?;
            let bucket = bucket.ok_or_else(|| missing(ErrorCode::NoSuchBucket, format!("bucket {name}")))?;
            let object = meta.object(bucket.id, &key, None).await.map_err(of_meta)?;
            let object =
                object.ok_or_else(|| missing(ErrorCode::NoSuchKey, format!("object {}", order.key)))?;
            let mut rows = object.segments.clone();
            while let Some(last) = rows.last()
                && rows.len() < object.version.segment_count as usize
            {
                let from = (last.owner.part, last.owner.number + 1);
                let more =
                    meta.segments(bucket.id, &key, object.version.version, from).await.map_err(of_meta)?;
                if more.is_empty() {
                    break;
                }
                rows.extend(more);
            }
            let chunk = |drive: &Option<DriveId>| {
                let known = drive.and_then(|id| grid.drive(id));
                LocatedChunk {
                    drive: *drive,
                    node: known.map(|drive| drive.node),
                    readable: known.is_some_and(grid_types::DriveSnapshot::readable),
                }
            };
            let segments = rows.iter().map(|row| LocatedSegment {
                segment: row.segment.id,
                bytes: row.segment.length,
                profile: row.segment.profile.to_string(),
                chunks: row.segment.drives.iter().map(chunk).collect(),
            });
            Ok(Located {
                version: object.version.version,
                size: object.version.size,
                inline: object.inline.is_some(),
                segments: segments.collect(),
            })
        }
        .boxed()
    }

    fn continue_without(&self, node: NodeId) -> NodeFuture<'_, ()> {
        async move {
            let (parts, me) = (&self.parts, self.parts.identity.node);
            let list = parts.link.members().list();
            let members: Vec<membership::Member> =
                list.iter().flat_map(|list| list.list().current()).cloned().collect();
            let conflict = |message: &str| AdminError::of(ErrorCode::Conflict, message);
            if node == me || members.iter().all(|member| member.node != node) {
                return Err(AdminError::invalid(format!("{node} is no other member of this grid")));
            }
            if members.len() != 2 {
                return Err(conflict(
                    "only in a grid of two can one node go on without the other: with more, those that are left decide by \
                     themselves, or wait for a majority",
                ));
            }
            if parts.gossip.view().liveness(node) != Liveness::Down {
                return Err(conflict("that node answers, or did so a moment ago: nothing is done without it"));
            }
            tracing::warn!(lost = %node, "going on without a node, by order");
            // Shut out first: it must not serve beside this node.
            let alone = members
                .iter()
                .find(|member| member.node == me)
                .map(|member| meta_store::MetaMember::healthy(member.number, me));
            parts.meta.peers().set_members(alone.into_iter().collect());
            parts.meta.continue_alone().await.map_err(|error| AdminError::of(error.code(), error.to_string()))?;
            parts.registry.remove(node).await.map_err(|failure| of_registry(&failure))
        }
        .boxed()
    }

    fn pairing(&self) -> NodeFuture<'_, Pairing> {
        let waiting = self.parts.joining.pending_pairing().map(|pending| WaitingNode {
            node: pending.node,
            name: pending.name,
            code: pending.code.map(|code| code.to_string()),
        });
        async move { Ok(Pairing { waiting }) }.boxed()
    }

    fn confirm_pairing(&self, order: ConfirmPairing) -> NodeFuture<'_, ()> {
        async move {
            let waiting = self.parts.joining.pending_pairing().filter(|pending| pending.node == order.node);
            let code = waiting.and_then(|pending| pending.code);
            let same = code.filter(|code| code.to_string() == order.code.trim().to_uppercase());
            let wrong = || {
                let message = "that node does not wait here with that code: compare the two once more, `shoal pair show`";
                AdminError::of(ErrorCode::Conflict, message)
            };
            let code = same.ok_or_else(wrong)?;
            if self.parts.joining.confirm_pairing(order.node, code) { Ok(()) } else { Err(wrong()) }
        }
        .boxed()
    }

    fn refuse_pairing(&self) -> NodeFuture<'_, ()> {
        self.parts.joining.refuse_pairing();
        async move { Ok(()) }.boxed()
    }

    fn tickets(&self) -> NodeFuture<'_, Vec<TicketInfo>> {
        async move {
            let tickets = self.parts.registry.tickets().await.map_err(|failure| of_registry(&failure))?;
            let now = self.parts.clock.now();
            let info = |ticket: &membership::TicketRecord| TicketInfo {
                id: ticket.id.to_string(),
                state: match (ticket.open(now), ticket.uses_left) {
                    (true, _) => "open",
                    (false, 0) => "used up",
                    (false, _) => "expired",
                }
                .to_owned(),
                uses_left: ticket.uses_left,
                joined: ticket.joined.clone(),
                created: ticket.created,
                expires: ticket.expires,
            };
            Ok(tickets.iter().map(info).collect())
        }
        .boxed()
    }

    fn create_ticket(&self, order: CreateTicket) -> NodeFuture<'_, NewTicket> {
        async move {
            let parts = &self.parts;
            let drive_policy =
                order.drives.parse().map_err(|error| AdminError::invalid(format!("{error}")))?;
            let order = TicketOrder {
                // The registry knows it.
                ca_pin: [0; 32],
                grid: parts.identity.grid,
                uses: order.uses,
                valid: Duration::from_secs(order.valid_seconds),
                drive_policy,
                peers: parts.link.known_addresses(),
            };
            let made = parts.registry.create_ticket(order).await.map_err(|failure| of_registry(&failure))?;
            Ok(NewTicket {
                id: made.id.to_string(),
                ticket: made.to_text().to_string(),
                expires: made.expires,
            })
        }
        .boxed()
    }

    fn delete_ticket(&self, id: &str) -> NodeFuture<'_, ()> {
        let id = id.to_owned();
        async move {
            let unknown = || AdminError::not_found("NoSuchTicket", format!("there is no ticket {id}"));
            let parsed = id.parse().map_err(|_| unknown())?;
            let deleted = self.parts.registry.delete_ticket(parsed).await;
            if deleted.map_err(|failure| of_registry(&failure))? { Ok(()) } else { Err(unknown()) }
        }
        .boxed()
    }

    fn enrolments(&self) -> NodeFuture<'_, Vec<EnrolmentInfo>> {
        async move {
            let registry = &self.parts.registry;
            let enrolments = registry.enrolments().await.map_err(|failure| of_registry(&failure))?;
            let pin = registry.pin().await.map_err(|failure| of_registry(&failure))?;
            let now = self.parts.clock.now();
            Ok(enrolments.iter().map(|enrolment| enrolment_info(enrolment, GridPin(pin), now)).collect())
        }
        .boxed()
    }

    fn enrol(&self, order: CreateEnrolment) -> NodeFuture<'_, EnrolmentInfo> {
        async move {
            let invalid = |error: &dyn std::fmt::Display| AdminError::invalid(error.to_string());
            let key: NodePublicKey = order.public_key.parse().map_err(|error| invalid(&error))?;
            let drive_policy =
                order.drives.parse().map_err(|error: membership::UnknownDrivePolicy| invalid(&error))?;
            let (registry, now) = (&self.parts.registry, self.parts.clock.now());
            let enrolment = Enrolment {
                public_key: key.0,
                name: order.name,
                drive_policy,
                created: now,
                expires: order.valid_seconds.map(|seconds| now.plus(Duration::from_secs(seconds))),
                joined: None,
            };
            registry.enrol(enrolment.clone()).await.map_err(|failure| of_registry(&failure))?;
            let pin = registry.pin().await.map_err(|failure| of_registry(&failure))?;
            Ok(enrolment_info(&enrolment, GridPin(pin), now))
        }
        .boxed()
    }

    fn withdraw_enrolment(&self, node: NodeId) -> NodeFuture<'_, ()> {
        async move {
            let withdrawn = self.parts.registry.withdraw(node).await;
            match withdrawn.map_err(|failure| of_registry(&failure))? {
                true => Ok(()),
                false => {
                    let message = format!(
                        "no key of a node {node} is enrolled: `shoal node enrolled` shows those that are"
                    );
                    Err(AdminError::not_found("NoSuchEnrolment", message))
                }
            }
        }
        .boxed()
    }

    fn keys(&self) -> NodeFuture<'_, Vec<KeyInfo>> {
        async move {
            let keys = self.parts.iam.list().await.map_err(|error| of_iam(&error))?;
            Ok(keys.into_iter().map(key_info).collect())
        }
        .boxed()
    }

    fn create_key(&self, order: CreateKey) -> NodeFuture<'_, NewKey> {
        async move {
            let given = order.id.zip(order.secret);
            let made = self.parts.iam.create(&order.user, given).await;
            let (key, secret) = made.map_err(|error| of_iam(&error))?;
            Ok(NewKey { id: key.id, secret: secret.to_string(), user: key.user })
        }
        .boxed()
    }

    fn set_key_active(&self, id: &str, active: bool) -> NodeFuture<'_, ()> {
        let id = id.to_owned();
        let state = if active { AccessKeyState::Active } else { AccessKeyState::Disabled };
        async move { self.parts.iam.set_state(&id, state).await.map_err(|error| of_iam(&error)) }.boxed()
    }

    fn delete_key(&self, id: &str) -> NodeFuture<'_, ()> {
        let id = id.to_owned();
        async move { self.parts.iam.delete(&id).await.map_err(|error| of_iam(&error)) }.boxed()
    }

    fn quarantined(&self) -> NodeFuture<'_, Vec<QuarantinedInfo>> {
        async move {
            let found = self.parts.engine.quarantined().await.map_err(|error| of_engine(&error))?;
            Ok(found.into_iter().map(quarantined_info).collect())
        }
        .boxed()
    }

    fn release_quarantined(&self, order: ReleaseQuarantined) -> NodeFuture<'_, QuarantineDone> {
        async move {
            let invalid = |error: &dyn std::fmt::Display| AdminError::invalid(error.to_string());
            let bucket: BucketName = order.bucket.parse().map_err(|error: NameError| invalid(&error))?;
            let key = ObjectKey::new(&order.key).map_err(|error| invalid(&error))?;
            let choice = quarantine_choice(order.choice);
            let released = self.parts.engine.release_quarantined(&choice, &bucket, &key).await;
            let (written, segments) = released.map_err(|error| of_engine(&error))?;
            Ok(QuarantineDone { segments: segments as u64, bytes: written.size })
        }
        .boxed()
    }

    fn delete_quarantined(&self, choice: QuarantineChoice) -> NodeFuture<'_, QuarantineDone> {
        async move {
            let deleted = self.parts.engine.delete_quarantined(&quarantine_choice(choice)).await;
            let segments = deleted.map_err(|error| of_engine(&error))? as u64;
            Ok(QuarantineDone { segments, bytes: 0 })
        }
        .boxed()
    }

    fn take_backup(&self, order: TakeBackup) -> NodeFuture<'_, ByteStream> {
        async move {
            let (salt, key) = (*hex::<16>("salt", &order.salt)?, hex::<32>("key", &order.key)?);
            let cost =
                PassphraseCost { memory_kib: order.memory_kib, passes: order.passes, lanes: order.lanes };
            let permit = self.backing_up.clone().try_acquire_owned().map_err(|_| {
                AdminError::of(
                    ErrorCode::Conflict,
                    "another backup is being taken from this node: wait for its end",
                )
            })?;
            let source = BackupSource {
                grid: self.parts.identity.grid,
                node: self.parts.identity.node,
                meta: self.parts.meta.clone(),
                registry: self.parts.registry.clone(),
                root_keys: self.parts.root_keys.clone(),
                clock: self.parts.clock.clone(),
            };
            let head = |grid, stamp| Head { salt, cost, grid, stamp };
            let stream = source.stream(head, PassphraseKey::from_bytes(&key), permit).await;
            stream.map_err(|error| match &error {
                SourceError::Meta(meta) => AdminError::of(meta.code(), error.to_string()),
                SourceError::Members(failure) => of_registry(failure),
                _ => AdminError::of(ErrorCode::Unavailable, error.to_string()),
            })
        }
        .boxed()
    }

    fn root_key(&self) -> NodeFuture<'_, RootKeyInfo> {
        async move {
            let view = self.parts.keeper.view().await.map_err(|error| of_keeper(&error))?;
            let members = view.members.into_iter().map(|member| RootKeyHolder {
                node: member.node,
                name: member.name,
                generations: member.generations,
                sealing: member.sealing,
            });
            Ok(RootKeyInfo {
                active: view.active,
                rotating: view.wanted || view.generations.len() > 1,
                generations: view.generations,
                records: view.pass.records,
                records_of_older: view.pass.older,
                records_stuck: view.pass.stuck,
                members: members.collect(),
                waits_for: view.waits_for,
                trouble: view.trouble,
            })
        }
        .boxed()
    }

    fn rotate_root_key(&self) -> NodeFuture<'_, ()> {
        async move { self.parts.keeper.order().await.map_err(|error| of_keeper(&error)) }.boxed()
    }

    fn set_operator_key(&self, hash: OperatorKeyHash) -> NodeFuture<'_, ()> {
        async move {
            let write = crate::founding::operator_key_write(hash);
            self.parts
                .meta
                .write_records(vec![write])
                .await
                .map_err(|error| AdminError::of(error.code(), error.to_string()))
        }
        .boxed()
    }

    fn random_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.parts.random.fill(&mut bytes);
        bytes
    }
}

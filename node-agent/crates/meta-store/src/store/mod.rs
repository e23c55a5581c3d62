//! The entry point: routes questions and commands to shards.

mod backup;
mod buckets;
mod homes;
mod leaders;
mod maintenance;
mod objects;
mod opener;
mod readers;
mod repair;
mod replicas;
mod room;
mod routing;
mod splitting;
mod stats;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grid_types::{DriveId, OpId, ShardId};
use parking_lot::{Mutex, RwLock};
use sys::{Clock, Random};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::buckets::BucketCache;
use self::homes::Homes;
use self::readers::Readers;
use self::room::RoomWatch;
use self::routing::{ShardMap, range_record};
use crate::generation;
use crate::group::{Group, GroupSettings, Heartbeats};
use crate::home::HomeDrive;
use crate::log::{GroupLog, SharedLog};
use crate::root::{Record, RecordKind, RecordWrite};
use crate::state::{Limits, ShardFile, ShardRange, sqlite_version_is_safe};
use crate::{MetaConfig, MetaError, MetaPeers};

pub use self::backup::{ImagePieces, ShardImage, image_pieces};
pub use self::repair::SegmentPage;
pub use self::stats::{MetaStats, ShardStats};

/// How long a call waits for a shard that is not available before it says so.
const RETRY_PATIENCE: Duration = Duration::from_secs(10);
/// A replica that has not heard from a leader for so long, and a leader from a majority, is not ready: several heartbeats.
const LEADER_SILENCE_MAX: Duration = Duration::from_secs(3);
/// The shard that a new grid begins with, beside the root.
const FIRST_SHARD: ShardId = ShardId(1);

/// The metadata of the grid as this node reaches it. Cheap to clone.
///
/// Cancellation: reads are safe to drop; a dropped `commit` may or may not have happened, and a repeat with the same
/// op id finds out.
#[derive(Clone)]
pub struct MetaStore {
    inner: Arc<Inner>,
}

struct Inner {
    config: MetaConfig,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    log: SharedLog,
    homes: Arc<Homes>,
    groups: RwLock<BTreeMap<ShardId, Group>>,
    map: RwLock<ShardMap>,
    /// Held for reading by what must not meet a split half-way, for writing by the split's hand-over.
    map_changes: tokio::sync::RwLock<()>,
    peers: MetaPeers,
    heartbeats: Heartbeats,
    /// Something may be missing here: look at once.
    look_now: Arc<tokio::sync::Notify>,
    /// Held by whoever makes a child that was split off live on this node.
    births: tokio::sync::Mutex<()>,
    /// Children for which this run rebuilt the parent's file.
    remade: Mutex<BTreeSet<ShardId>>,
    buckets: BucketCache,
    readers: Readers,
    closed: AtomicBool,
    /// Why nothing may be committed.
    read_only: RwLock<Option<String>>,
    room: RoomWatch,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Shards with a task that takes another node's snapshot over.
    taking_over: Mutex<BTreeMap<ShardId, JoinHandle<()>>>,
    /// Shards with a task that splits them.
    splitting: Mutex<BTreeMap<ShardId, JoinHandle<()>>>,
}

fn io(operation: &'static str) -> impl Fn(std::io::Error) -> MetaError {
    move |source| MetaError::Io { operation, source }
}

/// Runs what blocks on a thread for it.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, MetaError> + Send + 'static,
) -> Result<R, MetaError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io("a task")(std::io::Error::other(error))),
    }
}

impl MetaStore {
    /// Founds the metadata of a new grid on these drives: an empty root shard and one shard over the whole key space.
    pub async fn found(
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, MetaError> {
        Self::found_among(home, config, clock, random, MetaPeers::alone()).await
    }

    /// As `found`, in a grid that others may join.
    pub async fn found_among(
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        peers: MetaPeers,
    ) -> Result<Self, MetaError> {
        sqlite_version_is_safe().map_err(MetaError::Damaged)?;
        let limits = Limits {
            op_ids_min: config.op_ids_min,
            op_id_micros: u64::try_from(config.op_id_age.as_micros()).unwrap_or(u64::MAX),
        };
        let (log, homes) = {
            let (config, random) = (config.clone(), random.clone());
            blocking(move || {
                generation::write(&home, config.generation).map_err(io("write the generation"))?;
                let log = SharedLog::create(&home, config.log.clone(), random.as_ref())?;
                let homes = Arc::new(Homes::new(home, log.mirrors(), &config)?);
                // The root shard owns records, no keys.
                let nothing = ShardRange { start: Vec::new(), end: Some(Vec::new()), generation: 0 };
                found_shard(&homes, ShardId::ROOT, &nothing, limits)?;
                found_shard(&homes, FIRST_SHARD, &ShardRange::default(), limits)?;
                Ok((log, homes))
            })
            .await?
        };
        peers.set_generation(config.generation);
        let inner = Inner::new(log, homes, config, clock, random, peers)?;
        inner.start_group(ShardId::ROOT).await?;
        inner.start_group(FIRST_SHARD).await?;
        inner.map.write().insert(Vec::new(), FIRST_SHARD);
        inner.write_records(vec![range_record(FIRST_SHARD, &ShardRange::default())]).await?;
        Ok(Self::running(inner))
    }

    /// Opens what `found` made. `home` are all drives in service. Fails with `Damaged` and words on what to do where the
    /// mirrors do not suffice or SQLite files cannot be rebuilt.
    pub async fn open(
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, MetaError> {
        Self::open_among(home, config, clock, random, MetaPeers::alone()).await
    }

    /// As `open`, in a grid of several nodes: also what `join` made.
    pub async fn open_among(
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        peers: MetaPeers,
    ) -> Result<Self, MetaError> {
        sqlite_version_is_safe().map_err(MetaError::Damaged)?;
        let (log, homes, generation) = {
            let (config, home) = (config.clone(), home.clone());
            blocking(move || {
                let generation = generation::only_newest(&home).map_err(io("read the generation"))?;
                let log = SharedLog::open(&home, config.log.clone())?;
                let homes = Arc::new(Homes::new(home, log.mirrors(), &config)?);
                Ok((log, homes, generation))
            })
            .await?
        };
        peers.set_generation(generation);
        if let Err(error) = follow_home(&log, &homes, home).await {
            tracing::warn!(%error, "mirrors of the metadata cannot be filled up now");
        }
        let inner = Inner::new(log, homes, config, clock, random, peers)?;
        if inner.peers.is_alone() || inner.holds(ShardId::ROOT) {
            inner.start_group(ShardId::ROOT).await?;
        } else {
            // A join that was cut short.
            inner.join_shard(ShardId::ROOT).await?;
        }
        // What this replica knows is enough to start with: no other node need be up yet.
        let ranges = inner.known_ranges().await?;
        for (shard, range) in &ranges {
            inner.map.write().insert(range.start.clone(), *shard);
        }
        let alone = inner.peers.is_alone();
        if ranges.is_empty() && alone {
            // Founding was cut short before its last write.
            inner.map.write().insert(Vec::new(), FIRST_SHARD);
            inner.write_records(vec![range_record(FIRST_SHARD, &ShardRange::default())]).await?;
        }
        let mut shards = inner.map.read().shards();
        shards.retain(|shard| inner.holds(*shard));
        let mut starting = tokio::task::JoinSet::new();
        for shard in shards {
            let inner = inner.clone();
            starting.spawn(async move { inner.start_group(shard).await });
        }
        while let Some(started) = starting.join_next().await {
            started.map_err(|error| io("start a group")(std::io::Error::other(error)))??;
        }
        if alone {
            inner.finish_hand_overs().await?;
            let undone = inner.undo_deletions(None).await?;
            if undone > 0 {
                tracing::warn!(undone, "bucket deletions that were cut short are undone");
            }
        }
        Ok(Self::running(inner))
    }

    /// Makes this node a replica of a grid's metadata: fetches the root shard from another member, then the others. The
    /// leaders make it a voter where one is wanted. A join that was cut short is gone on with.
    pub async fn join(
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        peers: MetaPeers,
    ) -> Result<Self, MetaError> {
        sqlite_version_is_safe().map_err(MetaError::Damaged)?;
        let unavailable =
            || MetaError::Unavailable { shard: ShardId::ROOT, reason: "no other member answers".to_owned() };
        let begun = Self::exists(home.clone()).await?;
        let generation = match begun {
            true => Self::home_generation(home.clone()).await?,
            false => peers.newest_of_others().await.ok_or_else(unavailable)?,
        };
        peers.set_generation(generation);
        let (log, homes) = {
            let (config, random) = (config.clone(), random.clone());
            blocking(move || {
                generation::write(&home, generation).map_err(io("write the generation"))?;
                let log = if begun {
                    SharedLog::open(&home, config.log.clone())?
                } else {
                    SharedLog::create(&home, config.log.clone(), random.as_ref())?
                };
                let homes = Arc::new(Homes::new(home, log.mirrors(), &config)?);
                Ok((log, homes))
            })
            .await?
        };
        let inner = Inner::new(log, homes, config, clock, random, peers)?;
        if inner.holds(ShardId::ROOT) {
            inner.start_group(ShardId::ROOT).await?;
        } else {
            inner.join_shard(ShardId::ROOT).await?;
        }
        for (shard, range) in inner.known_ranges().await? {
            inner.map.write().insert(range.start, shard);
            if inner.holds(shard) {
                inner.start_group(shard).await?;
            } else {
                inner.join_shard(shard).await?;
            }
        }
        Ok(Self::running(inner))
    }

    /// Does this home hold a replica of the root shard already?
    pub async fn exists(home: Vec<HomeDrive>) -> Result<bool, MetaError> {
        blocking(move || Ok(SharedLog::exists(&home)?)).await
    }

    /// Generation of the metadata on these drives; 0 where there is none.
    pub async fn home_generation(home: Vec<HomeDrive>) -> Result<u64, MetaError> {
        blocking(move || generation::newest(&home).map_err(io("read the generation"))).await
    }

    /// Renames the metadata on these drives, so that a start finds none. What was moved, and where to.
    pub async fn set_aside(home: Vec<HomeDrive>) -> Result<Vec<(DriveId, String)>, MetaError> {
        blocking(move || {
            let moved = home.iter().map(|drive| {
                let to = generation::set_aside(drive).map_err(io("set old metadata aside"))?;
                Ok(to.map(|to| (drive.id, to)))
            });
            moved.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// Answers other nodes from now on, under the name `meta`.
    pub fn serve(&self, services: &rpc::Services) {
        services.add(crate::group::SERVICE, Arc::new(replicas::MetaService::new(&self.inner)));
    }

    /// The members and the way to them; the caller keeps them current.
    pub fn peers(&self) -> &MetaPeers {
        &self.inner.peers
    }

    /// Goes on without the other one of two voters, which is lost: by an operator's order alone, and only where the
    /// members that remain are this node (`MetaPeers::set_members` first). Refused in groups of more voters.
    pub async fn continue_alone(&self) -> Result<(), MetaError> {
        self.inner.continue_alone().await
    }

    /// Who votes on the root shard, and who leads it, as this node knows.
    pub fn root_voters(&self) -> (Vec<crate::VoterNumber>, Option<crate::VoterNumber>) {
        let root = self.inner.groups.read().get(&ShardId::ROOT).cloned();
        root.map(|root| root.status()).map_or((Vec::new(), None), |status| (status.voters, status.leader))
    }

    /// Who votes on each shard, as this node knows.
    pub fn voters(&self) -> Vec<Vec<crate::VoterNumber>> {
        self.inner.groups.read().values().map(|group| group.status().voters).collect()
    }

    /// Does this node lead the shard? Background work on a shard is its leader's.
    pub fn leads(&self, shard: ShardId) -> bool {
        self.inner.groups.read().get(&shard).is_some_and(Group::leads)
    }

    fn running(inner: Arc<Inner>) -> Self {
        let task = tokio::spawn(maintenance::run(
            Arc::downgrade(&inner),
            inner.config.maintenance_period,
            inner.stop.subscribe(),
        ));
        let holding = tokio::spawn(replicas::hold(Arc::downgrade(&inner), inner.stop.subscribe()));
        let beating = tokio::spawn(replicas::beat(Arc::downgrade(&inner), inner.stop.subscribe()));
        inner.tasks.lock().extend([task, holding, beating]);
        Self { inner }
    }

    /// Stops all groups after checkpointing; later calls fail with `Unavailable`.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.closed.store(true, Ordering::Release);
        inner.stop.send_replace(true);
        let tasks = std::mem::take(&mut *inner.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a metadata task panicked");
            }
        }
        let taking_over = std::mem::take(&mut *inner.taking_over.lock());
        taking_over.into_values().for_each(|task| task.abort());
        let splits = std::mem::take(&mut *inner.splitting.lock());
        for (_, split) in splits {
            // A step ends at its next question, which a closed store refuses.
            let _ = split.await;
        }
        let groups: Vec<Group> = inner.groups.read().values().cloned().collect();
        if !inner.peers.is_alone() {
            let members = inner.peers.members();
            let handing = groups.iter().map(|group| group.hand_leadership_over(&members));
            futures_util::future::join_all(handing).await;
        }
        for group in groups {
            if let Ok((file, _)) = group.file() {
                let checkpointed =
                    tokio::task::spawn_blocking(move || file.checkpoint().map_err(|error| error.to_string()))
                        .await;
                if let Ok(Err(error)) = checkpointed {
                    tracing::warn!(error, "no last checkpoint; the log brings back what it would have kept");
                }
            }
            group.shutdown().await;
        }
        inner.log.close().await;
    }

    /// A drive came into or went out of service: the mirrors follow.
    pub async fn set_home(&self, home: Vec<HomeDrive>) -> Result<(), MetaError> {
        follow_home(&self.inner.log, &self.inner.homes, home).await
    }

    /// With a reason, every command is refused from now on, and reads go on; without, the refusal ends.
    pub fn set_read_only(&self, reason: Option<String>) {
        *self.inner.read_only.write() = reason;
    }

    /// Why every command is refused, where it is.
    pub fn read_only(&self) -> Option<String> {
        self.inner.read_only.read().clone()
    }

    /// Mirrors of the log that could not be written or synced, since the last call, with the reason. They were dropped;
    /// whoever watches the drives takes them out of service.
    pub fn take_failed_mirrors(&self) -> Vec<(DriveId, String)> {
        self.inner.log.take_failed_mirrors()
    }

    /// Why commands that add something are refused, with StorageFull; `None` where they are not.
    pub fn full(&self) -> Option<&'static str> {
        self.inner.room.reason()
    }

    /// Ready = every group of this node has a live leader that reaches a majority. Else which is not, in words.
    pub fn ready(&self) -> Result<(), String> {
        if self.inner.is_closed() {
            return Err("the metadata store is shut down".to_owned());
        }
        for (shard, group) in &*self.inner.groups.read() {
            let status = group.status();
            if !status.serving {
                return Err(format!("metadata shard {shard}: {}", status.trouble));
            }
            if !self.inner.peers.is_alone() && group.fresh(LEADER_SILENCE_MAX).is_none() {
                return Err(format!("metadata shard {shard}: no leader that reaches a majority is heard"));
            }
        }
        Ok(())
    }

    /// A fresh op id.
    pub fn new_op(&self) -> OpId {
        OpId::from(self.inner.random.id())
    }

    // Root records.

    /// One record.
    pub async fn record(&self, kind: RecordKind, key: &[u8]) -> Result<Option<Record>, MetaError> {
        let key = key.to_vec();
        self.inner.ask_named(ShardId::ROOT, move |view| view.record(kind, &key)).await
    }

    /// Records of a kind in key order, after `after`, at most `limit`.
    pub async fn records(
        &self,
        kind: RecordKind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, MetaError> {
        let after = after.map(<[u8]>::to_vec);
        self.inner.ask_named(ShardId::ROOT, move |view| view.records(kind, after.as_deref(), limit)).await
    }

    /// Writes a batch: all or none; Conflict where an `expect` does not hold.
    pub async fn write_records(&self, writes: Vec<RecordWrite>) -> Result<(), MetaError> {
        self.inner.write_records(writes).await
    }
}

/// Snapshots first, then the log, then what the log chose.
async fn follow_home(log: &SharedLog, homes: &Arc<Homes>, home: Vec<HomeDrive>) -> Result<(), MetaError> {
    let (before, drives) = (homes.clone(), home.clone());
    blocking(move || {
        // So that a drive that takes over from others knows whose metadata it has.
        generation::only_newest(&drives).map_err(io("write the generation"))?;
        before.set(&drives)
    })
    .await?;
    log.set_home(home).await?;
    let (after, mirrors) = (homes.clone(), log.mirrors());
    blocking(move || after.follow(mirrors)).await
}

/// First file of a shard, and the snapshot copies that it can be rebuilt from. Blocks.
fn found_shard(
    homes: &Arc<Homes>,
    shard: ShardId,
    range: &ShardRange,
    limits: Limits,
) -> Result<(), MetaError> {
    let (_, storage) = homes.storage(shard)?;
    let of_shard = |error: crate::state::StateError| error.of_shard(shard);
    let file = ShardFile::create(storage, range, limits, homes.cache_bytes(), homes.clone());
    let file = Arc::new(file.map_err(of_shard)?);
    let image = file.image().map_err(of_shard)?;
    homes.write_snapshot(shard, image).map(|_| ())
}

impl Inner {
    fn new(
        log: SharedLog,
        homes: Arc<Homes>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        peers: MetaPeers,
    ) -> Result<Arc<Self>, MetaError> {
        let (stop, _) = watch::channel(false);
        Ok(Arc::new(Self {
            config,
            clock,
            random,
            log,
            homes,
            groups: RwLock::new(BTreeMap::new()),
            map: RwLock::new(ShardMap::default()),
            map_changes: tokio::sync::RwLock::new(()),
            heartbeats: Heartbeats::new(peers.clone()),
            look_now: Arc::default(),
            peers,
            births: tokio::sync::Mutex::new(()),
            remade: Mutex::default(),
            buckets: BucketCache::default(),
            readers: Readers::start().map_err(io("start threads for reads"))?,
            closed: AtomicBool::new(false),
            read_only: RwLock::new(None),
            room: RoomWatch::new(),
            stop,
            tasks: Mutex::new(Vec::new()),
            taking_over: Mutex::new(BTreeMap::new()),
            splitting: Mutex::new(BTreeMap::new()),
        }))
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn closed_error(&self, shard: ShardId) -> MetaError {
        let reason = if self.is_closed() { "the store is shut down" } else { "a read panicked" };
        MetaError::Unavailable { shard, reason: reason.to_owned() }
    }

    fn group(&self, shard: ShardId) -> Result<Group, MetaError> {
        if self.is_closed() {
            return Err(self.closed_error(shard));
        }
        let group = self.groups.read().get(&shard).cloned();
        group.ok_or_else(|| MetaError::Unavailable { shard, reason: "this node does not hold it".to_owned() })
    }

    /// Does this node have a replica of the shard on its drives?
    fn holds(&self, shard: ShardId) -> bool {
        self.homes.holds(shard, self.has_run(shard))
    }

    /// Did this node ever vote or store an entry in the shard's group?
    fn has_run(&self, shard: ShardId) -> bool {
        let log = self.log.group(shard).state();
        log.last.is_some() || log.vote.is_some()
    }

    /// Starts the group of a shard whose file or snapshot copies exist.
    async fn start_group(&self, shard: ShardId) -> Result<(), MetaError> {
        let log: GroupLog = self.log.group(shard);
        let open = {
            let (homes, log) = (self.homes.clone(), log.clone());
            Arc::new(move |rebuild| opener::open_shard(&homes, shard, &log, rebuild))
        };
        let settings = GroupSettings {
            shard,
            log,
            open,
            batch_entries_max: self.config.batch_entries_max,
            log_entries_kept: self.config.log_entries_kept,
            peers: self.peers.clone(),
            heartbeats: self.heartbeats.clone(),
        };
        let group = Group::start(settings).await?;
        self.groups.write().insert(shard, group);
        Ok(())
    }
}

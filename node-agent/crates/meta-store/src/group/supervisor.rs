//! Keeps a group alive: starts it, watches it, restarts it with back-off when it died.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use grid_types::ShardId;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::{Config, Raft, ReadPolicy, SnapshotPolicy};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::heartbeat::{Heartbeats, SILENCE};
use super::leader::ReadGate;
use super::log_store::LogStore;
use super::network::Peers;
use super::state_machine::{Covered, StateMachine};
use super::types::{Types, Voter};
use crate::MetaError;
use crate::log::GroupLog;
use crate::peers::MetaPeers;
use crate::state::ShardFile;

/// Milliseconds; at least 1 s as design/membership.md wants.
const ELECTION_TIMEOUT_MIN_MS: u64 = 1_000;
const ELECTION_TIMEOUT_MAX_MS: u64 = 2_000;
/// How long the library waits for the answer to a heartbeat, and the period where beats (`heartbeat`) have ended: longer than the round trip of a satellite link would
/// be too long for the election timeout, so that links of up to 400 ms work.
pub(super) const HEARTBEAT_MS: u64 = 400;
/// Entries of one message, and of one append.
const PAYLOAD_ENTRIES_MAX: u64 = 256;
const APPEND_ENTRIES_MAX: u64 = 4_096;
/// Requests that may wait for a group.
const REQUESTS_WAITING_MAX: u64 = 4_096;
/// First and last pause between restarts.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(50);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A group that lived so long starts its back-off anew.
const RESTART_CALM: Duration = Duration::from_secs(60);
/// How long a start may take to elect a leader and to replay before it is tried again.
const START_PATIENCE: Duration = Duration::from_secs(600);

pub(super) type ShardRaft = Raft<Types, StateMachine>;
/// Work that needs the group to stand still: its file and log are exchanged.
type Exchange = (BoxFuture<'static, Result<(), MetaError>>, oneshot::Sender<Result<(), MetaError>>);

/// An opened file with how far its snapshot copies reach.
pub(crate) struct Opened {
    pub file: Arc<ShardFile>,
    pub covered: Covered,
}

/// Opens the shard's file, rebuilding it where needed. `rebuild`: the last one was found damaged. Blocks.
pub(crate) type FileOpener = Arc<dyn Fn(bool) -> Result<Opened, MetaError> + Send + Sync>;

/// What a group needs to run.
pub(crate) struct GroupSettings {
    pub shard: ShardId,
    pub log: GroupLog,
    pub open: FileOpener,
    pub batch_entries_max: usize,
    pub log_entries_kept: u64,
    pub peers: MetaPeers,
    pub heartbeats: Heartbeats,
}

/// How a group fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupStatus {
    /// It runs here and knows a live leader.
    pub serving: bool,
    /// Who leads it.
    pub leader: Option<Voter>,
    /// Who votes.
    pub voters: Vec<Voter>,
    /// Times it died and was restarted.
    pub restarts: u64,
    /// Why it does not serve.
    pub trouble: String,
    /// Index of the last applied and the last appended entry.
    pub applied: u64,
    pub last: u64,
}

pub(super) struct Shared {
    pub shard: ShardId,
    pub peers: MetaPeers,
    pub reads: ReadGate,
    /// When a leader last spoke to this replica.
    pub heard: Mutex<Option<tokio::time::Instant>>,
    running: RwLock<Option<Running>>,
    serving: AtomicBool,
    restarts: AtomicU64,
    trouble: Mutex<String>,
    /// The file is damaged: rebuild it at the next start.
    damaged: AtomicBool,
    kick: Notify,
    exchanges: mpsc::Sender<Exchange>,
}

#[derive(Clone)]
pub(super) struct Running {
    pub raft: ShardRaft,
    pub file: Arc<ShardFile>,
    pub covered: Covered,
}

/// A handle to a group. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Group {
    pub(super) shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    supervisor: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Group {
    /// Starts a group and waits until it serves. A failing first start is an error; later ones are retried.
    pub(crate) async fn start(settings: GroupSettings) -> Result<Self, MetaError> {
        let (exchanges, exchanged) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            shard: settings.shard,
            peers: settings.peers.clone(),
            reads: ReadGate::default(),
            heard: Mutex::new(None),
            exchanges,
            running: RwLock::new(None),
            serving: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            trouble: Mutex::new("it is starting".to_owned()),
            damaged: AtomicBool::new(false),
            kick: Notify::new(),
        });
        launch(&shared, &settings).await?;
        let (stop, stopped) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(shared.clone(), settings, stopped, exchanged));
        Ok(Self { shared, stop, supervisor: Arc::new(Mutex::new(Some(supervisor))) })
    }

    pub(super) fn running(&self) -> Result<Running, MetaError> {
        let running = self.shared.running.read().clone();
        match running {
            Some(running) if self.shared.serving.load(Ordering::Acquire) => Ok(running),
            _ => Err(self.unavailable(self.shared.trouble.lock().clone())),
        }
    }

    pub(super) fn unavailable(&self, reason: impl Into<String>) -> MetaError {
        MetaError::Unavailable { shard: self.shared.shard, reason: reason.into() }
    }

    /// The group may have died: whoever keeps it alive looks at once.
    pub(super) fn look(&self) {
        self.shared.kick.notify_one();
    }

    /// Stops the group, does `work`, and starts it again on what it finds then.
    pub(crate) async fn exchange(
        &self,
        work: BoxFuture<'static, Result<(), MetaError>>,
    ) -> Result<(), MetaError> {
        let (done, answer) = oneshot::channel();
        let ended = || self.unavailable("it was shut down");
        self.shared.exchanges.send((work, done)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// The file as it is now, for background work.
    pub(crate) fn file(&self) -> Result<(Arc<ShardFile>, Covered), MetaError> {
        let running = self.running()?;
        Ok((running.file, running.covered))
    }

    /// Snapshot copies reach further now: the log may be purged.
    pub(crate) async fn purge(&self) -> Result<(), MetaError> {
        let running = self.running()?;
        running.raft.trigger().snapshot().await.map_err(|error| self.unavailable(error.to_string()))
    }

    /// A read met damage: the group is stopped and its file rebuilt from snapshot and log.
    pub(crate) fn report_damage(&self, what: &str) {
        tracing::error!(shard = %self.shared.shard, what, "metadata file is damaged; it is rebuilt");
        self.shared.serving.store(false, Ordering::Release);
        *self.shared.trouble.lock() = "its file is damaged and is being rebuilt".to_owned();
        self.shared.damaged.store(true, Ordering::Release);
        self.shared.kick.notify_one();
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut status =
            GroupStatus { restarts: self.shared.restarts.load(Ordering::Relaxed), ..GroupStatus::default() };
        let running = self.shared.running.read().clone();
        let Some(running) = running.filter(|_| self.shared.serving.load(Ordering::Acquire)) else {
            status.trouble.clone_from(&self.shared.trouble.lock());
            return status;
        };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        status.leader = metrics.current_leader;
        status.serving = metrics.current_leader.is_some();
        status.voters = members.voter_ids().collect();
        status.applied = metrics.last_applied.map_or(0, |id| id.index);
        status.last = metrics.last_log_index.unwrap_or(0);
        if !status.serving {
            status.trouble = "it has no leader".to_owned();
        }
        status
    }

    /// Lets the group's own timer run only where it is needed: where nobody leads it that is heard. The replicas that a
    /// heartbeat goes to; none where this node does not lead.
    pub(super) fn mind_timer(&self) -> Vec<Voter> {
        let Ok(running) = self.running() else { return Vec::new() };
        let metrics = running.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let me = self.shared.peers.me();
        let leads = metrics.state.is_leader();
        let hears = self.shared.heard.lock().is_some_and(|heard| heard.elapsed() < SILENCE);
        running.raft.runtime_config().tick(!leads && !hears);
        if !leads {
            return Vec::new();
        }
        let members = metrics.membership_config.membership();
        members.nodes().map(|(number, _)| *number).filter(|number| *number != me).collect()
    }

    /// Has the leader send its heartbeats.
    pub(super) async fn trigger_heartbeat(&self) {
        if let Ok(running) = self.running() {
            // A group that died is restarted by who watches it.
            let _ = running.raft.trigger().heartbeat().await;
        }
    }

    /// Beats have ended: the group minds its own timer.
    pub(crate) fn run_timer(&self) {
        if let Some(running) = &*self.shared.running.read() {
            running.raft.runtime_config().tick(true);
        }
    }

    /// Stops the group for good.
    pub(crate) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let supervisor = self.supervisor.lock().take();
        if let Some(supervisor) = supervisor {
            // A supervisor that panicked has left nothing running that this would stop.
            let _ = supervisor.await;
        }
    }
}

fn raft_config(shard: ShardId, log_entries_kept: u64) -> Result<Arc<Config>, MetaError> {
    let config = Config {
        cluster_name: format!("shard-{shard}"),
        election_timeout_min: ELECTION_TIMEOUT_MIN_MS,
        election_timeout_max: ELECTION_TIMEOUT_MAX_MS,
        heartbeat_interval: HEARTBEAT_MS,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        max_append_entries: Some(APPEND_ENTRIES_MAX),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: log_entries_kept,
        api_channel_size: Some(REQUESTS_WAITING_MAX),
        enable_pre_vote: Some(true),
        // A leader sends entries while its own log still writes them. After a crash it no longer knows what it sent, and
        // in the same term it would give another entry the same id: replicas would differ, and nobody would notice.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    let checked =
        config.validate().map_err(|error| MetaError::Unavailable { shard, reason: error.to_string() })?;
    Ok(Arc::new(checked))
}

/// Starts the group and waits until it serves.
async fn launch(shared: &Arc<Shared>, settings: &GroupSettings) -> Result<(), MetaError> {
    let shard = shared.shard;
    let unavailable = |reason: String| MetaError::Unavailable { shard, reason };
    let open = settings.open.clone();
    let rebuild = shared.damaged.load(Ordering::Acquire);
    let opened = tokio::task::spawn_blocking(move || open(rebuild))
        .await
        .map_err(|error| unavailable(error.to_string()))??;
    let state_machine = StateMachine {
        file: opened.file.clone(),
        log: settings.log.clone(),
        covered: opened.covered.clone(),
        batch_entries_max: settings.batch_entries_max.max(1),
    };
    let store = LogStore::new(settings.log.clone());
    let (me, config) = (settings.peers.me(), raft_config(shard, settings.log_entries_kept)?);
    let ways = Peers { shard, peers: settings.peers.clone(), heartbeats: settings.heartbeats.clone() };
    let raft = Raft::new(me, config, ways, store, state_machine)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let running = Running { raft: raft.clone(), file: opened.file, covered: opened.covered };
    match serve(&raft, &settings.peers).await {
        Ok(()) => {
            *shared.running.write() = Some(running);
            shared.damaged.store(false, Ordering::Release);
            shared.serving.store(true, Ordering::Release);
            Ok(())
        }
        Err(reason) => {
            retire(running).await;
            Err(unavailable(reason))
        }
    }
}

/// In a grid of one: founds the group where it is new, elects a leader and waits until all that was acknowledged is
/// applied. With other voters, a leader is found or elected while it runs.
async fn serve(raft: &ShardRaft, peers: &MetaPeers) -> Result<(), String> {
    let me = peers.me();
    if raft.is_initialized().await.map_err(|error| error.to_string())? {
        let alone = {
            let metrics = raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().voter_ids().eq([me])
        };
        if !alone {
            return Ok(());
        }
        // A group of one need not wait for a timeout to pass.
        raft.trigger().elect(false).await.map_err(|error| error.to_string())?;
    } else if peers.is_alone() {
        found(raft, BTreeSet::from([me])).await?;
    } else {
        // Whoever made the group tells it who votes.
        return Ok(());
    }
    let ready = async {
        raft.wait(Some(START_PATIENCE))
            .current_leader(me, "start")
            .await
            .map_err(|error| error.to_string())?;
        raft.ensure_linearizable(ReadPolicy::ReadIndex).await.map_err(|error| error.to_string())
    };
    ready.await.map(|_| ())
}

/// Gives a new group its voters; one that has some keeps them.
pub(super) async fn found(raft: &ShardRaft, voters: BTreeSet<Voter>) -> Result<(), String> {
    match raft.initialize(voters).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Stops a group that ran. Nothing is applied to its file afterwards.
async fn retire(running: Running) {
    if let Err(error) = running.raft.shutdown().await {
        tracing::warn!(%error, "a metadata group ended by a panic");
    }
    let file = running.file;
    // Waits for a batch that is being applied; whoever opens the file anew must see it.
    let retired = tokio::task::spawn_blocking(move || file.retire()).await;
    if retired.is_err() {
        tracing::warn!("a metadata file could not be retired");
    }
}

async fn supervise(
    shared: Arc<Shared>,
    settings: GroupSettings,
    mut stopped: watch::Receiver<bool>,
    mut exchanges: mpsc::Receiver<Exchange>,
) {
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let started = tokio::time::Instant::now();
        let mut exchange = None;
        let mut reason = tokio::select! {
            reason = watch_death(&shared) => reason,
            Some(wanted) = exchanges.recv() => {
                exchange = Some(wanted);
                "it takes over a snapshot".to_owned()
            }
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        shared.serving.store(false, Ordering::Release);
        if started.elapsed() > RESTART_CALM || exchange.is_some() {
            pause = RESTART_PAUSE_MIN;
        }
        if exchange.is_none() {
            shared.restarts.fetch_add(1, Ordering::Relaxed);
            tracing::error!(shard = %shared.shard, %reason, "a metadata group died; it is restarted");
        }
        loop {
            *shared.trouble.lock() = format!("its group is being restarted: {reason}");
            let old = shared.running.write().take();
            if let Some(old) = old {
                retire(old).await;
            }
            let mut answer = None;
            if let Some((work, done)) = exchange.take() {
                answer = Some((done, work.await));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            pause = (pause * 2).min(RESTART_PAUSE_MAX);
            let launched = launch(&shared, &settings).await;
            if let Some((done, result)) = answer {
                // Who asked may have gone.
                let _ = done.send(result);
            }
            match launched {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(shard = %shared.shard, %error, "a metadata group does not start");
                    reason = error.to_string();
                }
            }
        }
        tracing::info!(shard = %shared.shard, "the metadata group serves again");
    }
    shared.serving.store(false, Ordering::Release);
    *shared.trouble.lock() = "it was shut down".to_owned();
    let old = shared.running.write().take();
    if let Some(old) = old {
        retire(old).await;
    }
}

/// Returns once the group no longer works, with the reason.
async fn watch_death(shared: &Arc<Shared>) -> String {
    let Some(raft) = shared.running.read().as_ref().map(|running| running.raft.clone()) else {
        return "it does not run".to_owned();
    };
    // These change seldom, the others with every heartbeat; all end with the group's task.
    let (all, mut metrics) = (raft.metrics(), raft.server_metrics());
    loop {
        drop(metrics.borrow_and_update());
        if let Err(fatal) = &all.borrow_watched().running_state {
            return fatal.to_string();
        }
        if shared.damaged.load(Ordering::Acquire) {
            return "its file is damaged".to_owned();
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                return "its task ended".to_owned();
            },
            () = shared.kick.notified() => {}
        }
    }
}

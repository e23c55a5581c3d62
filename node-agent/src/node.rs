//! The wiring, in row order: self-test, drives, keys, metadata, chunks, segments, objects, access, repair, doors. And
//! back: doors drain first, metadata stops last.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin_api::{AdminApi, AdminDoor, Metrics, OperatorKeyHash, Trust};
use chunk_store::{ChunkStore, Drive, DriveConfig};
use grid_types::{BucketName, DriveId, DriveState, MemoryBudget};
use http_server::{HttpConfig, HttpServer, Observer, TlsIdentity};
use iam::Iam;
use keyring::{RootKeys, SealedValue};
use membership::{DiscoveryConfig, Interfaces};
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaError, MetaStore};
use object_engine::backup::{BackupConfig, MetadataBackup};
use object_engine::{EngineConfig, INTERNAL_BUCKET, ObjectEngine, STANDARD};
use repair::{Repair, RepairConfig, RepairContext};
use s3_api::{S3Config, S3Front};
use segment_store::{CHUNK_SERVICE, ChunkService, ChunkServiceConfig, GridView, SegmentConfig, SegmentStore};
use sys::{Clock, Random};

use self::data_plane::DataPlane;
use self::drives::{InService, state_folder, take_into_service, watched_drives};
pub(crate) use self::drives::{lock_drives, open_drives};
use self::entering::{catch_up_with_keys, enter_grid, hear_others, open_metadata, patiently};
use crate::access_log::{AccessLog, Observers};
use crate::admin_node::{AdminNode, AdminNodeParts, OpenDoors};
use crate::certificate::Authority;
use crate::config::{Config, DegradedWrites, TlsMode, UnprovenTime};
use crate::drives::{Discovered, DiscoveryError, DriveOrder, DriveWatch, WatchConfig, WatchStart, discover};
use crate::founding::operator_key_hash;
use crate::grid::{
    Followed, Following, GridLink, GridLinkError, GridRegistry, LinkStart, Picture, RegistryFailure,
    multicast_of,
};
use crate::incarnation::IncarnationError;
use crate::records::{self, DriveRecord, OPERATOR_KEY_SETTING};
use crate::root_keys::{self, KeeperError, KeeperParts, KeyKeeper, KeyPlaces, ROOT_KEY_SERVICE};
use crate::timekeeping::{Timekeeping, Timepiece};

mod data_plane;
mod drives;
mod entering;
#[cfg(test)]
mod failed_drive_tests;

/// Name of the operator's Unix socket beside the data.
pub const SOCKET_FILE: &str = "shoal-admin.sock";
/// Callers that may queue for memory: as many as connections by default.
const MEMORY_WAITERS_MAX: usize = 1_024;
/// Connections of the operator's doors: a dashboard or two, a scraper, a load balancer.
const ADMIN_CONNECTIONS_MAX: usize = 64;
/// From shutdown to the cut of requests in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at drives that became empty.
const EMPTIED_EVERY: Duration = Duration::from_secs(5);
/// Between two looks at certificate files.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(60);
/// Root record (kind 7) of the authority that signs HTTPS certificates, sealed under the label beside it.
pub(crate) const AUTHORITY_SETTING: &[u8] = b"https-authority";
/// The label.
pub(crate) const AUTHORITY_LABEL: &str = "https authority";

/// Why the node does not start. Each says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A kernel computes wrongly.
    #[error(transparent)]
    SelfTest(#[from] codec::self_test::SelfTestError),
    /// No drives of a grid.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Labelled drives, none of which opens.
    #[error("none of this node's drives can be opened:\n{0}")]
    NoDrive(String),
    /// Another process has a drive.
    #[error("{path}: {source}")]
    Locked {
        /// The drive's folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The root key.
    #[error("{0}; without the root key nothing can be read: put a copy there")]
    RootKey(#[from] keyring::KeyringError),
    /// The metadata.
    #[error(transparent)]
    Meta(#[from] meta_store::MetaError),
    /// This is a copy or an old backup.
    #[error(transparent)]
    Incarnation(#[from] IncarnationError),
    /// The door for other nodes.
    #[error(transparent)]
    Link(#[from] GridLinkError),
    /// Root keys of the grid that this node lacks.
    #[error("the root keys: {0}")]
    Keys(#[from] KeeperError),
    /// The metadata was made anew on another member meanwhile.
    #[error("other members have newer metadata, which was restored: this node starts again, and fetches it")]
    Outdated,
    /// The member list.
    #[error("the member list: {0}")]
    Members(#[from] RegistryFailure),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] http_server::ServeError),
    /// A certificate of the operator.
    #[error(transparent)]
    Tls(#[from] http_server::TlsError),
    /// A certificate of our own.
    #[error(transparent)]
    Certificate(#[from] crate::certificate::CertificateError),
    /// The access log.
    #[error("the access log cannot be opened: {0}")]
    AccessLog(std::io::Error),
    /// Threads.
    #[error("threads cannot be started: {0}")]
    Threads(std::io::Error),
    /// A task broke off.
    #[error("starting broke off: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl StartError {
    /// The others may end it: a majority that is missing, or slow; a key that nobody who answers has.
    fn is_for_now(&self) -> bool {
        match self {
            Self::Meta(error)
            | Self::Incarnation(IncarnationError::Meta(error))
            | Self::Members(RegistryFailure::Meta(error))
            | Self::Keys(KeeperError::Meta(error) | KeeperError::Members(RegistryFailure::Meta(error))) => {
                matches!(error, MetaError::Unavailable { .. })
            }
            Self::Keys(KeeperError::NotTold { .. }) => true,
            _ => false,
        }
    }
}

/// A node that serves.
pub struct Node {
    s3: HttpServer,
    admin: HttpServer,
    admin_socket: HttpServer,
    meta: MetaStore,
    watch: Arc<DriveWatch>,
    time: Arc<Timekeeping>,
    store: ChunkStore,
    link: Arc<GridLink>,
    following: Following,
    repair: Arc<Repair>,
    emptied: tokio::task::JoinHandle<()>,
    certificates: tokio::task::JoinHandle<()>,
    keeping: tokio::task::JoinHandle<()>,
    stop_backups: tokio::sync::watch::Sender<bool>,
    admin_node: Arc<AdminNode>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The certificate to trust, where this node made its own.
    pub authority: Option<PathBuf>,
    s3_tls: bool,
    admin_tls: bool,
    /// Last, for the rest of this runs on it.
    _data_plane: DataPlane,
}

impl Node {
    /// Starts everything; serves when it returns.
    pub async fn start(
        config: &Config,
        host_clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StartError> {
        let started = host_clock.since_boot();
        codec::self_test::run()?;

        let folders = config.drives.clone();
        let found = tokio::task::spawn_blocking(move || discover(&folders)).await??;
        let Discovered { identity, drives, mut problems, mut warnings } = found;
        for problem in &problems {
            tracing::warn!(path = %problem.path.display(), reason = problem.reason, "a folder is not in service");
        }
        let timepiece = Timepiece::read(&config.clock, host_clock, &drives).await?;
        let clock = timepiece.clock();
        let drive_config = DriveConfig::default();
        let InService { locks, opened, failed } =
            take_into_service(&drives, &clock, &drive_config, &mut problems, &mut warnings).await?;
        let state_folder = state_folder(&drives, &opened, &problems)?;

        let root_key = root_keys::load(config, &drives)?;

        let data_plane = DataPlane::start().map_err(StartError::Threads)?;
        let data = data_plane.handle();
        let link = Arc::new(
            GridLink::open(LinkStart {
                bulk_runtime: data.clone(),
                identity: &identity,
                listen: config.rpc.listen,
                advertise: &config.rpc.advertise,
                disks: opened.iter().map(Drive::disk).collect(),
                discovery: DiscoveryConfig {
                    multicast: config.rpc.multicast,
                    interfaces: if config.rpc.interfaces.is_empty() {
                        multicast_of(config.rpc.listen)
                    } else {
                        Interfaces::Named(config.rpc.interfaces.clone())
                    },
                    peers: config.rpc.peers.clone(),
                    ..DiscoveryConfig::default()
                },
                s3_port: config.s3.listen.port(),
                clock: clock.clone(),
            })
            .await?,
        );
        let time = Arc::new(timepiece.start(identity.node, &link, random.clone()));
        if let Some(address) = link.find_double().await {
            return Err(IncarnationError::Running(address).into());
        }
        let meta = open_metadata(&link, &opened, &failed, &clock, &random).await?;
        meta.serve(link.services());
        let registry = GridRegistry::new(meta.clone(), root_key.clone(), clock.clone(), random.clone());
        let store = ChunkStore::new(opened.clone());
        let keeper = Arc::new(KeyKeeper::new(KeeperParts {
            me: identity.node,
            keys: root_key.clone(),
            places: KeyPlaces::new(config.key_file.clone(), store.clone()),
            meta: meta.clone(),
            registry: registry.clone(),
            link: link.clone(),
            clock: clock.clone(),
            random: random.clone(),
        }));
        link.services().add(ROOT_KEY_SERVICE, Arc::new(keeper.service()));
        // Whatever the start asks of the metadata is asked here, before a door opens or a drive is watched.
        let entered = async {
            let identity = enter_grid(&link, &meta, &registry, identity, &opened, &*clock, &*random).await?;
            catch_up_with_keys(&keeper, &meta, &link).await?;
            let watched = patiently(&link, &meta, async || {
                watched_drives(&meta, &identity, &drives, &store, &problems, &*clock).await
            });
            let watched = watched.await?;
            if [config.s3.tls, config.admin.tls].contains(&TlsMode::Generated) {
                let share = async || share_authority(&meta, &root_key, &*random, &state_folder).await;
                patiently(&link, &meta, share).await?;
            }
            let operator_key = patiently(&link, &meta, async || stored_operator_key(&meta).await).await?;
            Ok((identity, watched, operator_key))
        };
        let entered: Result<_, StartError> = entered.await;
        let (identity, watched, operator_key) = match entered {
            Ok(entered) => entered,
            Err(error) => {
                meta.shutdown().await;
                return Err(error);
            }
        };
        tracing::info!(grid = %identity.grid, node = %identity.node, incarnation = identity.incarnation, "this node");

        time.follow(meta.clone(), store.clone());
        let grid = GridView::default();
        let picture = Arc::new(Picture::new(grid.clone()));
        if config.drives_are_domains {
            warnings.retain(|warning| !warning.contains("one failure domain"));
            warnings.push(
                "drives_are_domains: every folder counts as a failure domain, although folders of one file system are \
                 lost together"
                    .to_owned(),
            );
        }
        let watch = Arc::new(DriveWatch::start(
            WatchStart {
                store: store.clone(),
                grid: picture.clone(),
                meta: meta.clone(),
                clock: clock.clone(),
                random: random.clone(),
                identity: identity.clone(),
                drives: watched,
                locks,
                folders: config.drives.clone(),
                problems: problems
                    .into_iter()
                    .filter(|problem| problem.state == DriveState::Foreign)
                    .collect(),
                root_key_beside_data: config.key_file.is_none().then(|| root_key.clone()),
            },
            WatchConfig {
                drives_are_domains: config.drives_are_domains,
                all_have_aes: codec::cpu_has_aes(),
                drive: drive_config,
                ..WatchConfig::default()
            },
        ));

        let following = link
            .clone()
            .follow(Followed {
                meta: meta.clone(),
                registry: registry.clone(),
                picture,
                store: store.clone(),
                clock: clock.clone(),
                random: random.clone(),
                incarnation: identity.incarnation,
            })
            .await;
        let joining = link.open_doors(&registry, clock.clone(), random.clone());

        let budget = MemoryBudget::new("requests", config.memory.0, MEMORY_WAITERS_MAX);
        let accept_degraded = config.degraded_writes == DegradedWrites::Accept;
        link.services()
            .add(CHUNK_SERVICE, Arc::new(ChunkService::new(store.clone(), ChunkServiceConfig::default())));
        let segments = SegmentStore::spread(
            identity.node,
            link.network(),
            store.clone(),
            grid.clone(),
            random.clone(),
            budget.clone(),
            SegmentConfig { cipher_override: config.cipher.0, accept_degraded, ..SegmentConfig::default() },
        );
        let load = budget.clone();
        let leader = meta.clone();
        let context = RepairContext::new(
            store.clone(),
            segments.clone(),
            Arc::new(meta.clone()),
            clock.clone(),
            random.clone(),
            move || 1.0 - load.available() as f64 / load.total().max(1) as f64,
            RepairConfig::default(),
        );
        let (standard, classes) = (config.profile.0, config.storage_classes.clone());
        let choice_of = move |class: &str| match class {
            STANDARD => Some(standard),
            other => classes.get(other).map(|profile| profile.0),
        };
        // Backups name their segments by id, on the drives.
        let spared: Vec<BucketName> = INTERNAL_BUCKET.parse().into_iter().collect();
        let context = context.led_by(move |shard| leader.leads(shard)).with_choices(choice_of, spared);
        let repair = {
            let _in_data = data.enter();
            Arc::new(Repair::start(context))
        };
        let emptied = tokio::spawn(retire_emptied(repair.clone(), watch.clone(), meta.clone(), link.clone()));
        let engine = ObjectEngine::new(
            meta.clone(),
            segments.clone(),
            root_key.clone(),
            clock.clone(),
            random.clone(),
            engine_config(config),
        );
        let backup = MetadataBackup::start(engine.clone(), store.clone(), BackupConfig::default()).await;
        let backup = Arc::new(backup);
        let (stop_backups, backups_stopped) = tokio::sync::watch::channel(false);
        data.spawn(backup.clone().run(backups_stopped));
        keeper.backed_up_by(backup.clone());
        let keeping = tokio::spawn(keeper.clone().run());
        let iam = Iam::new(meta.clone(), root_key.clone(), clock.clone(), random.clone());

        let metrics = Arc::new(Metrics::new());
        let access_log = AccessLog::open(&config.log.access, clock.clone()).map_err(StartError::AccessLog)?;
        let observer = |door: &'static str| {
            Observer::new(Arc::new(Observers {
                door,
                metrics: metrics.observer(door),
                log: access_log.clone(),
            }))
        };
        let refuses_unproven = config.clock.unproven == UnprovenTime::Refuse;
        let front = S3Front::new(
            engine.clone(),
            iam.clone(),
            clock.clone(),
            S3Config {
                region: config.s3.region.clone(),
                host_suffixes: config.s3.host_suffixes.clone(),
                signature_v2: config.s3.signature_v2,
                refuse_unproven_time: refuses_unproven,
                host_id: identity.node.to_string(),
                ..S3Config::default()
            },
        );
        let mut authority = None;
        let wildcard_names: Vec<String> = config
            .s3
            .host_suffixes
            .iter()
            .flat_map(|suffix| [suffix.clone(), format!("*.{suffix}")])
            .collect();
        let s3_files = config.s3.certificate.as_deref().zip(config.s3.certificate_key.as_deref());
        let s3_tls = tls_of(config.s3.tls, s3_files, &state_folder, wildcard_names, &mut authority).await?;
        let admin_files = config.admin.certificate.as_deref().zip(config.admin.certificate_key.as_deref());
        let admin_tls =
            tls_of(config.admin.tls, admin_files, &state_folder, Vec::new(), &mut authority).await?;
        let doors = [(config.s3.tls, &s3_tls), (config.admin.tls, &admin_tls)];
        let from_files = doors.into_iter().filter(|(mode, _)| *mode == TlsMode::Files);
        let followed = from_files.filter_map(|(_, identity)| identity.clone()).collect();
        let certificates = tokio::spawn(crate::certificate::follow_files(followed, CERTIFICATES_EVERY));
        let tls_used = (s3_tls.is_some(), admin_tls.is_some());
        hear_others(&following).await;
        let s3_http = HttpConfig {
            connections_max: config.s3.connections_max,
            drain_timeout: DRAIN_TIMEOUT,
            observer: observer("s3"),
            ..HttpConfig::default()
        };
        let admin_http = HttpConfig {
            connections_max: ADMIN_CONNECTIONS_MAX,
            drain_timeout: DRAIN_TIMEOUT,
            observer: observer("admin"),
            ..HttpConfig::default()
        };
        let binding = HttpServer::bind(config.s3.listen, s3_tls, s3_http, Arc::new(front));
        let s3 = data.spawn(binding).await??;

        let admin_node = Arc::new(AdminNode::new(AdminNodeParts {
            identity,
            meta: meta.clone(),
            link: link.clone(),
            joining,
            gossip: following.gossip().clone(),
            registry,
            store: store.clone(),
            time: time.clone(),
            refuses_unproven,
            grid,
            watch: watch.clone(),
            repair: repair.clone(),
            backup,
            engine,
            root_keys: root_key,
            keeper,
            iam,
            budget,
            access_log,
            clock,
            random,
            started,
            region: config.s3.region.clone(),
            profile: config.profile.0,
            accept_degraded,
            warnings: warnings.clone(),
        }));
        let api = Arc::new(AdminApi::new(admin_node.clone(), metrics, operator_key));
        let door = |trust| Arc::new(AdminDoor { api: api.clone(), trust });
        let admin =
            HttpServer::bind(config.admin.listen, admin_tls, admin_http.clone(), door(Trust::OperatorKey))
                .await?;
        let socket = config.socket.clone().unwrap_or_else(|| state_folder.join(SOCKET_FILE));
        let admin_socket = HttpServer::bind_unix(&socket, admin_http, door(Trust::Local)).await?;

        let node = Self {
            s3,
            admin,
            admin_socket,
            meta,
            watch,
            time,
            store,
            link,
            following,
            repair,
            emptied,
            certificates,
            keeping,
            stop_backups,
            admin_node,
            warnings,
            authority,
            s3_tls: tls_used.0,
            admin_tls: tls_used.1,
            _data_plane: data_plane,
        };
        node.admin_node.set_doors(OpenDoors {
            s3_url: node.s3_url(),
            admin_url: node.admin_url(),
            s3: node.s3.connection_count(),
            admin: node.admin.connection_count(),
        });
        tracing::info!(s3 = node.s3_url(), admin = node.admin_url(), socket = %socket.display(), "serving");
        Ok(node)
    }

    /// The S3 endpoint as a client would name it.
    pub fn s3_url(&self) -> String {
        url(self.s3.address(), self.s3_tls)
    }

    /// The operator's endpoint as a client would name it.
    pub fn admin_url(&self) -> String {
        url(self.admin.address(), self.admin_tls)
    }

    /// Waits until another member has metadata of a newer generation: it was restored there. This node is to start again. Safe
    /// to drop.
    pub async fn outdated(&self) {
        self.meta.peers().outdated().await;
    }

    /// Stops accepting, lets requests in flight end, stops the layers from the top down.
    pub async fn shutdown(self) {
        tracing::info!("stopping: requests in flight may end");
        tokio::join!(self.s3.shutdown(), self.admin.shutdown(), self.admin_socket.shutdown());
        self.emptied.abort();
        self.certificates.abort();
        self.keeping.abort();
        self.stop_backups.send_replace(true);
        self.repair.shutdown().await;
        self.watch.stop();
        self.time.stop(&self.store).await;
        self.following.shutdown().await;
        self.meta.shutdown().await;
        self.link.shutdown().await;
        tracing::info!("stopped");
    }
}

/// Drives that repair found empty after an order to leave, leave.
async fn retire_emptied(repair: Arc<Repair>, watch: Arc<DriveWatch>, meta: MetaStore, link: Arc<GridLink>) {
    loop {
        tokio::time::sleep(EMPTIED_EVERY).await;
        for id in repair.take_emptied() {
            if watch.drives().iter().all(|drive| drive.id != id) {
                if let Err(error) = forget_drive_of_removed(&meta, &link, id).await {
                    tracing::warn!(drive = %id, %error, "the record of a removed node's drive stays for now");
                }
                continue;
            }
            if let Err(error) = watch.order(DriveOrder::Emptied { id }).await {
                tracing::warn!(drive = %id, error = error.message, "an empty drive could not leave");
            }
        }
    }
}

/// Drives of other members leave by their own node's word; those of removed nodes have nobody else to speak for them.
async fn forget_drive_of_removed(meta: &MetaStore, link: &GridLink, id: DriveId) -> Result<(), MetaError> {
    let Some(list) = link.members().list() else { return Ok(()) };
    let key = id.as_bytes().to_vec();
    let Some(record) = meta.record(RecordKind::Drive, &key).await? else { return Ok(()) };
    let Ok(stored) = records::decode::<DriveRecord>("drive", &record.value) else { return Ok(()) };
    if list.list().member(stored.node).is_some() {
        return Ok(());
    }
    tracing::info!(drive = %id, node = %stored.node, "nothing names the drive of a removed node any more");
    let expect = Expect::Generation(record.generation);
    meta.write_records(vec![RecordWrite { kind: RecordKind::Drive, key, expect, value: None }]).await
}

fn url(address: Option<SocketAddr>, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    match address {
        Some(address) if address.ip().is_unspecified() => {
            let own = membership::usable_addresses().into_iter().next();
            let ip = own.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
            format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
        }
        Some(address) => format!("{scheme}://{address}"),
        None => String::new(),
    }
}

/// What people call this host; nothing rests on it.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|letter| !letter.is_control()).take(membership::NAME_BYTES_MAX / 4).collect()
}

fn engine_config(config: &Config) -> EngineConfig {
    EngineConfig {
        profile: config.profile.0,
        storage_classes: config
            .storage_classes
            .iter()
            .map(|(name, profile)| (name.clone(), profile.0))
            .collect(),
        inline_bytes_max: config.inline_bytes_max.0,
        ..EngineConfig::default()
    }
}

async fn tls_of(
    mode: TlsMode,
    files: Option<(&Path, &Path)>,
    state_folder: &Path,
    names: Vec<String>,
    authority: &mut Option<PathBuf>,
) -> Result<Option<TlsIdentity>, StartError> {
    match (mode, files) {
        (TlsMode::Files, Some((certificate, key))) => Ok(Some(TlsIdentity::load(certificate, key)?)),
        // The configuration was checked: files are there where they are wanted.
        (TlsMode::Off | TlsMode::Files, _) => Ok(None),
        (TlsMode::Generated, _) => {
            let state = state_folder.to_owned();
            let made = tokio::task::spawn_blocking(move || crate::certificate::generate(&state, &names));
            let (identity, path) = made.await??;
            *authority = Some(path);
            Ok(Some(identity))
        }
    }
}

/// All nodes of a grid serve certificates of one authority: the root shard keeps it, sealed with the root key. The first node
/// that makes certificates gives it its own.
async fn share_authority(
    meta: &MetaStore,
    root_key: &RootKeys,
    random: &dyn Random,
    state_folder: &Path,
) -> Result<(), StartError> {
    loop {
        let state = state_folder.to_owned();
        if let Some(record) = meta.record(RecordKind::Setting, AUTHORITY_SETTING).await? {
            let opened = root_key.open_value(AUTHORITY_LABEL, &SealedValue(record.value))?;
            let authority: Authority = serde_json::from_slice(&opened).map_err(RegistryFailure::from)?;
            return Ok(tokio::task::spawn_blocking(move || authority.write(&state)).await??);
        }
        let own = tokio::task::spawn_blocking(move || Authority::read_or_make(&state)).await??;
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(&own).map_err(RegistryFailure::from)?);
        let SealedValue(sealed) = root_key.seal_value(AUTHORITY_LABEL, &plain, random);
        let written = meta.write_records(vec![RecordWrite {
            kind: RecordKind::Setting,
            key: AUTHORITY_SETTING.to_vec(),
            expect: Expect::Absent,
            value: Some(sealed),
        }]);
        match written.await {
            Err(error) if error.code() == grid_types::ErrorCode::Conflict => {}
            written => return Ok(written?),
        }
    }
}

async fn stored_operator_key(meta: &MetaStore) -> Result<Option<OperatorKeyHash>, StartError> {
    let record = meta.record(RecordKind::Setting, OPERATOR_KEY_SETTING).await?;
    let hash = record.and_then(|record| operator_key_hash(&record.value));
    if hash.is_none() {
        tracing::warn!("there is no operator key: the admin port refuses everything but /health");
    }
    Ok(hash)
}

//! The running part: the door for other nodes, gossip, and what follows from both: who is a member, where members are,
//! which drives there are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chunk_store::ChunkStore;
use grid_types::{
    DriveId, DriveSnapshot, DriveState, ErrorCode, FailureDomain, GridSnapshot, NodeId, Score, ShardId,
    Timestamp,
};
use membership::{
    Announcement, Discovery, DiscoveryConfig, Gossip, GossipConfig, GridView, Interfaces, JoinService,
    Liveness, MemberList, NewMember, NodeState, Presence, Registry, SignedList, merge, usable_addresses,
};
use meta_store::root::{Record, RecordKind};
use meta_store::{FOUNDER, MetaMember, MetaPeers, MetaStore};
use rpc::{
    BindError, Method, NetworkExt, NodeKey, NodeKeyError, Peers, RpcConfig, RpcServer, Services,
    dial_stranger,
};
use sys::{Clock, Disk, Random};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{GridRegistry, Members, Picture, voters};
use crate::identity::NodeFile;
use crate::records::{self, DriveRecord};

/// Between two looks at what changed, where nothing tells of a change at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two questions to the root shard for the member list, where nobody spoke of a newer one.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at the records of drives.
const RECORDS_EVERY: Duration = Duration::from_secs(30);
/// Drives of a grid that are looked for so.
const DRIVES_MAX: usize = 4_096;
/// Asked of members to see whether they answer this node.
const GOSSIP_STATE: Method = Method::control("/gossip/state");
/// For an answer from where this node was before.
const DOUBLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why other nodes cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum GridLinkError {
    /// The key pair of the node file.
    #[error(transparent)]
    Key(#[from] NodeKeyError),
    /// The port.
    #[error("{0}; name another one as `listen` in [rpc]")]
    Bind(#[from] BindError),
    /// It was a member.
    #[error("this node was removed from its grid: empty its drives' folders to make it a new one")]
    Removed,
}

/// What the link begins with.
pub struct LinkStart<'a> {
    /// Where connections with bodies are served.
    pub bulk_runtime: Handle,
    /// Who this node is.
    pub identity: &'a NodeFile,
    /// Address and port of the door.
    pub listen: SocketAddr,
    /// Where others reach it, if that is not what `listen` says.
    pub advertise: &'a [SocketAddr],
    /// Its drives.
    pub disks: Vec<Arc<dyn Disk>>,
    /// How to be seen by others, and how to see them.
    pub discovery: DiscoveryConfig,
    /// Port of the S3 door.
    pub s3_port: u16,
    /// For what was found.
    pub clock: Arc<dyn Clock>,
}

/// The door for other nodes, and the way to them.
pub struct GridLink {
    me: NodeId,
    key: NodeKey,
    public_key: [u8; rpc::PUBLIC_KEY_BYTES],
    members: Arc<Members>,
    services: Services,
    peers: Arc<Peers>,
    server: RpcServer,
    /// What the owner says of `addresses`.
    advertised: Vec<SocketAddr>,
    /// Where others reach this node.
    addresses: ArcSwap<Vec<SocketAddr>>,
    discovery: Discovery,
    shut_out: AtomicBool,
}

/// What the link follows once the rest of the node is there.
pub struct Followed {
    /// The root shard, and who replicates it.
    pub meta: MetaStore,
    /// Members and tickets.
    pub registry: GridRegistry,
    /// The drives of all nodes: what writes and reads see.
    pub picture: Arc<Picture>,
    /// For copies of the list.
    pub store: ChunkStore,
    /// For periods.
    pub clock: Arc<dyn Clock>,
    /// For gossip.
    pub random: Arc<dyn Random>,
    /// This start.
    pub incarnation: u64,
}

impl GridLink {
    /// Opens the door. Nothing is answered yet.
    pub async fn open(start: LinkStart<'_>) -> Result<Self, GridLinkError> {
        let key = NodeKey::from_pkcs8(&start.identity.key_document())?;
        let members = Arc::new(Members::read(start.identity.grid, &start.disks));
        let me = start.identity.node;
        if members.list().is_some_and(|list| list.list().member(me).is_none()) {
            return Err(GridLinkError::Removed);
        }
        let services = Services::default();
        let config = RpcConfig { bulk_runtime: Some(start.bulk_runtime), ..RpcConfig::default() };
        let server =
            RpcServer::bind(start.listen, &key, members.clone(), services.clone(), config.clone()).await?;
        let public_key = *key.public_key();
        let peers = Arc::new(Peers::new(key.clone(), config).with_local(services.clone()));
        let addresses = reachable(server.address(), start.advertise).into();
        let announcement = Announcement {
            node: me,
            grid: Some(start.identity.grid),
            presence: Presence::Up,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            hardware: std::env::consts::ARCH.to_owned(),
            port: server.address().port(),
            api_port: Some(start.s3_port),
        };
        let discovery = Discovery::start(announcement, start.discovery, start.clock);
        let link = Self {
            me,
            key,
            public_key,
            members,
            services,
            peers,
            server,
            advertised: start.advertise.to_vec(),
            addresses: ArcSwap::new(addresses),
            discovery,
            shut_out: AtomicBool::new(false),
        };
        link.point_at_found(BTreeMap::new());
        Ok(link)
    }

    /// Who belongs to the grid.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// What this node answers to others.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The way to the others.
    pub fn network(&self) -> Arc<dyn rpc::Network> {
        self.peers.clone()
    }

    /// Where others reach this node.
    pub fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    /// A network may come late, or give this host another address. One that went leaves the last ones standing.
    fn look_at_addresses(&self) {
        let now = reachable(self.server.address(), &self.advertised);
        if !now.is_empty() && now != **self.addresses.load() {
            tracing::info!(addresses = ?now, "this node is reached elsewhere");
            self.addresses.store(Arc::new(now));
        }
    }

    /// Where members are reached, this node first: what a ticket tells a joiner.
    pub fn known_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses().to_vec();
        if let Some(list) = self.members.list() {
            let others = list.list().current().filter(|member| member.node != self.me);
            addresses.extend(others.flat_map(|member| member.addresses.clone()));
        }
        addresses
    }

    /// Does the grid have other members, as far as this node knows?
    pub fn has_others(&self) -> bool {
        self.members.list().is_some_and(|list| list.list().current().any(|member| member.node != self.me))
    }

    /// Members refuse this node.
    pub fn is_shut_out(&self) -> bool {
        self.shut_out.load(Ordering::Relaxed)
    }

    /// Where the grid does not answer: finds out whether that is because this node is no member any more.
    pub async fn look_if_shut_out(&self) {
        let Some(list) = self.members.list() else { return };
        for member in list.list().current().filter(|member| member.node != self.me) {
            let asked = self.peers.call(member.node, GOSSIP_STATE, Bytes::new(), DOUBLE_TIMEOUT).await;
            let refused = matches!(&asked, Err(error) if error.code == ErrorCode::AccessDenied);
            if refused && !self.shut_out.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    member = %member.node,
                    "this node is no member of its grid any more: it was removed, or left behind. It serves nothing that needs the \
                     others; on empty folders it can join as a new one"
                );
            }
            if asked.is_ok() {
                self.shut_out.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Where another process answers as this node: a copy of its drives runs there, or this one is the copy.
    pub async fn find_double(&self) -> Option<SocketAddr> {
        let list = self.members.list()?;
        let (listed, here) = (list.list().member(self.me)?.addresses.clone(), self.addresses());
        for address in listed.into_iter().filter(|address| !here.contains(address)) {
            let answered = dial_stranger(address, &self.key, DOUBLE_TIMEOUT).await;
            if answered.is_ok_and(|stranger| stranger.peer() == self.me) {
                return Some(address);
            }
        }
        None
    }

    /// What the list should say of this node, where it says something else.
    pub fn describing_itself(&self) -> Option<NewMember> {
        let list = self.members.list()?;
        let row = list.list().member(self.me)?;
        let (has_aes, addresses) = (codec::cpu_has_aes(), self.addresses());
        let elsewhere = !addresses.is_empty() && row.addresses != *addresses;
        (elsewhere || row.has_aes != has_aes).then(|| NewMember {
            public_key: row.public_key.clone(),
            name: row.name.clone(),
            addresses: addresses.to_vec(),
            has_aes,
            has_drives: row.has_drives,
            added: row.added,
        })
    }

    /// This node as a member of a grid that it founds.
    pub fn founder(&self, name: String, has_aes: bool, added: Timestamp) -> NewMember {
        NewMember {
            public_key: self.public_key.to_vec(),
            name,
            addresses: self.addresses().to_vec(),
            has_aes,
            has_drives: true,
            added,
        }
    }

    /// The members as the metadata sees them before anybody was heard.
    pub fn meta_peers(&self) -> MetaPeers {
        let network = self.network();
        match self.members.list() {
            Some(list) => {
                let number = list.list().member(self.me).map_or(FOUNDER, |member| member.number);
                MetaPeers::new(number, network, voters::unheard(list.list()))
            }
            None => {
                let alone = MetaMember::healthy(FOUNDER, self.me);
                MetaPeers::new(FOUNDER, network, vec![alone])
            }
        }
    }

    /// Tickets are taken, and nodes that want to pair are heard, from now on.
    pub fn open_doors(
        &self,
        registry: &GridRegistry,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Arc<JoinService> {
        JoinService::new(Arc::new(registry.clone()), clock, random, self.public_key).open(&self.services)
    }

    /// As `point_at`, with what discovery has found: also before anything else is known of the grid.
    pub fn point_at_found(&self, mut said: BTreeMap<NodeId, Vec<SocketAddr>>) {
        let Some(list) = self.members.list() else { return };
        for found in self.discovery.found().iter() {
            if let Some(node) = found.node {
                said.entry(node).or_default().extend(&found.addresses);
            }
        }
        self.point_at(list.list(), &said);
    }

    /// Addresses of members: what they say now, then what the list says.
    fn point_at(&self, list: &MemberList, said: &BTreeMap<NodeId, Vec<SocketAddr>>) {
        for member in list.current().filter(|member| member.node != self.me) {
            let mut addresses = said.get(&member.node).cloned().unwrap_or_default();
            addresses.extend(&member.addresses);
            let mut known = std::collections::BTreeSet::new();
            addresses.retain(|address| known.insert(*address));
            self.peers.set_addresses(member.node, addresses);
        }
    }

    /// Begins to follow; what there is now is published before it returns.
    pub async fn follow(self: Arc<Self>, followed: Followed) -> Following {
        let started = followed.clock.now();
        let state = NodeState {
            incarnation: followed.incarnation,
            ..self.own_state(&followed.picture.own(), started)
        };
        let gossip = Arc::new(Gossip::start(
            state,
            self.network(),
            &self.services,
            followed.clock.clone(),
            followed.random.clone(),
            GossipConfig::default(),
        ));
        let (told, recorded_now) = watch::channel(Vec::new());
        let reading = tokio::spawn(read_records(followed.meta.clone(), told));
        let (me, (show, shown)) = (self.me, watch::channel(0));
        let mut follower = Follower {
            link: self,
            followed,
            gossip: gossip.clone(),
            liveness: BTreeMap::new(),
            started,
            published: (0, 0, Arc::default()),
            recorded: Vec::new(),
            recorded_now,
            show,
        };
        if let Some(list) = follower.link.members.list() {
            follower.gossip.set_members(list.list()).await;
        }
        follower.look().await;
        let task = tokio::spawn(follower.run());
        Following { me, gossip, shown, tasks: vec![task, reading] }
    }

    fn own_state(&self, local: &GridSnapshot, started: Timestamp) -> NodeState {
        NodeState {
            addresses: self.addresses().to_vec(),
            member_list_epoch: self.members.list().map_or(0, |list| list.list().epoch),
            drives: local.drives.clone(),
            has_aes: codec::cpu_has_aes(),
            ..NodeState::new(self.me, started)
        }
    }

    /// Says goodbye and closes the door.
    pub async fn shutdown(self: Arc<Self>) {
        self.discovery.shutdown().await;
        if let Some(link) = Arc::into_inner(self) {
            link.server.shutdown().await;
        }
    }
}

/// A link that follows the grid.
pub struct Following {
    me: NodeId,
    gossip: Arc<Gossip>,
    /// The epoch of the gossip that the picture of the drives shows.
    shown: watch::Receiver<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Following {
    /// The grid as this node sees it.
    pub fn gossip(&self) -> &Arc<Gossip> {
        &self.gossip
    }

    /// Until every member was heard or is known to be down, and the picture shows their drives.
    pub async fn hear_all(&self) {
        let heard = |view: &Arc<GridView>| {
            let mut others = view.members.iter().filter(|(node, _)| **node != self.me);
            others.all(|(_, member)| match member.liveness {
                Liveness::Alive => member.state.is_some(),
                Liveness::Suspect => false,
                Liveness::Down => true,
            })
        };
        let (mut view, mut shown) = (self.gossip.changed(), self.shown.clone());
        let epoch = view.wait_for(heard).await.map(|view| view.epoch);
        if let Ok(epoch) = epoch {
            let _ = shown.wait_for(|shown| *shown >= epoch).await;
        }
    }

    /// Says goodbye and stops.
    pub async fn shutdown(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.gossip.shutdown().await;
    }
}

/// Keeps what the root shard has recorded of drives.
async fn read_records(meta: MetaStore, told: watch::Sender<Vec<DriveSnapshot>>) {
    loop {
        match meta.records(RecordKind::Drive, None, DRIVES_MAX).await {
            Ok(page) => drop(told.send_replace(page.iter().filter_map(unheard).collect())),
            Err(error) => tracing::debug!(%error, "the records of drives cannot be read now"),
        }
        tokio::time::sleep(RECORDS_EVERY).await;
    }
}

struct Follower {
    link: Arc<GridLink>,
    followed: Followed,
    gossip: Arc<Gossip>,
    /// As last told in the log.
    liveness: BTreeMap<NodeId, Liveness>,
    started: Timestamp,
    /// Epochs of the local snapshot and of the list that were last told to others, and the addresses.
    published: (u64, u64, Arc<Vec<SocketAddr>>),
    /// Drives by the records of the root shard.
    recorded: Vec<DriveSnapshot>,
    recorded_now: watch::Receiver<Vec<DriveSnapshot>>,
    /// See `Following::shown`.
    show: watch::Sender<u64>,
}

impl Follower {
    async fn run(mut self) {
        let mut lists = self.followed.registry.changed();
        let mut view = self.gossip.changed();
        let mut asked = tokio::time::Instant::now();
        let asking = tokio::sync::Semaphore::new(1);
        let asking = Arc::new(asking);
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                changed = lists.changed() => if changed.is_err() { return },
                changed = view.changed() => if changed.is_err() { return },
            }
            let newest = lists.borrow_and_update().clone();
            if let Some(list) = newest {
                self.adopt(list).await;
            }
            self.look().await;
            if (self.others_know_more() || asked.elapsed() >= LIST_EVERY)
                && let Ok(permit) = asking.clone().try_acquire_owned()
            {
                asked = tokio::time::Instant::now();
                self.link.look_at_addresses();
                let (registry, link) = (self.followed.registry.clone(), self.link.clone());
                tokio::spawn(async move {
                    if let Err(error) = registry.current().await {
                        tracing::debug!(%error, "the member list cannot be read now");
                        link.look_if_shut_out().await;
                    } else if let Some(now) = link.describing_itself()
                        && let Err(error) = registry.describe(now).await
                    {
                        tracing::debug!(%error, "the member list does not say yet where this node is");
                    }
                    // Not at once again, whatever the answer was.
                    tokio::time::sleep(LOOK_EVERY).await;
                    drop(permit);
                });
            }
        }
    }

    fn others_know_more(&self) -> bool {
        let known = self.link.members.list().map_or(0, |list| list.list().epoch);
        let view = self.gossip.view();
        view.members
            .values()
            .filter_map(|member| member.state.as_ref())
            .any(|state| state.member_list_epoch > known)
    }

    async fn adopt(&mut self, list: SignedList) {
        if !self.link.members.replace(list) {
            return;
        }
        let Some(list) = self.link.members.list() else { return };
        tracing::info!(epoch = list.list().epoch, members = list.list().current().count(), "member list");
        let disks: Vec<Arc<dyn Disk>> =
            self.followed.store.drives().into_iter().map(|drive| drive.disk()).collect();
        let members = self.link.members.clone();
        let written = tokio::task::spawn_blocking(move || members.write(&disks)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(%error, "a drive does not take the member list");
        }
        self.gossip.set_members(list.list()).await;
        self.link.server.close_strangers();
        for member in &list.list().members {
            if member.removed.is_some() {
                self.link.server.revoke(member.node);
                self.link.peers.forget(member.node);
            }
        }
    }

    /// Tells others what is new here, and takes over what they told.
    async fn look(&mut self) {
        if self.recorded_now.has_changed().unwrap_or(false) {
            self.recorded.clone_from(&self.recorded_now.borrow_and_update());
        }
        let Some(list) = self.link.members.list() else { return };
        let (list, local, view) = (list.list(), self.followed.picture.own(), self.gossip.view());
        let news = (local.epoch, list.epoch, self.link.addresses());
        if self.published != news {
            self.published = news;
            self.gossip.publish(self.link.own_state(&local, self.started)).await;
        }
        let said = view
            .members
            .iter()
            .filter_map(|(node, member)| Some((*node, member.state.as_ref()?.addresses.clone())));
        self.link.point_at_found(said.collect());
        for (node, member) in view.members.iter().filter(|(node, _)| **node != self.link.me) {
            if self.liveness.insert(*node, member.liveness) != Some(member.liveness) {
                tracing::info!(%node, state = ?member.liveness, "member");
            }
        }
        let now = self.followed.clock.since_boot();
        let me = self.link.me;
        let members = voters::heard(list, me, &view, now);
        // Who leads the root shard answers `shoal.local` for all: there is one, and it moves when it dies.
        let mut reachable = Vec::new();
        if self.followed.meta.leads(ShardId::ROOT) {
            let living =
                members.iter().filter(|member| member.alive).filter_map(|member| list.member(member.node));
            reachable = living.flat_map(|member| &member.addresses).map(SocketAddr::ip).collect();
        }
        self.followed.meta.peers().set_members(members);
        self.link.discovery.answer_grid_name(reachable);
        let nobody = GridSnapshot { all_have_aes: true, ..GridSnapshot::default() };
        let mut others = merge(list, &view, me, &nobody);
        for drive in self.recorded.iter().filter(|drive| drive.node != me) {
            if others.drive(drive.id).is_some() {
                continue;
            }
            let mut drive = drive.clone();
            if list.member(drive.node).is_none() {
                // Its node was removed: what it held is made anew elsewhere, and nobody counts on it.
                drive.state = DriveState::Draining;
            }
            others.drives.push(drive);
        }
        self.followed.picture.set_others(others.drives, others.all_have_aes);
        self.show.send_replace(view.epoch);
    }
}

/// A drive that the grid knows and nobody has told of since this node started: it counts as a domain, and holds what is
/// not readable now.
fn unheard(record: &Record) -> Option<DriveSnapshot> {
    let stored = records::decode::<DriveRecord>("drive", &record.value).ok()?;
    let id = DriveId::from_bytes(record.key.as_slice().try_into().ok()?);
    Some(DriveSnapshot {
        id,
        node: stored.node,
        file_system: FailureDomain(format!("drive {id}")),
        state: DriveState::Suspect,
        read_score: Score::LOCKED,
        write_score: Score::LOCKED,
        total_bytes: 0,
        free_bytes: 0,
    })
}

/// Where to be seen with a door that listens there: who is on this host alone shows itself to this host alone.
pub fn multicast_of(listening: SocketAddr) -> Interfaces {
    if listening.ip().is_loopback() { Interfaces::Named(vec!["lo".to_owned()]) } else { Interfaces::Usable }
}

/// Where others reach a door that listens there.
pub fn reachable(listening: SocketAddr, advertise: &[SocketAddr]) -> Vec<SocketAddr> {
    if !advertise.is_empty() {
        return advertise.to_vec();
    }
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    usable_addresses().into_iter().map(|ip| SocketAddr::new(ip, listening.port())).collect()
}

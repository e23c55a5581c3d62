//! Several nodes in one process, joined by a network that a test can cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use grid_types::{NodeId, ShardId};
use parking_lot::Mutex;
use rpc::memory::MemoryNet;
use rpc::{Body, Method, Network, RpcError, Services};
use sys::{FaultDisk, RealClock, RealRandom};

use super::fixture::{Folders, bucket, put_inline, simulated_home};
use crate::home::HomeDrive;
use crate::query::ListQuery;
use crate::{MetaConfig, MetaMember, MetaPeers, MetaStore};

/// How often each method was called.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Calls {
    fn counted(&self, network: Arc<dyn Network>) -> Arc<dyn Network> {
        Arc::new(Counted { network, calls: self.clone() })
    }

    pub(super) fn of(&self, method: &str) -> u64 {
        self.0.lock().get(method).copied().unwrap_or(0)
    }
}

struct Counted {
    network: Arc<dyn Network>,
    calls: Calls,
}

impl Network for Counted {
    fn send(
        &self,
        to: NodeId,
        method: Method,
        body: Body,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        *self.calls.0.lock().entry(method.path).or_default() += 1;
        self.network.send(to, method, body, deadline)
    }
}

/// How long a grid may take to come to what a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct GridNode {
    pub number: u64,
    pub folders: Folders,
    /// In place of the folders.
    pub disk: Option<FaultDisk>,
    pub store: MetaStore,
}

impl GridNode {
    pub(super) fn home(&self) -> Vec<HomeDrive> {
        self.disk.as_ref().map_or_else(|| self.folders.home(), simulated_home)
    }
}

/// A grid whose nodes live in this process.
pub(super) struct Grid {
    pub net: MemoryNet,
    pub config: MetaConfig,
    pub members: Vec<MetaMember>,
    pub nodes: Vec<GridNode>,
    /// Calls between nodes, by method.
    pub calls: Calls,
}

pub(super) fn id(number: u64) -> NodeId {
    NodeId::from_bytes([number as u8; 16])
}

impl Grid {
    pub(super) async fn found(config: MetaConfig) -> Self {
        Self::found_on(None, config).await
    }

    /// The founder's home is a simulated disk, where one is given.
    async fn found_on(disk: Option<FaultDisk>, config: MetaConfig) -> Self {
        let mut grid = Self {
            net: MemoryNet::default(),
            config,
            members: Vec::new(),
            nodes: Vec::new(),
            calls: Calls::default(),
        };
        grid.add_on(disk, true).await;
        grid
    }

    pub(super) async fn of(nodes: usize, config: MetaConfig) -> Self {
        Self::of_nodes(nodes, None, config).await
    }

    /// As `of`; the first node, which leads, has a simulated disk.
    pub(super) async fn led_from(disk: FaultDisk, nodes: usize, config: MetaConfig) -> Self {
        Self::of_nodes(nodes, Some(disk), config).await
    }

    async fn of_nodes(nodes: usize, disk: Option<FaultDisk>, config: MetaConfig) -> Self {
        let mut grid = Self::found_on(disk, config).await;
        for _ in 1..nodes {
            grid.add(false).await;
        }
        grid.until_voters(ShardId(1), crate::group::voters_wanted(nodes)).await;
        grid.until_voters(ShardId::ROOT, crate::group::voters_wanted(nodes)).await;
        grid
    }

    /// A grid of three with a hundred objects in at least so many shards.
    pub(super) async fn of_many_shards(shards: usize, config: MetaConfig) -> Self {
        let grid = Self::of(3, config).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        for number in 0..100u64 {
            let op = grid.store(1).new_op();
            grid.store(1)
                .commit(op, put_inline(&photos, &format!("{number:03}"), number, b"x"))
                .await
                .unwrap();
        }
        while grid.store(1).shards().len() < shards {
            for shard in grid.store(1).shards() {
                until(|| grid.leader(shard).is_some()).await;
                let Some(leader) = grid.leader(shard) else { continue };
                grid.store(leader).split_shard(shard).await.unwrap();
            }
        }
        let settled = |store: &MetaStore| store.shards().len() >= shards && store.ready() == Ok(());
        until(|| grid.nodes.iter().all(|node| settled(&node.store))).await;
        grid
    }

    pub(super) async fn add(&mut self, founder: bool) {
        self.add_on(None, founder).await;
    }

    async fn add_on(&mut self, disk: Option<FaultDisk>, founder: bool) {
        let number = self.nodes.len() as u64 + 1;
        self.members.push(MetaMember::healthy(number, id(number)));
        self.tell();
        let folders = Folders::new(1);
        let services = Services::default();
        let network = self.calls.counted(self.net.join(id(number), services.clone()));
        let peers = MetaPeers::new(number, network, self.members.clone());
        let home = disk.as_ref().map_or_else(|| folders.home(), simulated_home);
        let config = self.config.clone();
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let store = if founder {
            MetaStore::found_among(home, config, clock, random, peers).await.unwrap()
        } else {
            MetaStore::join(home, config, clock, random, peers).await.unwrap()
        };
        store.serve(&services);
        self.nodes.push(GridNode { number, folders, disk, store });
    }

    pub(super) fn tell(&self) {
        for node in &self.nodes {
            node.store.peers().set_members(self.members.clone());
        }
    }

    pub(super) fn store(&self, number: u64) -> &MetaStore {
        &self.nodes.iter().find(|node| node.number == number).unwrap().store
    }

    /// Nobody hears of the node any more, and the others are told so.
    pub(super) async fn kill(&mut self, number: u64) {
        self.net.leave(id(number));
        self.store(number).shutdown().await;
        self.mark(number, false);
    }

    pub(super) fn mark(&mut self, number: u64, alive: bool) {
        self.change(number, |member| member.alive = alive);
    }

    /// All are told something new of a member.
    pub(super) fn change(&mut self, number: u64, change: impl Fn(&mut MetaMember)) {
        self.members.iter_mut().filter(|member| member.number == number).for_each(change);
        self.tell();
    }

    pub(super) async fn restart(&mut self, number: u64) {
        self.mark(number, true);
        let services = Services::default();
        let network = self.calls.counted(self.net.join(id(number), services.clone()));
        let peers = MetaPeers::new(number, network, self.members.clone());
        let node = self.nodes.iter_mut().find(|node| node.number == number).unwrap();
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let opened = MetaStore::open_among(node.home(), self.config.clone(), clock, random, peers);
        node.store = opened.await.unwrap();
        node.store.serve(&services);
    }

    pub(super) fn leader(&self, shard: ShardId) -> Option<u64> {
        self.nodes.iter().find(|node| node.store.leads(shard)).map(|node| node.number)
    }

    pub(super) async fn until_voters(&self, shard: ShardId, count: usize) {
        until(|| {
            let voters = self.nodes.iter().filter_map(|node| {
                let group = node.store.inner.groups.read().get(&shard).cloned()?;
                group.leads().then(|| group.voters().ok()).flatten()
            });
            let voters: Vec<BTreeSet<u64>> = voters.collect();
            voters.len() == 1 && voters[0].len() == count
        })
        .await;
    }

    pub(super) async fn shutdown(self) {
        for node in &self.nodes {
            node.store.shutdown().await;
        }
    }
}

pub(super) async fn until(mut happened: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !happened() {
        assert!(tokio::time::Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn keys(store: &MetaStore, bucket: grid_types::BucketId) -> Vec<String> {
    let page = store.list(bucket, ListQuery { limit: 1_000, ..ListQuery::default() }).await.unwrap();
    assert!(!page.truncated);
    page.entries.iter().map(|entry| entry.text().to_owned()).collect()
}

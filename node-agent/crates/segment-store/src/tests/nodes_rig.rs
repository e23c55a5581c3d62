//! Several nodes, each with drives and a segment store of its own, over a network within the process, with faults that
//! a real network has in the middle of a stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::{ChunkStore, Drive, DriveConfig, DriveLabel, label};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use grid_types::{
    BucketId, DriveId, DriveSnapshot, DriveState, FailureDomain, GridId, GridSnapshot, MemoryBudget, NodeId,
    ObjectKey, ProfileChoice, Score, Segment, SegmentOwner, Timestamp, VersionId,
};
use keyring::{BucketKey, RootKey};
use parking_lot::Mutex;
use rpc::memory::MemoryNet;
use rpc::{Body, Method, Network, RpcError, Services};
use sys::{PowerSupply, RealClock, SeededRandom};

use super::peers::Lie;
use super::rig::{BUDGET, GatedDisk, patient};
use crate::format::SegmentIdentity;
use crate::remote::CHUNK_SERVICE;
use crate::{
    ChunkService, ChunkServiceConfig, GridView, RemoteConfig, SegmentConfig, SegmentError, SegmentSpec,
    SegmentStore,
};

/// What a link does to streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request breaks off after so many bytes.
    BreakRequest(usize),
    /// The request stands still after so many bytes.
    StallRequest(usize),
    /// A bit of each large piece of the request flips.
    SpoilRequest,
    /// A bit of each large piece of the answer flips.
    SpoilAnswer,
    /// What the answer says after its first piece is lost, once the peer has said it.
    LoseEnd,
    /// Nobody takes the call.
    Refuse,
    /// The answer stands still after so many bytes.
    StallAnswer(usize),
    /// Each piece of request and answer takes so long.
    Slow(Duration),
    /// The peer says what is not so.
    Lie(Lie),
}

/// Faults by the node that is called.
pub(super) type Faults = Arc<Mutex<BTreeMap<NodeId, Fault>>>;

struct FaultyNet {
    inner: Arc<dyn Network>,
    faults: Faults,
}

fn spoil(piece: Bytes) -> Bytes {
    if piece.len() < 512 {
        return piece;
    }
    let mut spoilt = piece.to_vec();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 4;
    spoilt.into()
}

fn stalled(body: Body, after: usize) -> Body {
    let mut passed = 0;
    let pieces = body.then(move |piece| {
        passed += piece.as_ref().map_or(0, Bytes::len);
        async move {
            if passed > after {
                std::future::pending::<()>().await;
            }
            piece
        }
    });
    pieces.boxed()
}

fn slow(body: Body, pause: Duration) -> Body {
    let pieces = body.then(move |piece| async move {
        tokio::time::sleep(pause).await;
        piece
    });
    pieces.boxed()
}

impl Network for FaultyNet {
    fn send(
        &self,
        to: NodeId,
        method: Method,
        body: Body,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        let fault = self.faults.lock().get(&to).copied();
        if fault == Some(Fault::Refuse) {
            return Box::pin(async move { Err(RpcError::not_sent(format!("node {to} takes no calls"))) });
        }
        let body = match fault {
            Some(Fault::Lie(lie)) => match lie.answer(method, body) {
                Ok(answer) => return Box::pin(async move { Ok(answer) }),
                Err(body) => body,
            },
            _ => body,
        };
        let mut passed = 0;
        let body = match fault {
            Some(Fault::BreakRequest(after)) => body
                .map(move |piece| {
                    passed += piece.as_ref().map_or(0, Bytes::len);
                    if passed > after { Err(RpcError::unknown("the connection broke")) } else { piece }
                })
                .boxed(),
            Some(Fault::StallRequest(after)) => stalled(body, after),
            Some(Fault::Slow(pause)) => slow(body, pause),
            Some(Fault::SpoilRequest) => body.map(|piece| piece.map(spoil)).boxed(),
            _ => body,
        };
        let answer = self.inner.send(to, method, body, deadline);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(match fault {
                Some(Fault::SpoilAnswer) => answer.map(|piece| piece.map(spoil)).boxed(),
                Some(Fault::StallAnswer(after)) => stalled(answer, after),
                Some(Fault::Slow(pause)) => slow(answer, pause),
                Some(Fault::LoseEnd) => {
                    let first_alone = |(number, piece)| {
                        if number > 0 { Err(RpcError::unknown("the connection broke")) } else { piece }
                    };
                    answer.enumerate().map(first_alone).boxed()
                }
                _ => answer,
            })
        })
    }
}

pub(super) struct Node {
    pub id: NodeId,
    pub store: SegmentStore,
    pub chunks: ChunkStore,
    pub disks: Vec<GatedDisk>,
    pub drives: Vec<DriveId>,
    pub budget: MemoryBudget,
    pub faults: Faults,
    pub network: Arc<dyn Network>,
    grid: GridView,
}

pub(super) struct Nodes {
    pub nodes: Vec<Node>,
    pub net: MemoryNet,
    pub key: BucketKey,
}

/// Hedges that a test does not notice.
pub(super) fn brisk() -> SegmentConfig {
    // Other tests share the machine: a node that is there always answers in time.
    let remote = RemoteConfig { begin_max: Duration::from_secs(60), ..RemoteConfig::default() };
    SegmentConfig { hedge_min: Duration::from_millis(20), remote, ..patient() }
}

impl Nodes {
    pub fn new(nodes: u8, drives: u8) -> Self {
        Self::with(nodes, drives, 1, brisk(), ChunkServiceConfig::default())
    }

    pub fn with(
        nodes: u8,
        drives: u8,
        seed: u64,
        config: SegmentConfig,
        service: ChunkServiceConfig,
    ) -> Self {
        let net = MemoryNet::default();
        let seeds = Arc::new(SeededRandom::new(seed));
        let (key, _) = RootKey::generate(&*seeds).new_bucket_key(BucketId::from_bytes([5; 16]), 3, &*seeds);
        let mut snapshots = Vec::new();
        let mut all = Vec::new();
        for number in 1..=nodes {
            let id = NodeId::from_bytes([number; 16]);
            let (mut disks, mut opened, mut ids) = (Vec::new(), Vec::new(), Vec::new());
            for place in 1..=drives {
                let drive = DriveId::from_bytes([number * 16 + place; 16]);
                let disk = GatedDisk::new(seed << 16 | u64::from(number * 16 + place), &PowerSupply::new());
                let (grid, created) = (GridId::from_bytes([9; 16]), Timestamp::default());
                label::create(&disk, &DriveLabel { grid, node: id, drive, generation: 1, created }, true)
                    .unwrap();
                let drive_config = DriveConfig {
                    reserve_per_mille: 0,
                    reserve_bytes_min: 0,
                    io_threads: 1,
                    ..DriveConfig::default()
                };
                opened.push(Drive::open(Arc::new(disk.clone()), Arc::new(RealClock), drive_config).unwrap());
                disks.push(disk);
                ids.push(drive);
                snapshots.push(DriveSnapshot {
                    id: drive,
                    node: id,
                    file_system: FailureDomain(format!("disk {place}")),
                    state: DriveState::Active,
                    read_score: Score::BEST,
                    write_score: Score::BEST,
                    total_bytes: 1 << 40,
                    free_bytes: 1 << 39,
                });
            }
            let chunks = ChunkStore::new(opened);
            let services = Services::default();
            services.add(CHUNK_SERVICE, Arc::new(ChunkService::new(chunks.clone(), service.clone())));
            let faults = Faults::default();
            let inner = net.join(id, services);
            let network: Arc<dyn Network> = Arc::new(FaultyNet { inner, faults: faults.clone() });
            let grid = GridView::default();
            let budget = MemoryBudget::new("segments", BUDGET, 64);
            let store = SegmentStore::spread(
                id,
                network.clone(),
                chunks.clone(),
                grid.clone(),
                Arc::new(SeededRandom::new(seed << 8 | u64::from(number))),
                budget.clone(),
                config.clone(),
            );
            all.push(Node { id, store, chunks, disks, drives: ids, budget, faults, network, grid });
        }
        let rig = Self { nodes: all, net, key };
        rig.publish(GridSnapshot { epoch: 1, drives: snapshots, all_have_aes: true });
        rig
    }

    pub fn publish(&self, snapshot: GridSnapshot) {
        for node in &self.nodes {
            node.grid.publish(snapshot.clone());
        }
    }

    /// All nodes see the drives of this one as suspect.
    pub fn suspect(&self, number: usize) {
        let mut grid = (*self.nodes[0].grid.load()).clone();
        grid.epoch += 1;
        for drive in &mut grid.drives {
            if drive.node == self.nodes[number].id {
                drive.state = DriveState::Suspect;
            }
        }
        self.publish(grid);
    }

    /// Node `number` is down: who calls it is told at once that nobody is there.
    pub fn kill(&self, number: usize) {
        (0..self.nodes.len()).for_each(|from| self.fault(from, number, Some(Fault::Refuse)));
    }

    /// Node `number` is down: who calls it hears nothing.
    pub fn silence(&self, number: usize) {
        self.net.leave(self.nodes[number].id);
    }

    /// Only node `number` is down.
    pub fn kill_alone(&self, number: usize) {
        self.nodes.iter().for_each(|node| node.faults.lock().clear());
        self.kill(number);
    }

    /// What node `from` does to its calls of node `to`.
    pub fn fault(&self, from: usize, to: usize, fault: Option<Fault>) {
        let mut faults = self.nodes[from].faults.lock();
        match fault {
            Some(fault) => drop(faults.insert(self.nodes[to].id, fault)),
            None => drop(faults.remove(&self.nodes[to].id)),
        }
    }

    pub fn node_of(&self, drive: DriveId) -> usize {
        self.nodes.iter().position(|node| node.drives.contains(&drive)).unwrap()
    }

    pub fn spec(&self, profile: ProfileChoice, plain_len_max: u64) -> SegmentSpec {
        let identity = SegmentIdentity {
            bucket: BucketId::from_bytes([5; 16]),
            key: ObjectKey::new("folder/object").unwrap(),
            owner: SegmentOwner { version: VersionId::from_bytes([6; 16]), part: 2, number: 7 },
        };
        SegmentSpec { bucket_key: self.key.clone(), identity, profile, plain_len_max }
    }

    /// Written by node `number`.
    pub async fn put(
        &self,
        number: usize,
        profile: ProfileChoice,
        plain: &[u8],
    ) -> Result<Segment, SegmentError> {
        let mut writer = self.nodes[number].store.begin(self.spec(profile, plain.len() as u64)).await?;
        for piece in plain.chunks(150_001) {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        writer.finish(Some(b"the record".to_vec())).await
    }

    /// Read by node `number`.
    pub async fn get(
        &self,
        number: usize,
        segment: &Segment,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<u8>, SegmentError> {
        let mut reader = self.nodes[number].store.read(segment.clone(), self.key.clone(), range);
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// Is what node `number` reads this?
    pub async fn reads(&self, number: usize, segment: &Segment, plain: &[u8]) -> bool {
        self.get(number, segment, 0..segment.length).await.is_ok_and(|bytes| bytes == plain)
    }

    /// Waits until node `number` holds no memory for streams any more.
    pub async fn until_budget_is_back(&self, number: usize) {
        let budget = &self.nodes[number].budget;
        for _ in 0..2000 {
            if budget.available() == budget.total() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} of {} bytes are back", budget.available(), budget.total());
    }

    /// Chunks on all drives of a node.
    pub async fn stored(&self, number: usize) -> usize {
        let mut count = 0;
        for drive in self.nodes[number].chunks.drives() {
            count += drive.list(None, 1000).await.map_or(0, |chunks| chunks.len());
        }
        count
    }

    /// Waits until a node holds so many chunks and no unfinished file.
    pub async fn until_stored(&self, number: usize, expect: usize) {
        for _ in 0..2000 {
            let unfinished = self.nodes[number].disks.iter().flat_map(GatedDisk::files);
            let unfinished = unfinished.filter(|(path, _)| path.starts_with("tmp/")).count();
            if self.stored(number).await == expect && unfinished == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("node {number} holds {} chunks, {expect} were expected", self.stored(number).await);
    }
}

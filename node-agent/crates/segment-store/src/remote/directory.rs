//! Finds the drive of an id: on this node, or on the node that the picture of the grid names.

use std::collections::BTreeMap;
use std::sync::Arc;

use chunk_store::ChunkStore;
use grid_types::{DriveId, NodeId};
use parking_lot::Mutex;
use rpc::Network;

use super::drive::{Peer, RemoteDrive};
use super::handle::DriveHandle;
use crate::GridView;
use crate::config::RemoteConfig;

/// All drives of the grid. Cheap to clone.
#[derive(Clone)]
pub struct DriveDirectory {
    local: ChunkStore,
    grid: GridView,
    others: Option<Arc<Others>>,
}

/// How other nodes are reached.
struct Others {
    own: NodeId,
    network: Arc<dyn Network>,
    config: RemoteConfig,
    /// What is known of each drive and of its node; only of those in the picture of the grid.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    peers: BTreeMap<NodeId, Arc<Peer>>,
    drives: BTreeMap<DriveId, RemoteDrive>,
}

impl DriveDirectory {
    /// The drives of this node alone.
    pub fn local(local: ChunkStore, grid: GridView) -> Self {
        Self { local, grid, others: None }
    }

    /// The drives of this node, `own`, and those of all others over `network`.
    pub fn new(
        own: NodeId,
        network: Arc<dyn Network>,
        local: ChunkStore,
        grid: GridView,
        config: RemoteConfig,
    ) -> Self {
        let others = Others { own, network, config, known: Mutex::default() };
        Self { local, grid, others: Some(Arc::new(others)) }
    }

    /// The drives of this node.
    pub fn chunks(&self) -> &ChunkStore {
        &self.local
    }

    /// The picture of the grid.
    pub fn grid(&self) -> &GridView {
        &self.grid
    }

    /// This node, where there may be others.
    pub fn own(&self) -> Option<NodeId> {
        self.others.as_ref().map(|others| others.own)
    }

    /// The drive with this id; `None` where it should be here and is not, and where nobody knows its node.
    pub fn drive(&self, id: DriveId) -> Option<DriveHandle> {
        if let Some(drive) = self.local.drive(id) {
            return Some(DriveHandle::Local(drive));
        }
        let others = self.others.as_ref()?;
        let grid = self.grid.load();
        let node = grid.drive(id)?.node;
        if node == others.own {
            return None;
        }
        let mut known = others.known.lock();
        if let Some(drive) = known.drives.get(&id)
            && drive.node() == node
        {
            return Some(DriveHandle::Remote(drive.clone()));
        }
        // A drive that is new or has moved: the time to forget those that left.
        known.drives.retain(|id, _| grid.drive(*id).is_some());
        known.peers.retain(|node, _| grid.drives.iter().any(|drive| drive.node == *node));
        let peer = known
            .peers
            .entry(node)
            .or_insert_with(|| Arc::new(Peer::new(node, others.network.clone(), others.config.clone())));
        let drive = RemoteDrive::new(id, peer.clone());
        known.drives.insert(id, drive.clone());
        Some(DriveHandle::Remote(drive))
    }
}

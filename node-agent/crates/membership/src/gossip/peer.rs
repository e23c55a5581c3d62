//! The name under which a node is known to the failure detector, and the randomness that it draws.

use std::convert::Infallible;
use std::sync::Arc;

use grid_types::NodeId;
use serde::{Deserialize, Serialize};
use sys::Random;

/// A life of a node. A name that was declared down never lives again; the node takes the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    /// Registered starts.
    pub(super) incarnation: u64,
    /// Counts false deaths within one start.
    pub(super) renewal: u32,
}

impl Peer {
    /// Any life of this node: enough to call it.
    pub(super) const fn any(node: NodeId) -> Self {
        Self { node, incarnation: 0, renewal: 0 }
    }
}

impl foca::Identity for Peer {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(Self { renewal: self.renewal.checked_add(1)?, ..*self })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, self.renewal) > (adversary.incarnation, adversary.renewal)
    }
}

/// `sys::Random` as the failure detector wants it.
pub(super) struct Draws(pub(super) Arc<dyn Random>);

impl rand_core::TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

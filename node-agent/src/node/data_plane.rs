//! The threads on which bodies move.

use std::io;

use tokio::runtime::{Handle, Runtime};

/// A runtime of its own for whatever works on bodies: S3, bulk connections of other nodes, repair. What keeps the grid together
/// (Raft, gossip, control connections, the operator's doors) stays in the runtime that starts the node: there it never stands in a
/// queue behind hashing and sealing, and the kernel shares the processors fairly between the two. Without that, clients that ask more
/// of small boards than these can do cost the metadata its majority, and their repeated requests keep it away (decision 0010).
pub(super) struct DataPlane {
    handle: Handle,
    /// `None` in its drop alone.
    runtime: Option<Runtime>,
}

impl DataPlane {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = crate::process::runtime("shoal-data")?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for DataPlane {
    /// A hanging disk must not keep whoever drops this.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

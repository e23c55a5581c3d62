//! Where the tasks of connections run.

use tokio::runtime::Handle;

use crate::{Lane, RpcConfig};

/// One runtime a lane: heartbeats must not stand in a queue behind the work on bodies.
#[derive(Debug, Clone)]
pub(crate) struct Runtimes {
    control: Handle,
    bulk: Handle,
}

impl Runtimes {
    /// Control connections stay in the runtime that this is called in.
    pub(crate) fn new(config: &RpcConfig) -> Self {
        let control = Handle::current();
        Self { bulk: config.bulk_runtime.clone().unwrap_or_else(|| control.clone()), control }
    }

    pub(crate) fn of(&self, lane: Lane) -> &Handle {
        match lane {
            Lane::Control => &self.control,
            Lane::Bulk => &self.bulk,
        }
    }
}

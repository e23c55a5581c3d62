//! Where other nodes may be: DNS-SD over multicast, addresses from the configuration, a name in DNS.
//!
//! Invariant: all of it is hints. Anybody can say anything on a local net: who is believed is decided by keys and tickets.
//! Whatever strangers send ends in one table with a fixed number of rows. A library thread that dies is started again.
//! See docs/formats/discovery.md.

mod announcement;
mod interfaces;
mod mdns;
mod names;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use grid_types::NodeId;
use parking_lot::Mutex;
use sys::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use announcement::{Announcement, Presence};
pub use interfaces::{Interfaces, usable_addresses};
pub use table::{FOUND_MAX, Found, Source};

use mdns::Responder;
use table::Table;

/// The port of multicast DNS (RFC 6762).
pub const MDNS_PORT: u16 = 5353;
/// Names that are resolved.
pub const PEERS_MAX: usize = 64;
/// Addresses behind `shoal.local`: they must fit one packet, and a client tries few.
pub const GRID_ADDRESSES_MAX: usize = 16;
/// The goodbye is given so long, all in all.
const GOODBYE: Duration = Duration::from_secs(3);

/// Where to look, and where to be seen.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// Speak multicast DNS at all.
    pub multicast: bool,
    /// Over which interfaces.
    pub interfaces: Interfaces,
    /// `MDNS_PORT`; another one in tests.
    pub port: u16,
    /// `host:port` of members, where multicast does not pass: addresses or names. Those beyond `PEERS_MAX` are left out.
    pub peers: Vec<String>,
    /// Names are resolved anew so often.
    pub resolve_period: Duration,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        Self {
            multicast: true,
            interfaces: Interfaces::Usable,
            port: MDNS_PORT,
            peers: Vec::new(),
            resolve_period: Duration::from_secs(60),
        }
    }
}

/// Looks for others and shows this node. Dropping it stops it without a goodbye.
pub struct Discovery {
    found: watch::Receiver<Arc<Vec<Found>>>,
    announcement: watch::Sender<Announcement>,
    grid_name: watch::Sender<Vec<IpAddr>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(test)]
    daemon: mdns::DaemonSlot,
}

impl Discovery {
    /// Starts. Must be called within a runtime.
    pub fn start(announcement: Announcement, config: DiscoveryConfig, clock: Arc<dyn Clock>) -> Self {
        let own = announcement.node;
        let (table, found) = Table::new(own, clock);
        let table = Arc::new(table);
        let (announcement, announced) = watch::channel(announcement);
        let (grid_name, grid_addresses) = watch::channel(Vec::new());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        #[cfg(test)]
        let daemon = mdns::DaemonSlot::default();
        if config.multicast {
            let responder = Responder {
                table: Arc::clone(&table),
                announced,
                grid_addresses,
                stopped: stopped.clone(),
                interfaces: config.interfaces,
                port: config.port,
                #[cfg(test)]
                slot: daemon.clone(),
            };
            tasks.push(tokio::spawn(responder.run()));
        }
        if !config.peers.is_empty() {
            tasks.push(tokio::spawn(names::resolve(config.peers, config.resolve_period, table, stopped)));
        }
        Self {
            found,
            announcement,
            grid_name,
            stop,
            tasks: Mutex::new(tasks),
            #[cfg(test)]
            daemon,
        }
    }

    /// Shows another state of this node from now on. The node stays the one of the start.
    pub fn announce(&self, announcement: Announcement) {
        self.announcement.send_if_modified(|current| {
            let next = Announcement { node: current.node, ..announcement };
            let changed = *current != next;
            *current = next;
            changed
        });
    }

    /// Answers `shoal.local` with these addresses from now on: those of all healthy nodes. None: no longer. For the one node
    /// that holds the lease; two that answer contradict each other. Those beyond `GRID_ADDRESSES_MAX` are left out.
    pub fn answer_grid_name(&self, mut addresses: Vec<IpAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(GRID_ADDRESSES_MAX);
        self.grid_name.send_if_modified(|current| {
            let changed = *current != addresses;
            *current = addresses;
            changed
        });
    }

    /// This node, as it is shown.
    pub fn node(&self) -> NodeId {
        self.announcement.borrow().node
    }

    /// What was found and not lost since.
    pub fn found(&self) -> Arc<Vec<Found>> {
        self.found.borrow().clone()
    }

    /// Wakes with each change of `found`.
    pub fn changed(&self) -> watch::Receiver<Arc<Vec<Found>>> {
        self.found.clone()
    }

    /// Says goodbye, so that others forget this node soon, and stops.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let all = async {
            for task in tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(GOODBYE, all).await.is_err() {
            tracing::debug!("discovery does not stop in time: left behind");
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.tasks.get_mut().drain(..).for_each(|task| task.abort());
    }
}

/// Returns when the order to stop comes, or nobody is left to give it.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests;

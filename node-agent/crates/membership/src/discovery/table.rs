//! What was found, in a fixed number of rows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grid_types::{GridId, NodeId};
use parking_lot::Mutex;
use sys::Clock;
use tokio::sync::watch;

use super::announcement::Presence;

/// Rows from multicast: five times the largest grid that is tested. Further ones wait until some age out, so that a flood of
/// made-up nodes does not push out the real ones.
pub const FOUND_MAX: usize = 512;
/// A row that was not confirmed for so long is forgotten: three rounds of browsing.
const STALE: Duration = Duration::from_secs(180);
/// After a goodbye, which anybody can forge, a row waits so long for a contradiction.
const GOODBYE_GRACE: Duration = Duration::from_secs(15);

/// How a node was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// It shows itself on the local net.
    Multicast,
    /// `host:port` of the configuration.
    Configured(String),
}

/// A hint where a node may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How it was found.
    pub source: Source,
    /// Who it says it is; unknown where only an address is.
    pub node: Option<NodeId>,
    /// Its grid, if it says so.
    pub grid: Option<GridId>,
    /// What it is looking for, if it says so.
    pub presence: Option<Presence>,
    /// Its release; may be empty.
    pub release: String,
    /// The board; may be empty.
    pub hardware: String,
    /// Where it answers node to node calls, best first. Try all.
    pub addresses: Vec<SocketAddr>,
    /// Port of its S3 door.
    pub api_port: Option<u16>,
}

pub(super) struct Table {
    own: NodeId,
    clock: Arc<dyn Clock>,
    rows: Mutex<Rows>,
    published: watch::Sender<Arc<Vec<Found>>>,
}

#[derive(Default)]
struct Rows {
    /// By the full name of the instance, as the library tells removals.
    multicast: BTreeMap<String, Row>,
    configured: BTreeMap<String, Found>,
    /// Told once for each time that the table is full.
    full_told: bool,
}

struct Row {
    found: Found,
    until: Duration,
}

impl Table {
    pub(super) fn new(own: NodeId, clock: Arc<dyn Clock>) -> (Self, watch::Receiver<Arc<Vec<Found>>>) {
        let (published, watcher) = watch::channel(Arc::default());
        (Self { own, clock, rows: Mutex::default(), published }, watcher)
    }

    /// An instance shows itself.
    pub(super) fn seen(&self, name: &str, found: Found) {
        if found.node == Some(self.own) {
            return;
        }
        let until = self.clock.since_boot() + STALE;
        let mut rows = self.rows.lock();
        if rows.multicast.len() >= FOUND_MAX && !rows.multicast.contains_key(name) {
            if !std::mem::replace(&mut rows.full_told, true) {
                tracing::warn!(
                    rows = FOUND_MAX,
                    "more nodes show themselves on this net than are remembered"
                );
            }
            return;
        }
        rows.multicast.insert(name.to_owned(), Row { found, until });
        self.publish(&rows);
    }

    /// An instance said goodbye, or somebody for it.
    pub(super) fn goodbye(&self, name: &str) {
        let until = self.clock.since_boot() + GOODBYE_GRACE;
        if let Some(row) = self.rows.lock().multicast.get_mut(name) {
            row.until = row.until.min(until);
        }
    }

    /// A configured peer has these addresses now.
    pub(super) fn configured(&self, peer: &str, addresses: Vec<SocketAddr>) {
        let source = Source::Configured(peer.to_owned());
        let found = Found {
            source,
            node: None,
            grid: None,
            presence: None,
            release: String::new(),
            hardware: String::new(),
            addresses,
            api_port: None,
        };
        let mut rows = self.rows.lock();
        rows.configured.insert(peer.to_owned(), found);
        self.publish(&rows);
    }

    /// Forgets what was not confirmed.
    pub(super) fn age(&self) {
        let now = self.clock.since_boot();
        let mut rows = self.rows.lock();
        rows.multicast.retain(|_, row| row.until > now);
        rows.full_told &= rows.multicast.len() >= FOUND_MAX;
        self.publish(&rows);
    }

    fn publish(&self, rows: &Rows) {
        let found: Vec<Found> =
            rows.configured.values().chain(rows.multicast.values().map(|row| &row.found)).cloned().collect();
        self.published.send_if_modified(|current| {
            let changed = **current != found;
            if changed {
                *current = Arc::new(found);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use grid_types::Timestamp;
    use sys::SimClock;

    use super::*;

    fn found(byte: u8) -> Found {
        Found {
            source: Source::Multicast,
            node: Some(NodeId::from_bytes([byte; 16])),
            grid: None,
            presence: Some(Presence::Up),
            release: String::new(),
            hardware: String::new(),
            addresses: vec!["192.0.2.1:7311".parse().unwrap()],
            api_port: None,
        }
    }

    #[test]
    fn rows_age_unless_they_are_confirmed_and_a_goodbye_shortens_their_life() {
        let clock = SimClock::new(Timestamp(0));
        let (table, watcher) = Table::new(NodeId::from_bytes([0; 16]), Arc::new(clock.clone()));
        for byte in 0..4 {
            table.seen(&byte.to_string(), found(byte));
        }
        assert_eq!(watcher.borrow().len(), 3, "not this node itself");
        table.goodbye("1");
        table.goodbye("2");
        table.seen("2", found(2));
        clock.advance(GOODBYE_GRACE);
        table.age();
        assert_eq!(watcher.borrow().len(), 2, "a forged goodbye is contradicted");
        clock.advance(STALE - GOODBYE_GRACE - Duration::from_secs(1));
        table.seen("3", found(3));
        clock.advance(Duration::from_secs(1));
        table.age();
        assert_eq!(watcher.borrow().iter().map(|found| found.node).collect::<Vec<_>>(), [found(3).node]);
    }

    #[test]
    fn a_flood_does_not_push_out_what_is_there() {
        let clock = SimClock::new(Timestamp(0));
        let (table, watcher) = Table::new(NodeId::from_bytes([0; 16]), Arc::new(clock));
        table.seen("real", found(1));
        table.configured("db.example:7311", vec!["192.0.2.9:7311".parse().unwrap()]);
        for fake in 0..2 * FOUND_MAX {
            table.seen(&fake.to_string(), found(2));
        }
        let rows = watcher.borrow();
        assert_eq!(rows.len(), FOUND_MAX + 1);
        assert_eq!(rows[0].source, Source::Configured("db.example:7311".to_owned()));
        assert!(rows.iter().any(|row| row.node == found(1).node));
    }
}

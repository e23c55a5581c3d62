//! Addresses and names of the configuration, resolved now and then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::PEERS_MAX;
use super::table::Table;

/// Addresses of one name: a name may stand for the whole grid.
const ADDRESSES_OF_NAME_MAX: usize = 128;
/// A resolver that takes longer is asked again in the next round.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(10);

/// Feeds the table until stopped. A name that does not resolve keeps the addresses that it had.
pub(super) async fn resolve(
    mut peers: Vec<String>,
    period: Duration,
    table: Arc<Table>,
    mut stopped: watch::Receiver<bool>,
) {
    if peers.len() > PEERS_MAX {
        tracing::warn!(configured = peers.len(), used = PEERS_MAX, "more peers are configured than are used");
        peers.truncate(PEERS_MAX);
    }
    let mut failing: BTreeSet<String> = BTreeSet::new();
    loop {
        for peer in &peers {
            let answer = tokio::select! {
                answer = lookup(peer) => answer,
                () = super::stop(&mut stopped) => return,
            };
            match answer {
                Ok(addresses) => {
                    failing.remove(peer);
                    table.configured(peer, addresses);
                }
                Err(error) if failing.insert(peer.clone()) => {
                    tracing::warn!(peer, error, "a configured peer does not resolve; it is tried again");
                }
                Err(_) => {}
            }
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = super::stop(&mut stopped) => return,
        }
    }
}

async fn lookup(peer: &str) -> Result<Vec<std::net::SocketAddr>, String> {
    match tokio::time::timeout(RESOLVE_DEADLINE, tokio::net::lookup_host(peer)).await {
        Ok(Ok(addresses)) => {
            let addresses: BTreeSet<_> = addresses.take(ADDRESSES_OF_NAME_MAX).collect();
            if addresses.is_empty() {
                Err("it has no address".to_owned())
            } else {
                Ok(addresses.into_iter().collect())
            }
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {RESOLVE_DEADLINE:?}")),
    }
}

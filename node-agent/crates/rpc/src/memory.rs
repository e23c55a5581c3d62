//! A network within one process, for tests and simulations: calls reach the `Services` of the other node, unless the
//! link between the two is cut, slow, or loses calls.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use grid_types::NodeId;
use parking_lot::RwLock;
use sys::Random;

use crate::{Body, Caller, Method, Network, RpcError, Services};

/// The nodes of one process and the faults between them. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryNet {
    state: Arc<RwLock<State>>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Services>,
    /// (from, to) over which nothing passes.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Added to each direction of each call.
    delay: Duration,
    /// Calls of a thousand that are lost before they arrive, and as many whose answer is lost.
    lost_per_mille: u64,
    random: Option<Arc<dyn Random>>,
}

impl MemoryNet {
    /// Puts a node into the net and returns its way to the others.
    pub fn join(&self, node: NodeId, services: Services) -> Arc<dyn Network> {
        self.state.write().nodes.insert(node, services);
        Arc::new(FromNode { net: self.clone(), node })
    }

    /// The node is gone: calls to it and from it fail.
    pub fn leave(&self, node: NodeId) {
        self.state.write().nodes.remove(&node);
    }

    /// Cuts one direction.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.state.write().cut.insert((from, to));
    }

    /// Cuts both directions between each of `side` and every other node.
    pub fn isolate(&self, side: &[NodeId]) {
        let mut state = self.state.write();
        let others: Vec<NodeId> = state.nodes.keys().copied().filter(|node| !side.contains(node)).collect();
        for inner in side {
            for outer in &others {
                state.cut.insert((*inner, *outer));
                state.cut.insert((*outer, *inner));
            }
        }
    }

    /// All links work again.
    pub fn heal(&self) {
        self.state.write().cut.clear();
    }

    /// Every call takes so much longer in each direction.
    pub fn delay(&self, delay: Duration) {
        self.state.write().delay = delay;
    }

    /// So many calls of a thousand are lost, and as many answers.
    pub fn lose(&self, per_mille: u64, random: Arc<dyn Random>) {
        let mut state = self.state.write();
        state.lost_per_mille = per_mille;
        state.random = Some(random);
    }

    fn passes(&self, from: NodeId, to: NodeId) -> bool {
        let state = self.state.read();
        let lost = match &state.random {
            Some(random) if state.lost_per_mille > 0 => random.below(1_000) < state.lost_per_mille,
            _ => false,
        };
        !lost
            && !state.cut.contains(&(from, to))
            && state.nodes.contains_key(&from)
            && state.nodes.contains_key(&to)
    }
}

struct FromNode {
    net: MemoryNet,
    node: NodeId,
}

impl Network for FromNode {
    fn send(
        &self,
        to: NodeId,
        method: Method,
        body: Body,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        let (net, from) = (self.net.clone(), self.node);
        let work = async move {
            let delay = net.state.read().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if !net.passes(from, to) {
                // As on a real net, silence does not tell a lost request from a lost answer.
                tokio::time::sleep(deadline).await;
                return Err(RpcError::unknown(format!("no answer from node {to}")));
            }
            let services = net.state.read().nodes.get(&to).cloned();
            let services = services.ok_or_else(|| RpcError::not_sent(format!("node {to} is not there")))?;
            let caller = Caller {
                node: from,
                public_key: Vec::new(),
                member: true,
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
                exporter: [0; 32],
            };
            // A task of its own: a caller that goes away does not stop what the peer began.
            let answer = tokio::spawn(async move { services.answer(caller, method.path, body).await });
            let answer =
                answer.await.map_err(|error| RpcError::unknown(format!("the peer broke off: {error}")))?;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if !net.passes(to, from) {
                tokio::time::sleep(deadline).await;
                return Err(RpcError::unknown(format!("no answer from node {to}")));
            }
            let pieces = answer?;
            let cut = net.clone();
            let pieces = pieces.map(move |piece| {
                if cut.passes(to, from) { piece } else { Err(RpcError::unknown("the connection broke")) }
            });
            Ok(pieces.boxed())
        };
        async move {
            match tokio::time::timeout(deadline.saturating_mul(2), work).await {
                Ok(answer) => answer,
                Err(_) => Err(RpcError::unknown(format!("no answer within {deadline:?}"))),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;

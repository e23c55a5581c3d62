//! What this node answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, NodeId};
use parking_lot::RwLock;

use crate::{Body, RpcError};

/// Who asks, as TLS proved it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Hash of its public key.
    pub node: NodeId,
    /// Its Ed25519 public key.
    pub public_key: Vec<u8>,
    /// Stands in the member list; strangers reach open services alone.
    pub member: bool,
    /// Where it called from.
    pub address: SocketAddr,
    /// Bytes that only the two ends of this TLS connection know (RFC 8446, section 7.5): what a proof is bound to.
    pub exporter: [u8; 32],
}

/// Answers the methods of one service.
pub trait Service: Send + Sync + 'static {
    /// `method` is the path without the service: `append` of `/meta/append`.
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>>;
}

struct Entry {
    service: Arc<dyn Service>,
    open: bool,
}

/// The services of a node by name. Cheap to clone; services may come later.
#[derive(Clone, Default)]
pub struct Services {
    table: Arc<RwLock<BTreeMap<String, Arc<Entry>>>>,
}

impl Services {
    /// Members may ask it from now on.
    pub fn add(&self, name: &str, service: Arc<dyn Service>) {
        self.table.write().insert(name.to_owned(), Arc::new(Entry { service, open: false }));
    }

    /// Anybody may ask it: for doors through which strangers become members.
    pub fn add_open(&self, name: &str, service: Arc<dyn Service>) {
        self.table.write().insert(name.to_owned(), Arc::new(Entry { service, open: true }));
    }

    /// No longer answered.
    pub fn remove(&self, name: &str) {
        self.table.write().remove(name);
    }

    /// Answers one request. `path` is `/service/method`.
    pub async fn answer(&self, caller: Caller, path: &str, body: Body) -> Result<Body, RpcError> {
        let (name, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        let entry = self.table.read().get(name).cloned();
        let Some(entry) = entry else {
            let detail = format!("{path}: this node does not answer that now");
            return Err(RpcError::new(ErrorCode::Unavailable, detail));
        };
        if !entry.open && !caller.member {
            let detail = format!("node {} is not a member of this grid", caller.node);
            return Err(RpcError::new(ErrorCode::AccessDenied, detail));
        }
        entry.service.answer(caller, method, body).await
    }
}

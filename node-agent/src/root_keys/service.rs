//! How a member gets a root key from another one. docs/formats/key-file.md, "Between members".

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, NodeId};
use keyring::{RootKey, RootKeys};
use parking_lot::RwLock;
use rpc::{Body, Caller, Method, Network, NetworkExt, RpcError, Service, collect, once};

use super::state::{KnownKey, Rotation};
use crate::grid::Members;

/// Name under which members ask.
pub const ROOT_KEY_SERVICE: &str = "root-key";
const GET: Method = Method::control("/root-key/get");
/// A question is a generation.
const QUESTION_BYTES: usize = 4;
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells members root keys that they lack.
pub struct RootKeyService {
    keys: RootKeys,
    members: Arc<Members>,
    known: Arc<RwLock<Option<Rotation>>>,
}

impl RootKeyService {
    pub(super) fn new(keys: RootKeys, members: Arc<Members>, known: Arc<RwLock<Option<Rotation>>>) -> Self {
        Self { keys, members, known }
    }

    fn get(&self, caller: NodeId, generation: u32) -> Result<RootKey, RpcError> {
        let not_yet = |why: &str| RpcError::new(ErrorCode::Unavailable, why);
        let drawn_at = self.known.read().as_ref().and_then(|known| known.known(generation).cloned());
        let drawn_at = drawn_at.ok_or_else(|| not_yet("that root key is not known here yet"))?;
        let list = self.members.list().ok_or_else(|| not_yet("no member list is known here yet"))?;
        if list.list().epoch < drawn_at.list_epoch {
            return Err(not_yet("who was removed when that root key was drawn is not known here yet"));
        }
        if list.list().member(caller).is_none() {
            return Err(RpcError::new(ErrorCode::AccessDenied, "root keys are for members"));
        }
        let held = self.keys.get(generation).filter(|key| drawn_at.is(key));
        held.ok_or_else(|| not_yet("that root key is not here yet"))
    }
}

impl Service for RootKeyService {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        let known = method == "get";
        let this = Self { keys: self.keys.clone(), members: self.members.clone(), known: self.known.clone() };
        async move {
            let question = collect(body, QUESTION_BYTES).await?;
            let generation = question.as_ref().try_into().map(u32::from_be_bytes);
            let Some(generation) = generation.ok().filter(|_| known) else {
                return Err(RpcError::new(ErrorCode::InvalidArgument, "ask `get` with a generation"));
            };
            let key = this.get(caller.node, generation)?;
            tracing::info!(generation, to = %caller.node, "a root key is told to a member");
            Ok(once(Bytes::copy_from_slice(&key.encode())))
        }
        .boxed()
    }
}

/// The key from this member.
pub(super) async fn fetch(
    network: &dyn Network,
    from: NodeId,
    wanted: &KnownKey,
) -> Result<RootKey, RpcError> {
    let question = Bytes::copy_from_slice(&wanted.generation.to_be_bytes());
    let answer = network.call(from, GET, question, PATIENCE).await?;
    let key = RootKey::decode(&answer).map_err(|error| RpcError::unknown(error.to_string()))?;
    if wanted.is(&key) { Ok(key) } else { Err(RpcError::unknown("it sent another key")) }
}

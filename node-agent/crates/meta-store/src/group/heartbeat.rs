//! The heartbeats of all groups to a peer travel in one message. docs/formats/meta-rpc.md.
//!
//! A beat makes every group that this node leads send its heartbeat now, and holds each peer's lane until all that are
//! expected for it came together, or a moment passed. What comes between beats (the Raft library asks so whether it still
//! leads, for a linearizable read) leaves at once, with what waits beside it.
//!
//! Invariants: the answer to one heartbeat never waits for another group's; a group that is unknown or a heartbeat that
//! does not decode is answered by itself. A group's own timer stands still while it leads or hears from its leader, and
//! runs in all other cases: also once beats have ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use grid_types::{ErrorCode, ShardId};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use parking_lot::Mutex;
use rpc::{Body, RpcError};
use tokio::sync::oneshot;

use super::supervisor::{Group, HEARTBEAT_MS};
use super::types::{Types, Voter};
use super::wire::{self, HeartbeatAnswer};
use crate::MetaError;
use crate::peers::MetaPeers;

/// Between two beats: three may be lost before the shortest election timeout.
pub(crate) const BEAT: Duration = Duration::from_millis(250);
/// A lane waits so long for all heartbeats of a beat.
const GATHER: Duration = Duration::from_millis(10);
/// A replica that has heard nothing for so long minds its own timer again: before the shortest election timeout.
pub(super) const SILENCE: Duration = Duration::from_millis(600);
/// Heartbeats of one message: about 70 bytes each, and a control message has up to 64 KiB.
pub(super) const HEARTBEATS_MAX: usize = 512;
/// Answers that are there when so much time has passed do not wait for the others.
const ANSWER_TOGETHER: Duration = Duration::from_millis(20);
/// The library has given a heartbeat up by then.
const PATIENCE: Duration = Duration::from_millis(HEARTBEAT_MS);

type Answer = Result<AppendEntriesResponse<Types>, String>;

struct Waiting {
    shard: ShardId,
    request: AppendEntriesRequest<Types>,
    answer: oneshot::Sender<Answer>,
}

#[derive(Default)]
struct Lane {
    waiting: Vec<Waiting>,
    /// Leaves when so many wait: a beat is being gathered.
    hold_until: usize,
    /// A task is about to send what waits.
    leaving: bool,
}

/// The lanes of a node to its peers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Heartbeats {
    peers: MetaPeers,
    lanes: Arc<Mutex<BTreeMap<Voter, Lane>>>,
}

impl Heartbeats {
    pub(crate) fn new(peers: MetaPeers) -> Self {
        Self { peers, lanes: Arc::default() }
    }

    /// Sends a heartbeat with others and waits for its answer.
    pub(super) async fn send(
        &self,
        to: Voter,
        shard: ShardId,
        request: AppendEntriesRequest<Types>,
    ) -> Answer {
        let (answer, answered) = oneshot::channel();
        let leaves = {
            let mut lanes = self.lanes.lock();
            let lane = lanes.entry(to).or_default();
            lane.waiting.push(Waiting { shard, request, answer });
            lane.waiting.len() >= lane.hold_until && !std::mem::replace(&mut lane.leaving, true)
        };
        if leaves {
            tokio::spawn(self.clone().leave(to));
        }
        answered.await.unwrap_or_else(|_| Err("it was not sent".to_owned()))
    }

    /// Makes these groups' heartbeats travel together. Returns once they are on their way.
    pub(crate) async fn beat(&self, groups: &[Group]) {
        let mut expected: BTreeMap<Voter, usize> = BTreeMap::new();
        let mut beating = Vec::new();
        for group in groups {
            let followers = group.mind_timer();
            if !followers.is_empty() {
                beating.push(group.trigger_heartbeat());
            }
            for follower in followers {
                *expected.entry(follower).or_default() += 1;
            }
        }
        if beating.is_empty() {
            return;
        }
        let _hold = self.hold(expected);
        // A group with a full queue sends entries anyway, and those count, too.
        let gathered = async {
            join_all(beating).await;
            while self.lanes.lock().values().any(|lane| lane.waiting.len() < lane.hold_until) {
                tokio::time::sleep(GATHER / 4).await;
            }
        };
        // The ones that are missing wait for the answer to their last heartbeat, or their group stands still.
        let _ = tokio::time::timeout(GATHER, gathered).await;
    }

    /// Until the guard goes, lanes wait for so many heartbeats.
    fn hold(&self, expected: BTreeMap<Voter, usize>) -> Hold<'_> {
        let mut lanes = self.lanes.lock();
        for (to, count) in expected {
            lanes.entry(to).or_default().hold_until = count;
        }
        Hold(self)
    }

    /// Sends what waits for a peer.
    async fn leave(self, to: Voter) {
        // What is about to come at the same time comes along.
        tokio::task::yield_now().await;
        let waiting = {
            let mut lanes = self.lanes.lock();
            let lane = lanes.entry(to).or_default();
            (lane.hold_until, lane.leaving) = (0, false);
            std::mem::take(&mut lane.waiting)
        };
        let mut waiting = waiting.into_iter().peekable();
        while waiting.peek().is_some() {
            tokio::spawn(self.clone().deliver(to, waiting.by_ref().take(HEARTBEATS_MAX).collect()));
        }
    }

    /// Sends one message, and hands the answers out.
    async fn deliver(self, to: Voter, waiting: Vec<Waiting>) {
        let (shards, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|one| ((one.shard, one.request), one.answer)).unzip();
        let mut answers: Vec<Option<oneshot::Sender<Answer>>> = answers.into_iter().map(Some).collect();
        let exchange = async {
            let node = self.peers.node(to).ok_or_else(|| "it is not a member of this grid".to_owned())?;
            let message = wire::encode_heartbeats(&shards);
            let sent = self.peers.send(node, wire::HEARTBEATS, &message, PATIENCE).await;
            hand_out(sent.map_err(|error| error.to_string())?, &mut answers).await
        };
        let ended = match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(())) => "it was not answered".to_owned(),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        for left in answers.into_iter().flatten() {
            // The library may have given it up.
            let _ = left.send(Err(ended.clone()));
        }
    }
}

struct Hold<'a>(&'a Heartbeats);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        for (to, lane) in &mut *self.0.lanes.lock() {
            lane.hold_until = 0;
            if !lane.waiting.is_empty() && !std::mem::replace(&mut lane.leaving, true) {
                tokio::spawn(self.0.clone().leave(*to));
            }
        }
    }
}

/// Gives each answer to who waits for it, as they come.
async fn hand_out(mut body: Body, waiting: &mut [Option<oneshot::Sender<Answer>>]) -> Result<(), String> {
    let mut received = BytesMut::new();
    while let Some(piece) = body.next().await {
        received.extend_from_slice(&piece.map_err(|error| error.to_string())?);
        while let Some(answers) =
            wire::take_heartbeat_answers(&mut received).map_err(|error| error.to_string())?
        {
            for (index, answer) in answers {
                let asked = usize::try_from(index).ok().and_then(|index| waiting.get_mut(index)?.take());
                if let Some(asked) = asked {
                    let answer = answer.into_response().unwrap_or_else(|error| Err(error.to_string()));
                    // The library may have given it up.
                    let _ = asked.send(answer);
                }
            }
        }
    }
    Ok(())
}

/// Answers the heartbeats of another node: those that are there in a moment together, slow ones later.
pub(crate) fn answer_heartbeats(
    message: Bytes,
    group: impl Fn(ShardId) -> Result<Group, MetaError>,
) -> Result<Body, RpcError> {
    let heartbeats = wire::decode_heartbeats(message).map_err(wire::refused)?;
    if heartbeats.len() > HEARTBEATS_MAX {
        let detail = format!("a message has at most {HEARTBEATS_MAX} heartbeats");
        return Err(RpcError::new(ErrorCode::InvalidArgument, detail));
    }
    let pending: FuturesUnordered<_> = (0u32..)
        .zip(heartbeats)
        .map(|(index, heartbeat)| {
            let asked = heartbeat
                .map_err(wire::refused)
                .and_then(|(shard, request)| Ok((group(shard).map_err(RpcError::from)?, request)));
            async move {
                let answered = match asked {
                    Ok((group, request)) => group.append(request).await,
                    Err(error) => Err(error),
                };
                (index, HeartbeatAnswer::from(answered.map_err(|error| error.detail)))
            }
        })
        .collect();
    let answers = stream::unfold(pending, |mut pending| async move {
        let mut done = Vec::new();
        let together = tokio::time::sleep(ANSWER_TOGETHER);
        tokio::pin!(together);
        while done.is_empty() || !together.is_elapsed() {
            tokio::select! {
                next = pending.next() => match next {
                    Some(answer) => done.push(answer),
                    None => break,
                },
                () = &mut together, if !together.is_elapsed() => {}
            }
        }
        (!done.is_empty()).then(|| (Ok(wire::encode_heartbeat_answers(&done)), pending))
    });
    Ok(answers.boxed())
}

#[cfg(test)]
#[path = "heartbeat_tests.rs"]
mod tests;

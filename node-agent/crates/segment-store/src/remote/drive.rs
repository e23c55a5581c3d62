//! A drive of another node, asked over the network.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::format::{decode_footer, decode_header};
use chunk_store::{ChunkError, ChunkHeader, ChunkInfo, Latency};
use codec::{FRAME_HASH_BYTES, FrameHasher};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ChunkKey, DriveId, NodeId};
use parking_lot::Mutex;
use rpc::{Fate, Network, NetworkExt, RpcError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::wire::{self, ChunkQuestion, InfoAnswer, Kind, ListQuestion, Messages, ReadQuestion, RemoveOrder};
use super::writer::RemoteWriter;
use crate::config::RemoteConfig;

/// Another node.
pub(crate) struct Peer {
    pub node: NodeId,
    pub network: Arc<dyn Network>,
    pub config: RemoteConfig,
    /// When a call to it last failed, until one succeeds.
    failed: Mutex<Option<Instant>>,
}

impl Peer {
    pub fn new(node: NodeId, network: Arc<dyn Network>, config: RemoteConfig) -> Self {
        Self { node, network, config, failed: Mutex::new(None) }
    }

    /// It answered.
    pub fn answered(&self) {
        *self.failed.lock() = None;
    }

    /// Notes whether an error is the peer's word or its silence.
    pub fn note(&self, error: &RpcError) {
        match error.fate {
            Fate::Refused => self.answered(),
            Fate::NotSent | Fate::Unknown => *self.failed.lock() = Some(Instant::now()),
        }
    }
}

/// A drive of another node. Cheap to clone. Futures of questions may be dropped; those of `remove` may then have been
/// carried out or not.
#[derive(Clone)]
pub struct RemoteDrive {
    shared: Arc<Shared>,
}

struct Shared {
    id: DriveId,
    peer: Arc<Peer>,
    reads: Latency,
}

impl RemoteDrive {
    pub(crate) fn new(id: DriveId, peer: Arc<Peer>) -> Self {
        Self { shared: Arc::new(Shared { id, peer, reads: Latency::default() }) }
    }

    /// Its id.
    pub fn id(&self) -> DriveId {
        self.shared.id
    }

    /// The node that holds it.
    pub fn node(&self) -> NodeId {
        self.shared.peer.node
    }

    /// p95 of the last reads in microseconds, the way there and back included.
    pub fn read_p95_us(&self) -> u64 {
        self.shared.reads.p95_us()
    }

    /// Why it should not be asked now: its node did not answer a moment ago.
    pub fn distrusted(&self) -> Option<String> {
        let peer = &self.shared.peer;
        let since = (*peer.failed.lock())?.elapsed();
        (since < peer.config.distrust)
            .then(|| format!("node {} did not answer {} ms ago", peer.node, since.as_millis()))
    }

    pub(crate) fn failed(&self, chunk: Option<ChunkKey>, error: RpcError) -> ChunkError {
        self.shared.peer.note(&error);
        wire::from_rpc(self.shared.id, chunk, error)
    }

    pub(crate) async fn begin(
        &self,
        header: ChunkHeader,
        payload_len_max: u64,
    ) -> Result<RemoteWriter, ChunkError> {
        RemoteWriter::begin(self.clone(), self.shared.peer.clone(), header, payload_len_max).await
    }

    /// Blocks of the frames, verified here once more.
    pub(crate) async fn read_frames(
        &self,
        chunk: ChunkKey,
        first: u64,
        count: u64,
    ) -> Result<Vec<Bytes>, ChunkError> {
        let begun = Instant::now();
        let question = ReadQuestion { drive: self.shared.id, chunk, first, count };
        let read = self.read_answer(&question).await;
        self.shared.reads.record(begun.elapsed());
        let frames = read.map_err(|error| self.failed(Some(chunk), error))?;
        self.shared.peer.answered();
        let hasher = FrameHasher::new(chunk);
        let mut blocks = Vec::with_capacity(frames.len());
        for (number, frame) in (first..).zip(frames) {
            let sound = frame.len() > FRAME_HASH_BYTES
                && hasher.verify(number, &frame[FRAME_HASH_BYTES..], &frame[..FRAME_HASH_BYTES]);
            if !sound {
                let what = format!("frame {number}, as it came from node {}", self.shared.peer.node);
                return Err(ChunkError::Corrupt { drive: self.shared.id, chunk, what });
            }
            blocks.push(frame.slice(FRAME_HASH_BYTES..));
        }
        Ok(blocks)
    }

    async fn read_answer(&self, question: &ReadQuestion) -> Result<Vec<Bytes>, RpcError> {
        let peer = &self.shared.peer;
        let patience = peer.config.read_max;
        let asked = postcard::to_allocvec(question).map_err(|error| RpcError::not_sent(error.to_string()))?;
        let answer = peer.network.send(peer.node, wire::READ, rpc::once(asked.into()), patience);
        let mut messages = Messages::new(in_time(patience, answer).await?);
        let mut frames = Vec::new();
        while (frames.len() as u64) < question.count {
            match in_time(patience, messages.next()).await? {
                Some((Kind::Frame, frame)) => frames.push(frame.join()),
                Some((Kind::Failed, failure)) => {
                    let failure: wire::Failure = wire::decode(&failure.join())?;
                    return Err(RpcError::new(failure.code, failure.detail));
                }
                Some((kind, _)) => return Err(RpcError::unknown(format!("{kind:?} instead of a frame"))),
                None => return Err(RpcError::unknown("the answer ended before its last frame")),
            }
        }
        Ok(frames)
    }

    pub(crate) async fn info(&self, chunk: ChunkKey) -> Result<ChunkInfo, ChunkError> {
        let question = ChunkQuestion { drive: self.shared.id, chunk };
        let ask_max = self.shared.peer.config.ask_max;
        let answer: InfoAnswer = self.ask(wire::INFO, &question, ask_max, Some(chunk)).await?;
        let corrupt = |what| ChunkError::Corrupt { drive: self.shared.id, chunk, what };
        let (mut header, _) = decode_header(chunk, &answer.header).map_err(corrupt)?;
        let footer = decode_footer(chunk, &answer.footer).map_err(corrupt)?;
        header.plain_len = footer.plain_len;
        Ok(ChunkInfo { header, footer: footer.note, stored_len: answer.stored_len })
    }

    pub(crate) async fn verify(&self, chunk: ChunkKey) -> Result<(), ChunkError> {
        let question = ChunkQuestion { drive: self.shared.id, chunk };
        self.ask(wire::VERIFY, &question, self.shared.peer.config.verify_max, Some(chunk)).await
    }

    pub(crate) async fn contains(&self, chunk: ChunkKey) -> Result<bool, ChunkError> {
        let question = ChunkQuestion { drive: self.shared.id, chunk };
        self.ask(wire::CONTAINS, &question, self.shared.peer.config.ask_max, Some(chunk)).await
    }

    pub(crate) async fn remove(&self, chunks: Vec<ChunkKey>) -> Result<(), ChunkError> {
        for chunks in chunks.chunks(wire::CHUNKS_PER_CALL_MAX) {
            let order = RemoveOrder { drive: self.shared.id, chunks: chunks.to_vec() };
            let () = self.ask(wire::REMOVE, &order, self.shared.peer.config.remove_max, None).await?;
        }
        Ok(())
    }

    pub(crate) async fn list(
        &self,
        after: Option<ChunkKey>,
        limit: usize,
    ) -> Result<Vec<ChunkKey>, ChunkError> {
        // At most a thousand.
        let limit = limit.min(wire::CHUNKS_PER_CALL_MAX) as u32;
        let question = ListQuestion { drive: self.shared.id, after, limit };
        self.ask(wire::LIST, &question, self.shared.peer.config.ask_max, None).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        method: rpc::Method,
        question: &impl Serialize,
        deadline: Duration,
        chunk: Option<ChunkKey>,
    ) -> Result<A, ChunkError> {
        let peer = &self.shared.peer;
        match peer.network.ask(peer.node, method, question, deadline).await {
            Ok(answer) => {
                peer.answered();
                Ok(answer)
            }
            Err(error) => Err(self.failed(chunk, error)),
        }
    }
}

/// Bounds a wait for a peer: what became of the request is then not known.
pub(crate) fn in_time<'a, T: Send + 'a>(
    limit: Duration,
    work: impl Future<Output = Result<T, RpcError>> + Send + 'a,
) -> BoxFuture<'a, Result<T, RpcError>> {
    async move {
        match timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(RpcError::unknown(format!("no answer within {limit:?}"))),
        }
    }
    .boxed()
}

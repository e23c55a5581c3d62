//! What this node answers to others about its drives.
//!
//! Invariant: a chunk whose stream ends before its `Finish` leaves nothing behind; `Done` is said after the sync. Each
//! frame is verified before it is handed to the drive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::format::{decode_footer, decode_header, encode_footer, encode_header};
use chunk_store::{ChunkError, ChunkStore, ChunkWriter, Drive};
use codec::FrameHasher;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use grid_types::{
    ChunkKey, DriveId, ErrorCode, MemoryBudget, MemoryPermit, NodeId, PACK_CHUNK_BYTES_MAX,
    PACKET_SEALED_BYTES, SEGMENT_BYTES_MAX,
};
use parking_lot::Mutex;
use rpc::{Body, Caller, RpcError, Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::drive::in_time;
use super::wire::{
    self, Begin, ChunkQuestion, Failure, InfoAnswer, Kind, ListQuestion, Messages, ReadQuestion, RemoveOrder,
    refused, to_rpc,
};
use crate::config::ChunkServiceConfig;

/// The name under which `rpc::Services` knows it.
pub const CHUNK_SERVICE: &str = "chunk";

/// Payload of a chunk at most: a whole segment, sealed, of one-packet blocks and then some.
const PAYLOAD_BYTES_MAX: u64 = 2 * SEGMENT_BYTES_MAX;
/// Memory that a file in progress takes: twice the 256 KiB that gather for one write, and the frame that comes.
const FILE_MEMORY_BYTES: u64 = 768 << 10;
/// Frames read from the drive at once: half a MiB at two packets a block, and no more than 16 MiB ever.
const READ_BATCH_FRAMES: u64 = 4;

/// Answers for the drives of this node. Cheap to clone.
#[derive(Clone)]
pub struct ChunkService {
    shared: Arc<Shared>,
}

struct Shared {
    chunks: ChunkStore,
    config: ChunkServiceConfig,
    memory: MemoryBudget,
    peers: Mutex<BTreeMap<NodeId, Limits>>,
}

/// What one peer may have going at once.
#[derive(Clone)]
struct Limits {
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl ChunkService {
    /// Over these drives.
    pub fn new(chunks: ChunkStore, config: ChunkServiceConfig) -> Self {
        let memory =
            MemoryBudget::new("chunks from other nodes", config.memory_bytes, config.writes_per_peer_max);
        Self { shared: Arc::new(Shared { chunks, config, memory, peers: Mutex::default() }) }
    }

    fn limits(&self, peer: NodeId) -> Limits {
        let config = &self.shared.config;
        let mut peers = self.shared.peers.lock();
        // Who has nothing going is forgotten: the map holds no more than the peers that are busy.
        let busy =
            |limits: &Limits| Arc::strong_count(&limits.writes) > 1 || Arc::strong_count(&limits.reads) > 1;
        peers.retain(|node, limits| *node == peer || busy(limits));
        let fresh = || Limits {
            writes: Arc::new(Semaphore::new(config.writes_per_peer_max)),
            reads: Arc::new(Semaphore::new(config.reads_per_peer_max)),
        };
        peers.entry(peer).or_insert_with(fresh).clone()
    }

    fn drive(&self, id: DriveId) -> Result<Drive, RpcError> {
        let missing = || RpcError::new(ErrorCode::NoSuchDrive, format!("drive {id} is not on this node"));
        self.shared.chunks.drive(id).ok_or_else(missing)
    }

    async fn answer_one(self, caller: Caller, method: String, body: Body) -> Result<Body, RpcError> {
        match method.as_str() {
            "v1/write" => self.write(caller.node, body).await,
            "v1/read" => self.read(caller.node, self.question(body).await?).await,
            "v1/info" => {
                let ChunkQuestion { drive, chunk } = self.question(body).await?;
                let drive = self.drive(drive)?;
                let _permit = self.reading(caller.node).await?;
                let info = drive.info(chunk).await.map_err(|error| to_rpc(&error))?;
                let internal = |what| RpcError::new(ErrorCode::Internal, what);
                let header = encode_header(&info.header).map_err(internal)?;
                let footer = encode_footer(chunk, info.header.plain_len, &info.footer).map_err(internal)?;
                one(&InfoAnswer { header, footer, stored_len: info.stored_len })
            }
            "v1/verify" => {
                let ChunkQuestion { drive, chunk } = self.question(body).await?;
                let _permit = self.reading(caller.node).await?;
                one(&self.drive(drive)?.verify(chunk).await.map_err(|error| to_rpc(&error))?)
            }
            "v1/contains" => {
                let ChunkQuestion { drive, chunk } = self.question(body).await?;
                one(&self.drive(drive)?.contains(chunk).await.map_err(|error| to_rpc(&error))?)
            }
            "v1/remove" => {
                let RemoveOrder { drive, chunks } = self.question(body).await?;
                if chunks.len() > wire::CHUNKS_PER_CALL_MAX {
                    return Err(refused(format!("{} chunks in one order", chunks.len())));
                }
                one(&self.drive(drive)?.remove(chunks).await.map_err(|error| to_rpc(&error))?)
            }
            "v1/list" => {
                let ListQuestion { drive, after, limit } = self.question(body).await?;
                let limit = (limit as usize).min(wire::CHUNKS_PER_CALL_MAX);
                one(&self.drive(drive)?.list(after, limit).await.map_err(|error| to_rpc(&error))?)
            }
            other => {
                let detail = format!("chunk/{other}: this release answers version 1 alone");
                Err(RpcError::new(ErrorCode::NotImplemented, detail))
            }
        }
    }

    async fn question<T: DeserializeOwned>(&self, body: Body) -> Result<T, RpcError> {
        let collected = rpc::collect(body, wire::SMALL_MESSAGE_BYTES_MAX);
        wire::decode(&in_time(self.shared.config.idle_max, collected).await?)
    }

    /// A place among the peer's reads; waits for one in line, but not for long.
    async fn reading(&self, peer: NodeId) -> Result<OwnedSemaphorePermit, RpcError> {
        let too_many = || RpcError::new(ErrorCode::SlowDown, "too many reads of one peer wait");
        let reads = self.limits(peer).reads;
        let waits = timeout(self.shared.config.wait_max, reads.acquire_owned()).await;
        waits.map_err(|_| too_many())?.map_err(|_| too_many())
    }

    async fn read(&self, peer: NodeId, question: ReadQuestion) -> Result<Body, RpcError> {
        let ReadQuestion { drive, chunk, first, count } = question;
        let drive = self.drive(drive)?;
        let permit = self.reading(peer).await?;
        // The first batch decides whether the answer is an error.
        let begin = first..first.saturating_add(count);
        let batch =
            read_batch(&drive, chunk, begin.start, begin.end).await.map_err(|error| to_rpc(&error))?;
        let rest = begin.start + batch.len() as u64..begin.end;
        let frames = Frames { drive, chunk, rest, _permit: permit };
        let first = stream::iter(messages_of(batch));
        Ok(first.chain(stream::unfold(frames, next_batch).flatten()).boxed())
    }

    async fn write(&self, peer: NodeId, body: Body) -> Result<Body, RpcError> {
        let config = &self.shared.config;
        let too_many =
            |_| RpcError::new(ErrorCode::SlowDown, "too many chunks of one peer are being written");
        let permit = self.limits(peer).writes.try_acquire_owned().map_err(too_many)?;
        let mut messages = Messages::new(body);
        let begin = match in_time(config.idle_max, messages.next()).await? {
            Some((Kind::Begin, begin)) => wire::decode::<Begin>(&begin.join())?,
            Some((kind, _)) => return Err(refused(format!("a write that begins with {kind:?}"))),
            None => return Err(refused("a write without a beginning")),
        };
        let (header, len) = decode_header(begin.chunk, &begin.header).map_err(refused)?;
        let block_bytes_max = u64::from(header.block_packets) * PACKET_SEALED_BYTES;
        if len != begin.header.len()
            || begin.payload_len_max > PAYLOAD_BYTES_MAX
            || block_bytes_max > wire::BLOCK_BYTES_MAX as u64
        {
            return Err(refused(format!("a chunk of up to {} bytes", begin.payload_len_max)));
        }
        let drive = self.drive(begin.drive)?;
        let memory = self.memory_for(begin.payload_len_max).await?;
        let writer = drive.begin(header, begin.payload_len_max).await.map_err(|error| to_rpc(&error))?;
        let (done, outcome) = oneshot::channel();
        let writing = Writing {
            hasher: FrameHasher::new(begin.chunk),
            messages,
            writer,
            block_bytes_max,
            idle_max: config.idle_max,
            _held: (permit, memory),
        };
        // A task of its own: a caller that stops listening does not stop a sync halfway.
        tokio::spawn(async move {
            let result = writing.run().await;
            let _ = done.send(result);
        });
        let accepted = stream::once(async { Ok(wire::message(Kind::Accepted, &[])) });
        let keep_alive = config.idle_max / 3;
        Ok(accepted.chain(stream::unfold(Some(outcome), move |outcome| told(outcome, keep_alive))).boxed())
    }

    /// What a pack gathers, or what passes through on the way to a file.
    async fn memory_for(&self, payload_len_max: u64) -> Result<MemoryPermit, RpcError> {
        let bytes = if payload_len_max <= PACK_CHUNK_BYTES_MAX { payload_len_max } else { FILE_MEMORY_BYTES };
        let bytes = bytes.min(self.shared.memory.total());
        let full = || RpcError::new(ErrorCode::SlowDown, "memory for chunks from other nodes is used up");
        match timeout(self.shared.config.wait_max, self.shared.memory.acquire(bytes)).await {
            Ok(permit) => permit.map_err(|_| full()),
            Err(_) => Err(full()),
        }
    }
}

impl Service for ChunkService {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        self.clone().answer_one(caller, method.to_owned(), body).boxed()
    }
}

/// An answer of one value.
fn one<T: Serialize>(value: &T) -> Result<Body, RpcError> {
    let bytes = postcard::to_allocvec(value);
    let bytes = bytes.map_err(|error| RpcError::new(ErrorCode::Internal, error.to_string()))?;
    Ok(rpc::once(bytes.into()))
}

/// The rest of an answer with frames.
struct Frames {
    drive: Drive,
    chunk: ChunkKey,
    rest: std::ops::Range<u64>,
    _permit: OwnedSemaphorePermit,
}

type Piece = Result<Bytes, RpcError>;

async fn read_batch(drive: &Drive, chunk: ChunkKey, first: u64, end: u64) -> Result<Vec<Bytes>, ChunkError> {
    drive.read_whole_frames(chunk, first, (end - first).min(READ_BATCH_FRAMES)).await
}

fn messages_of(frames: Vec<Bytes>) -> Vec<Piece> {
    let pieces = frames
        .into_iter()
        .flat_map(|frame| [Ok(wire::prefix(Kind::Frame, frame.len(), 0).freeze()), Ok(frame)]);
    pieces.collect()
}

async fn next_batch(mut frames: Frames) -> Option<(stream::Iter<std::vec::IntoIter<Piece>>, Frames)> {
    if frames.rest.is_empty() {
        return None;
    }
    let read = read_batch(&frames.drive, frames.chunk, frames.rest.start, frames.rest.end).await;
    let pieces = match read {
        Ok(batch) => {
            frames.rest.start += batch.len() as u64;
            messages_of(batch)
        }
        Err(error) => {
            frames.rest = 0..0;
            vec![failed(&to_rpc(&error))]
        }
    };
    Some((stream::iter(pieces), frames))
}

fn failed(error: &RpcError) -> Piece {
    wire::value(Kind::Failed, &Failure { code: error.code, detail: error.detail.clone() })
}

type Outcome = oneshot::Receiver<Result<(), RpcError>>;

/// The end of a write's answer: signs of life until the outcome is there.
async fn told(outcome: Option<Outcome>, keep_alive: Duration) -> Option<(Piece, Option<Outcome>)> {
    let mut outcome = outcome?;
    match timeout(keep_alive, &mut outcome).await {
        Ok(Ok(Ok(()))) => Some((Ok(wire::message(Kind::Done, &[])), None)),
        Ok(Ok(Err(error))) => Some((failed(&error), None)),
        Ok(Err(_)) => Some((Err(RpcError::unknown("the write broke off: a bug")), None)),
        Err(_) => Some((Ok(wire::message(Kind::Wait, &[])), Some(outcome))),
    }
}

/// A chunk on its way to a drive.
struct Writing {
    messages: Messages,
    hasher: FrameHasher,
    writer: ChunkWriter,
    block_bytes_max: u64,
    idle_max: Duration,
    _held: (OwnedSemaphorePermit, MemoryPermit),
}

impl Writing {
    /// Dropping the writer on the way out, whatever the reason, removes what was written.
    async fn run(mut self) -> Result<(), RpcError> {
        let mut number = 0;
        loop {
            let next = in_time(self.idle_max, self.messages.next()).await?;
            match next {
                Some((Kind::Frame, frame)) => {
                    let (hash, block) =
                        frame.split_frame().ok_or_else(|| refused("a frame without a block"))?;
                    let len: u64 = block.iter().map(|piece| piece.len() as u64).sum();
                    if len > self.block_bytes_max {
                        return Err(refused(format!("frame {number} of {len} bytes")));
                    }
                    if self.hasher.hash_parts(number, block.iter().map(|piece| &piece[..])) != hash {
                        let detail = format!("frame {number} does not match its hash as it came");
                        return Err(RpcError::new(ErrorCode::BadDigest, detail));
                    }
                    let written = self.writer.write_frame(hash, block).await;
                    written.map_err(|error| to_rpc(&error))?;
                    number += 1;
                }
                Some((Kind::Wait, _)) => {}
                Some((Kind::Finish, footer)) => {
                    let footer = decode_footer(self.writer.key(), &footer.join()).map_err(refused)?;
                    let finished = self.writer.finish(footer.plain_len, footer.note).await;
                    return finished.map_err(|error| to_rpc(&error));
                }
                Some((kind, _)) => return Err(refused(format!("{kind:?} within a write"))),
                None => return Err(refused("a write that ended before its last word")),
            }
        }
    }
}

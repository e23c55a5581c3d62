//! A chunk being written to a drive of another node: one request whose body grows with the frames, one answer that says
//! when it was begun and when it is synced.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use chunk_store::format::{encode_footer, encode_header};
use chunk_store::{ChunkError, ChunkHeader};
use codec::FRAME_HASH_BYTES;
use futures_util::StreamExt;
use futures_util::stream;
use grid_types::{ChunkKey, PACK_CHUNK_BYTES_MAX, PACKET_SEALED_BYTES};
use parking_lot::Mutex;
use rpc::{Body, RpcError};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::drive::{Peer, RemoteDrive, in_time};
use super::wire::{self, Begin, Failure, Kind, Messages};

/// Bytes that the drive of another node gathers before it writes them, see `chunk_store`: where buffers are shared with
/// the peer (a net within one process) a window must be wider than this.
const GATHERED_BYTES: u64 = 256 << 10;

/// A chunk being written. Dropping it before `finish` gives the request up; its node then leaves nothing behind.
pub struct RemoteWriter {
    drive: RemoteDrive,
    peer: Arc<Peer>,
    chunk: ChunkKey,
    frames_held_max: usize,
    frames: mpsc::Sender<Outgoing>,
    /// Never locked: the mutex makes the writer `Sync`, which a stream is not.
    answer: Mutex<Messages>,
    queued: Arc<AtomicUsize>,
}

/// A message on its way, in pieces.
type Outgoing = VecDeque<Bytes>;

/// A frame counts as queued for as long as the connection holds on to any of its bytes: what keeps a writer's window
/// shut is then what `queued_frames` shows.
struct Held {
    queued: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A piece of a held frame; shared, not copied.
struct HeldPiece {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for HeldPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl RemoteWriter {
    /// Returns when the peer has begun the chunk.
    pub(crate) async fn begin(
        drive: RemoteDrive,
        peer: Arc<Peer>,
        header: ChunkHeader,
        payload_len_max: u64,
    ) -> Result<Self, ChunkError> {
        let (chunk, block_packets) = (header.chunk, header.block_packets);
        let encoded = encode_header(&header).map_err(|defect| misuse(&drive, defect))?;
        let begin = Begin { drive: drive.id(), chunk, payload_len_max, header: encoded };
        let first = wire::value(Kind::Begin, &begin).map_err(|error| drive.failed(None, error))?;
        let config = &peer.config;
        let (frames, waiting) = mpsc::channel(config.frames_queued_max.max(1));
        let queued = Arc::new(AtomicUsize::new(0));
        let body = outgoing(first, waiting, config.idle_max / 3);
        let answer = peer.network.send(peer.node, wire::WRITE, body, config.idle_max);
        let begun = in_time(config.begin_max, async {
            let mut answer = Messages::new(answer.await?);
            match next_word(&mut answer).await? {
                Kind::Accepted => Ok(answer),
                kind => Err(RpcError::unknown(format!("{kind:?} instead of the beginning"))),
            }
        });
        let answer = begun.await.map_err(|error| drive.failed(Some(chunk), error))?;
        peer.answered();
        let frames_held_max = if payload_len_max <= PACK_CHUNK_BYTES_MAX {
            usize::MAX
        } else {
            // At most a few frames, for blocks of one packet.
            GATHERED_BYTES.div_ceil(u64::from(block_packets).max(1) * PACKET_SEALED_BYTES) as usize
        };
        Ok(Self { drive, peer, chunk, frames_held_max, frames, answer: Mutex::new(answer), queued })
    }

    pub(crate) async fn write_frame(
        &mut self,
        hash: [u8; FRAME_HASH_BYTES],
        block: Vec<Bytes>,
    ) -> Result<(), ChunkError> {
        let len = FRAME_HASH_BYTES + block.iter().map(Bytes::len).sum::<usize>();
        if len > wire::FRAME_MESSAGE_BYTES_MAX {
            return Err(misuse(&self.drive, format!("a frame of {len} bytes")));
        }
        let mut first = wire::prefix(Kind::Frame, len, FRAME_HASH_BYTES);
        first.put_slice(&hash);
        let mut pieces = VecDeque::with_capacity(block.len() + 1);
        pieces.push_back(first.freeze());
        self.queued.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Held { queued: self.queued.clone() });
        let hold = |bytes| Bytes::from_owner(HeldPiece { bytes, _held: held.clone() });
        pieces.extend(block.into_iter().map(hold));
        self.hand_over(pieces).await
    }

    async fn hand_over(&mut self, message: Outgoing) -> Result<(), ChunkError> {
        let stall = self.peer.config.idle_max;
        let sent = timeout(stall, self.frames.send(message));
        let answer = self.answer.get_mut();
        let closed = tokio::select! {
            biased;
            sent = sent => match sent {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => None,
                Err(_) => Some(RpcError::unknown(format!("the connection took no frame for {stall:?}"))),
            },
            // The peer has something to say although nothing is finished.
            word = next_word(answer) => Some(early(word)),
        };
        let error = match closed {
            Some(error) => error,
            // The peer takes no more: it has said why, or the connection is gone.
            None => early(in_time(self.peer.config.begin_max, next_word(answer)).await),
        };
        Err(self.drive.failed(Some(self.chunk), error))
    }

    pub(crate) fn frames_held_max(&self) -> usize {
        self.frames_held_max
    }

    pub(crate) fn queued_frames(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) async fn finish(mut self, plain_len: u64, footer: Vec<u8>) -> Result<(), ChunkError> {
        let footer =
            encode_footer(self.chunk, plain_len, &footer).map_err(|defect| misuse(&self.drive, defect))?;
        let pieces = VecDeque::from([wire::message(Kind::Finish, &footer)]);
        self.hand_over(pieces).await?;
        let Self { drive, peer, chunk, frames, answer, .. } = self;
        drop(frames);
        let mut answer = answer.into_inner();
        let finished = in_time(peer.config.finish_max, next_word(&mut answer)).await;
        match finished {
            Ok(Kind::Done) => {
                peer.answered();
                Ok(())
            }
            Ok(kind) => Err(drive.failed(Some(chunk), RpcError::unknown(format!("{kind:?} at the end")))),
            Err(error) => Err(drive.failed(Some(chunk), error)),
        }
    }
}

/// The next message of an answer that says something; a failure is an error.
async fn next_word(answer: &mut Messages) -> Result<Kind, RpcError> {
    loop {
        match answer.next().await? {
            Some((Kind::Wait, _)) => {}
            Some((Kind::Failed, failure)) => {
                let failure: Failure = wire::decode(&failure.join())?;
                return Err(RpcError::new(failure.code, failure.detail));
            }
            Some((kind, _)) => return Ok(kind),
            None => return Err(RpcError::unknown("the answer ended before it said how it went")),
        }
    }
}

/// A word that comes before the end of the chunk is an error, whatever it is.
fn early(word: Result<Kind, RpcError>) -> RpcError {
    match word {
        Ok(kind) => RpcError::unknown(format!("{kind:?} before the end of the chunk")),
        Err(error) => error,
    }
}

fn misuse(drive: &RemoteDrive, what: impl Into<String>) -> ChunkError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, what.into());
    ChunkError::Io { drive: drive.id(), operation: "checking a call", source }
}

/// The body of the request.
fn outgoing(first: Bytes, waiting: mpsc::Receiver<Outgoing>, keep_alive: Duration) -> Body {
    stream::unfold((VecDeque::from([first]), waiting), move |(mut pieces, mut waiting)| async move {
        loop {
            if let Some(piece) = pieces.pop_front() {
                return Some((Ok(piece), (pieces, waiting)));
            }
            match timeout(keep_alive, waiting.recv()).await {
                Ok(Some(message)) => pieces = message,
                Ok(None) => return None,
                Err(_) => pieces.push_back(wire::message(Kind::Wait, &[])),
            }
        }
    })
    .boxed()
}

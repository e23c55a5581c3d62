//! Messages between the nodes that write and read chunks; docs/formats/chunk-rpc.md.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use chunk_store::ChunkError;
use codec::FRAME_HASH_BYTES;
use futures_util::{FutureExt, StreamExt};
use grid_types::{ChunkKey, DriveId, ErrorCode};
use rpc::{Body, Fate, Method, RpcError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) const WRITE: Method = Method::bulk("/chunk/v1/write");
pub(crate) const READ: Method = Method::bulk("/chunk/v1/read");
pub(crate) const INFO: Method = Method::bulk("/chunk/v1/info");
pub(crate) const VERIFY: Method = Method::control("/chunk/v1/verify");
pub(crate) const CONTAINS: Method = Method::control("/chunk/v1/contains");
pub(crate) const REMOVE: Method = Method::control("/chunk/v1/remove");
pub(crate) const LIST: Method = Method::control("/chunk/v1/list");

/// Bytes before the body of a message: kind and length.
pub(crate) const PREFIX_BYTES: usize = 5;
/// Bytes of a block on the wire: 63 packets. Blocks have 2 today; a frame is held whole before it is verified.
pub(crate) const BLOCK_BYTES_MAX: usize = 4 << 20;
/// Bytes of a frame's message.
pub(crate) const FRAME_MESSAGE_BYTES_MAX: usize = BLOCK_BYTES_MAX + FRAME_HASH_BYTES;
/// Bytes of any other message: the largest is a footer of 64 KiB and what is around it.
pub(crate) const SMALL_MESSAGE_BYTES_MAX: usize = 72 << 10;
/// Chunks named by one message: 1,000 of 17 bytes fit the 64 KiB of a call on the control lane with room to spare.
pub(crate) const CHUNKS_PER_CALL_MAX: usize = 1_000;
/// Pieces that an unfinished message may lie in before they are joined: 131 KiB come in nine of 16 KiB, and a peer that
/// sends single bytes must not make each of them cost a piece.
const PIECES_MAX: usize = 64;

/// What a message of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Opens a write: `Begin`.
    Begin = 1,
    /// Hash ‖ block.
    Frame = 2,
    /// The encoded footer: all frames were sent.
    Finish = 3,
    /// Nothing; the sender is there and has nothing to say yet.
    Wait = 4,
    /// The write was begun.
    Accepted = 5,
    /// The chunk is synced.
    Done = 6,
    /// `Failure`; nothing is left of the chunk.
    Failed = 7,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        const KINDS: [Kind; 7] =
            [Kind::Begin, Kind::Frame, Kind::Finish, Kind::Wait, Kind::Accepted, Kind::Done, Kind::Failed];
        KINDS.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn bytes_max(self) -> usize {
        match self {
            Self::Frame => FRAME_MESSAGE_BYTES_MAX,
            Self::Wait | Self::Accepted | Self::Done => 0,
            Self::Begin | Self::Finish | Self::Failed => SMALL_MESSAGE_BYTES_MAX,
        }
    }
}

/// Opens a write.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub drive: DriveId,
    pub chunk: ChunkKey,
    pub payload_len_max: u64,
    /// As `chunk_store::format` encodes it, with its hash.
    pub header: Vec<u8>,
}

/// Asks for frames.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadQuestion {
    pub drive: DriveId,
    pub chunk: ChunkKey,
    pub first: u64,
    pub count: u64,
}

/// Asks about one chunk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkQuestion {
    pub drive: DriveId,
    pub chunk: ChunkKey,
}

/// Removes chunks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemoveOrder {
    pub drive: DriveId,
    pub chunks: Vec<ChunkKey>,
}

/// Asks for a page of chunks.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListQuestion {
    pub drive: DriveId,
    pub after: Option<ChunkKey>,
    pub limit: u32,
}

/// Both ends of a chunk, as `chunk_store::format` encodes them, with their hashes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InfoAnswer {
    pub header: Vec<u8>,
    pub footer: Vec<u8>,
    pub stored_len: u64,
}

/// Why a write failed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub code: ErrorCode,
    pub detail: String,
}

/// Kind and length of a message whose body follows.
pub(crate) fn prefix(kind: Kind, len: usize, room: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + room);
    out.put_u8(kind as u8);
    // No message is longer than `FRAME_MESSAGE_BYTES_MAX`.
    out.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
    out
}

/// A message in one piece.
pub(crate) fn message(kind: Kind, body: &[u8]) -> Bytes {
    let mut out = prefix(kind, body.len(), body.len());
    out.put_slice(body);
    out.freeze()
}

/// A message with a value in postcard.
pub(crate) fn value<T: Serialize>(kind: Kind, value: &T) -> Result<Bytes, RpcError> {
    let body = postcard::to_allocvec(value).map_err(|error| RpcError::not_sent(error.to_string()))?;
    Ok(message(kind, &body))
}

/// Decodes a value in postcard.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RpcError> {
    postcard::from_bytes(bytes).map_err(|error| refused(format!("a message that does not decode: {error}")))
}

pub(crate) fn refused(detail: impl Into<String>) -> RpcError {
    RpcError::new(ErrorCode::InvalidArgument, detail)
}

/// The body of one message: usually several pieces of what came from the net.
#[derive(Debug, Default)]
pub(crate) struct Pieces(pub Vec<Bytes>);

impl Pieces {
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// In one piece; copied only where it is not.
    pub fn join(mut self) -> Bytes {
        if self.0.len() == 1 {
            return self.0.swap_remove(0);
        }
        let mut out = BytesMut::with_capacity(self.len());
        self.0.iter().for_each(|piece| out.put_slice(piece));
        out.freeze()
    }

    /// The hash of a frame, and its block in pieces; `None` where there is no block.
    pub fn split_frame(self) -> Option<([u8; FRAME_HASH_BYTES], Vec<Bytes>)> {
        if self.len() <= FRAME_HASH_BYTES {
            return None;
        }
        let mut hash = [0; FRAME_HASH_BYTES];
        let mut have = 0;
        let mut block = Vec::with_capacity(self.0.len());
        for mut piece in self.0 {
            let take = (FRAME_HASH_BYTES - have).min(piece.len());
            let head = piece.split_to(take);
            hash[have..have + take].copy_from_slice(&head);
            have += take;
            if !piece.is_empty() {
                block.push(piece);
            }
        }
        Some((hash, block))
    }
}

/// Cuts a body into messages.
pub(crate) struct Messages {
    body: Body,
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
}

impl Messages {
    pub fn new(body: Body) -> Self {
        Self { body, ready: VecDeque::new(), ready_bytes: 0 }
    }

    /// The next message; `None` where the body ends between two. Safe to drop: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<(Kind, Pieces)>, RpcError> {
        if !self.fill(PREFIX_BYTES).await? {
            return if self.ready_bytes == 0 { Ok(None) } else { Err(refused("a message is cut short")) };
        }
        let mut head = [0; PREFIX_BYTES];
        for (to, from) in head.iter_mut().zip(self.ready.iter().flatten()) {
            *to = *from;
        }
        let kind = Kind::parse(head[0])
            .ok_or_else(|| refused(format!("a message of the unknown kind {}", head[0])))?;
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if len > kind.bytes_max() {
            let detail = format!("a message of {len} bytes, {} are allowed", kind.bytes_max());
            return Err(RpcError::new(ErrorCode::TooLarge, detail));
        }
        if !self.fill(PREFIX_BYTES + len).await? {
            return Err(refused("a message is cut short"));
        }
        self.take(PREFIX_BYTES);
        Ok(Some((kind, self.take(len))))
    }

    /// True once so many bytes are ready; false where the body ends before.
    async fn fill(&mut self, bytes: usize) -> Result<bool, RpcError> {
        while self.ready_bytes < bytes {
            let Some(piece) = self.body.next().await else { return Ok(false) };
            let piece = piece?;
            if piece.is_empty() {
                continue;
            }
            self.ready_bytes += piece.len();
            self.ready.push_back(piece);
            if self.ready.len() > PIECES_MAX {
                let all = Pieces(self.ready.drain(..).collect()).join();
                self.ready.push_back(all);
            }
        }
        Ok(true)
    }

    /// The first so many bytes of those ready, not copied.
    fn take(&mut self, bytes: usize) -> Pieces {
        let mut pieces = Vec::new();
        let mut left = bytes;
        while left > 0
            && let Some(mut piece) = self.ready.pop_front()
        {
            if piece.len() > left {
                self.ready.push_front(piece.split_off(left));
            }
            left -= piece.len();
            pieces.push(piece);
        }
        self.ready_bytes -= bytes - left;
        Pieces(pieces)
    }
}

/// What another node is told of a drive's error.
pub(crate) fn to_rpc(error: &ChunkError) -> RpcError {
    let detail = match error {
        ChunkError::Corrupt { what, .. } => what.clone(),
        ChunkError::OutOfService { reason, .. } | ChunkError::Unreachable { reason, .. } => reason.clone(),
        ChunkError::Io { operation, source, .. } => format!("{operation}: {source}"),
        ChunkError::Missing { .. } | ChunkError::Full { .. } => error.to_string(),
    };
    RpcError::new(error.code(), detail)
}

/// And back: the kind of error that the drive had; all that is not the drive's own word is `Unreachable`.
pub(crate) fn from_rpc(drive: DriveId, chunk: Option<ChunkKey>, error: RpcError) -> ChunkError {
    let RpcError { code, detail, fate } = error;
    match (fate, code, chunk) {
        (Fate::Refused, ErrorCode::SegmentLost, Some(chunk)) => ChunkError::Missing { drive, chunk },
        (Fate::Refused, ErrorCode::Corrupt, Some(chunk)) => {
            ChunkError::Corrupt { drive, chunk, what: detail }
        }
        (Fate::Refused, ErrorCode::StorageFull, _) => ChunkError::Full { drive },
        (Fate::Refused, ErrorCode::NoSuchDrive, _) => ChunkError::OutOfService { drive, reason: detail },
        (Fate::Refused, ErrorCode::DriveFailed, _) => ChunkError::Io {
            drive,
            operation: "on the node that holds it",
            source: std::io::Error::other(detail),
        },
        _ => ChunkError::Unreachable { drive, reason: detail },
    }
}

/// Cuts the pieces of a stream into messages and decodes each by its kind; how many were sound. For those who feed it
/// hostile bytes: whatever comes in, it ends without a panic and holds no more than one message.
pub fn decode_stream(pieces: Vec<Bytes>) -> usize {
    let mut messages = Messages::new(futures_util::stream::iter(pieces.into_iter().map(Ok)).boxed());
    let mut sound = 0;
    // All pieces are here: nothing ever waits.
    while let Some(Ok(Some((kind, body)))) = messages.next().now_or_never() {
        sound += usize::from(message_is_sound(kind, body));
    }
    sound
}

fn message_is_sound(kind: Kind, body: Pieces) -> bool {
    match kind {
        Kind::Begin => decode::<Begin>(&body.join()).is_ok_and(|begin| begin_is_sound(&begin)),
        Kind::Frame => body.split_frame().is_some(),
        Kind::Failed => decode::<Failure>(&body.join()).is_ok(),
        Kind::Finish => {
            let chunk = ChunkKey { segment: grid_types::SegmentId::from_bytes([0; 16]), index: 0 };
            chunk_store::format::decode_footer(chunk, &body.join()).is_ok()
        }
        Kind::Wait | Kind::Accepted | Kind::Done => true,
    }
}

fn begin_is_sound(begin: &Begin) -> bool {
    chunk_store::format::decode_header(begin.chunk, &begin.header)
        .is_ok_and(|(_, len)| len == begin.header.len())
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

//! A chunk being written.

use bytes::Bytes;

use crate::ChunkError;

/// A chunk being written to one drive. Dropping it before `finish` leaves nothing behind.
pub struct ChunkWriter {}

impl ChunkWriter {
    /// Appends one frame: its hash (from `codec::FrameHasher`) and its block, which may come in pieces.
    /// Waits while more than 4 frames are queued for this drive.
    pub async fn write_frame(
        &mut self,
        _hash: [u8; codec::FRAME_HASH_BYTES],
        _block: Vec<Bytes>,
    ) -> Result<(), ChunkError> {
        todo!()
    }

    /// Frames queued and not yet written: how far this drive lags.
    pub fn queued_frames(&self) -> usize {
        todo!()
    }

    /// Writes the footer, syncs bytes and name, publishes the chunk. Durable when it returns.
    pub async fn finish(self, _plain_len: u64, _footer: Vec<u8>) -> Result<(), ChunkError> {
        todo!()
    }
}

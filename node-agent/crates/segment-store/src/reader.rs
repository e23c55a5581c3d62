//! A range of one segment being read.

use bytes::Bytes;

use crate::SegmentError;

/// A range of one segment being read, in order, at most `read_ahead_stripes` ahead of the consumer.
pub struct SegmentReader {}

impl SegmentReader {
    /// The next piece of plaintext; `None` at the end of the range.
    pub async fn next(&mut self) -> Option<Result<Bytes, SegmentError>> {
        todo!()
    }
}

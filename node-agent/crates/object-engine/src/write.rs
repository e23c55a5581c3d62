//! The part of a write that PUT, part and copy share: body → digests and segments (or inline bytes), verified.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use grid_types::{ErrorCode, Segment, SegmentOwner};

use crate::digest::{ChecksumKind, DigestPipeline, Digests};
use crate::sink::{BodyPlace, SegmentSink};
use crate::{BodyError, EngineError, ExpectedDigests, ObjectEngine};

/// Where the bytes of a body are now; nothing is committed yet.
pub(crate) enum Content {
    /// Small enough for the row, or empty: plaintext.
    Inline(Vec<u8>),
    /// Synced segments, in order.
    Segments(Vec<(SegmentOwner, Segment)>),
}

/// A body that was taken whole and has the digests it should have.
pub(crate) struct StoredBody {
    pub(crate) digests: Digests,
    pub(crate) content: Content,
}

/// What to hold a body against.
pub(crate) struct BodyLimits {
    pub(crate) length: Option<u64>,
    pub(crate) bytes_max: u64,
    pub(crate) inline_bytes_max: u64,
    pub(crate) checksum: Option<ChecksumKind>,
    pub(crate) expected: ExpectedDigests,
}

impl ObjectEngine {
    /// Takes a body. Fails without a trace that anybody sees where it is cut short, too long, or has another digest than
    /// it should: what was written of it by then is nobody's and is reaped.
    pub(crate) async fn store_body(
        &self,
        place: BodyPlace<'_>,
        mut body: impl Stream<Item = Result<Bytes, EngineError>> + Unpin,
        limits: BodyLimits,
        record: impl FnOnce(&Digests) -> Vec<u8>,
    ) -> Result<StoredBody, EngineError> {
        if limits.length.is_some_and(|length| length > limits.bytes_max) {
            return Err(too_large(limits.bytes_max));
        }
        let mut taken = BodyTaken {
            digest: DigestPipeline::new(self.digests(), limits.checksum, limits.length),
            inline: Vec::new(),
            sink: SegmentSink::new(self.segments(), place, limits.length),
            in_segments: limits.length.is_some_and(|length| length > limits.inline_bytes_max),
        };
        let taking = async {
            while let Some(piece) = body.next().await {
                taken.take(piece?, &limits).await?;
            }
            taken.end(&limits, record).await
        };
        let stored = taking.await;
        if stored.is_err() {
            taken.sink.abandon().await;
        }
        stored
    }
}

/// A body as far as it was taken.
struct BodyTaken<'a> {
    digest: DigestPipeline,
    inline: Vec<u8>,
    sink: SegmentSink<'a>,
    in_segments: bool,
}

impl BodyTaken<'_> {
    async fn take(&mut self, piece: Bytes, limits: &BodyLimits) -> Result<(), EngineError> {
        let size = self.digest.size() + piece.len() as u64;
        if limits.length.is_some_and(|length| size > length) {
            return Err(BodyError::Incomplete.into());
        }
        if size > limits.bytes_max {
            return Err(too_large(limits.bytes_max));
        }
        self.digest.update(piece.clone()).await?;
        if !self.in_segments && size <= limits.inline_bytes_max {
            self.inline.extend_from_slice(&piece);
            return Ok(());
        }
        self.in_segments = true;
        self.sink.write(Bytes::from(std::mem::take(&mut self.inline))).await?;
        self.sink.write(piece).await
    }

    async fn end(
        &mut self,
        limits: &BodyLimits,
        record: impl FnOnce(&Digests) -> Vec<u8>,
    ) -> Result<StoredBody, EngineError> {
        if limits.length.is_some_and(|length| self.digest.size() < length) {
            return Err(BodyError::Incomplete.into());
        }
        let digests = self.digest.finish().await?;
        verify(&digests, &limits.expected)?;
        let content = match self.in_segments {
            true => Content::Segments(self.sink.finish(record(&digests)).await?),
            false => Content::Inline(std::mem::take(&mut self.inline)),
        };
        Ok(StoredBody { digests, content })
    }
}

fn too_large(bytes_max: u64) -> EngineError {
    let detail = format!("Your proposed upload exceeds the maximum allowed size of {bytes_max} bytes");
    EngineError::refused(ErrorCode::TooLarge, detail)
}

/// Holds what was computed against what the client said. The sentences tell which digest it was, as AWS's do.
fn verify(digests: &Digests, expected: &ExpectedDigests) -> Result<(), EngineError> {
    if expected.md5().is_some_and(|md5| md5 != digests.md5) {
        let detail = "The Content-MD5 you specified did not match what we received.";
        return Err(EngineError::refused(ErrorCode::BadDigest, detail));
    }
    let Some(said) = expected.checksum() else { return Ok(()) };
    match &digests.checksum {
        Some(computed) if computed.kind == said.kind => {
            if computed.value == said.value {
                return Ok(());
            }
            let name = said.kind.name();
            let detail = format!("The {name} you specified did not match the calculated checksum.");
            Err(EngineError::refused(ErrorCode::BadDigest, detail))
        }
        _ => {
            let detail = format!("A {} checksum was sent that had not been announced", said.kind.name());
            Err(EngineError::invalid_argument(detail))
        }
    }
}

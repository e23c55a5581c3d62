//! Decoded bodies as streams for the handlers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_server::{RequestBody, RequestBodyError};
use object_engine::{Body, BodyError, ChecksumKind, ExpectedDigests};
use parking_lot::Mutex;
use ring::digest::{self, SHA256};

use crate::auth::Payload;
use crate::body::{
    Announced, ChunkDecoder, ChunkError, ChunkEvent, ChunkLimits, checksum_header_name, parse_checksum,
};
use crate::request::S3Body;
use crate::{S3Config, S3Error, S3ErrorCode};

/// Where the bytes of a body come from: a connection, or a test.
pub trait DataSource: Send + Unpin + 'static {
    /// The next piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, S3Error>>>;
}

impl DataSource for RequestBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, S3Error>>> {
        self.poll_data(cx).map(|piece| {
            piece.map(|piece| {
                piece.map_err(|error| match error {
                    RequestBodyError::Stalled(_) => S3ErrorCode::REQUEST_TIMEOUT.into(),
                    RequestBodyError::Cut(_) => S3ErrorCode::INCOMPLETE_BODY.into(),
                })
            })
        })
    }
}

/// No body, for operations that take none.
pub(crate) fn none() -> S3Body {
    S3Body {
        stream: Mutex::new(Box::pin(futures_util::stream::empty())),
        length: Some(0),
        expected: ExpectedDigests::default(),
        checksum: None,
    }
}

/// A body for the handlers: decoded, its payload hash and chunk signatures verified as it streams. Nothing is read
/// before the stream is polled.
pub fn open(
    source: impl DataSource,
    payload: Payload,
    announced: Announced,
    config: &S3Config,
) -> Result<S3Body, S3Error> {
    let expected = ExpectedDigests::default();
    if let Some(md5) = announced.md5 {
        expected.set_md5(md5);
    }
    if let Some(checksum) = announced.checksum {
        expected.set_checksum(checksum);
    }
    let stream: Body = match payload {
        Payload::Plain => Box::pin(PlainBody::new(source, None, announced.length)),
        Payload::Sha256(hash) => Box::pin(PlainBody::new(source, Some(hash), announced.length)),
        Payload::Chunked { signer, trailer } => {
            let Some(decoded_length) = announced.length else {
                return Err(S3ErrorCode::MISSING_CONTENT_LENGTH.into());
            };
            let limits = ChunkLimits {
                decoded_length,
                signed_chunk_bytes_max: config.signed_chunk_bytes_max,
                trailer_bytes_max: config.trailer_bytes_max,
            };
            Box::pin(ChunkedBody {
                source,
                decoder: ChunkDecoder::new(signer.map(|signer| *signer), trailer, limits),
                decoded_length,
                input: Bytes::new(),
                held: None,
                awaited: announced.trailer.filter(|_| trailer),
                expected: expected.clone(),
                state: ChunkedState::Reading,
            })
        }
    };
    Ok(S3Body { stream: Mutex::new(stream), length: announced.length, expected, checksum: announced.kind })
}

/// A body as it is; its length and, where one is known, its SHA-256 are checked before its last piece is handed on.
struct PlainBody<S> {
    source: S,
    hash: Option<(digest::Context, [u8; 32])>,
    left: Option<u64>,
    ended: bool,
}

impl<S: DataSource> PlainBody<S> {
    fn new(source: S, hash: Option<[u8; 32]>, length: Option<u64>) -> Self {
        let hash = hash.map(|wanted| (digest::Context::new(&SHA256), wanted));
        Self { source, hash, left: length, ended: false }
    }

    fn check_hash(&mut self) -> Result<(), S3Error> {
        let Some((context, wanted)) = self.hash.take() else { return Ok(()) };
        let computed = context.finish();
        if computed.as_ref() == wanted {
            return Ok(());
        }
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
        Err(S3Error::from(S3ErrorCode::X_AMZ_CONTENT_SHA256_MISMATCH)
            .detail("ClientComputedContentSHA256", hex(&wanted))
            .detail("S3ComputedContentSHA256", hex(computed.as_ref())))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, S3Error>>> {
        let Some(piece) = ready!(self.source.poll_piece(cx)) else {
            if self.left.is_some_and(|left| left > 0) {
                return Poll::Ready(Some(Err(S3ErrorCode::INCOMPLETE_BODY.into())));
            }
            return Poll::Ready(self.check_hash().err().map(Err));
        };
        let piece = piece?;
        if let Some((context, _)) = &mut self.hash {
            context.update(&piece);
        }
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(piece.len() as u64) else {
                return Poll::Ready(Some(Err(S3ErrorCode::INCOMPLETE_BODY.into())));
            };
            *left = rest;
            if rest == 0 {
                self.check_hash()?;
            }
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

impl<S: DataSource> Stream for PlainBody<S> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let polled = ready!(this.poll(cx));
        this.ended = !matches!(polled, Some(Ok(_)));
        Poll::Ready(polled.map(|piece| piece.map_err(S3Error::into_body_error)))
    }
}

enum ChunkedState {
    Reading,
    /// Everything was checked; the source is at its end or must not give more.
    Checked,
    Ended,
}

/// An aws-chunked body. Its last piece is held until the trailers and every signature were checked.
struct ChunkedBody<S> {
    source: S,
    decoder: ChunkDecoder,
    decoded_length: u64,
    input: Bytes,
    held: Option<Bytes>,
    awaited: Option<ChecksumKind>,
    expected: ExpectedDigests,
    state: ChunkedState,
}

impl<S: DataSource> ChunkedBody<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, S3Error>>> {
        loop {
            if let ChunkedState::Checked = self.state {
                return Poll::Ready(self.held.take().map(Ok));
            }
            match self.decoder.push(&mut self.input).map_err(refused)? {
                Some(ChunkEvent::Data(data)) if self.decoder.decoded() == self.decoded_length => {
                    self.held = Some(data);
                }
                Some(ChunkEvent::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Some(ChunkEvent::Trailer(name, value)) => self.trailer(&name, &value)?,
                // Pushed once more, the decoder refuses what follows the end.
                Some(ChunkEvent::End) => {}
                None => match ready!(self.source.poll_piece(cx)) {
                    Some(piece) => self.input = piece?,
                    None => {
                        self.decoder.finish().map_err(refused)?;
                        if self.awaited.is_some() {
                            return Poll::Ready(Some(Err(S3ErrorCode::MALFORMED_TRAILER.into())));
                        }
                        self.state = ChunkedState::Checked;
                    }
                },
            }
        }
    }

    fn trailer(&mut self, name: &str, value: &str) -> Result<(), S3Error> {
        // A trailer that was not announced could replace a digest that was.
        if self.awaited.is_none_or(|kind| checksum_header_name(kind) != name) {
            return Err(S3ErrorCode::MALFORMED_TRAILER.into());
        }
        self.awaited = None;
        if let Some(checksum) = parse_checksum(name, value) {
            self.expected.set_checksum(checksum?);
        }
        Ok(())
    }
}

impl<S: DataSource> Stream for ChunkedBody<S> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let ChunkedState::Ended = this.state {
            return Poll::Ready(None);
        }
        let polled = ready!(this.poll(cx));
        if !matches!(polled, Some(Ok(_))) {
            this.state = ChunkedState::Ended;
        }
        Poll::Ready(polled.map(|piece| piece.map_err(S3Error::into_body_error)))
    }
}

fn refused(error: ChunkError) -> S3Error {
    let words = error.to_string();
    match error {
        ChunkError::Length { .. } => S3ErrorCode::INCOMPLETE_BODY.into(),
        ChunkError::Signature(_) | ChunkError::TrailerSignature => {
            S3Error::from(S3ErrorCode::SIGNATURE_DOES_NOT_MATCH).detail("Reason", words)
        }
        ChunkError::TrailersTooLong(_) => S3Error::new(S3ErrorCode::MALFORMED_TRAILER, words),
        ChunkError::ChunkTooLarge { max, .. } => {
            S3Error::new(S3ErrorCode::INVALID_REQUEST, words).detail("MaxSizeAllowed", max.to_string())
        }
        ChunkError::Malformed(_) | ChunkError::LineTooLong => {
            S3Error::new(S3ErrorCode::INVALID_REQUEST, words)
        }
    }
}

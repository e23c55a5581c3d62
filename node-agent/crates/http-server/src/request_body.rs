//! The body of a request as a handler reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::service::InFlight;

/// Why a request body broke off.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// No byte came for `body_stall_timeout`.
    #[error("the client sent nothing for {0:?}")]
    Stalled(Duration),
    /// The connection closed, or the framing of the body is broken.
    #[error("the request body broke off: {0}")]
    Cut(#[source] hyper::Error),
}

/// Bytes of a request body, each piece at most `body_buffer_bytes` long. Ends with an error when the client stalls.
///
/// Dropped before its end, the rest is read and thrown away by the server where it is short, else the connection
/// closes after the answer.
pub struct RequestBody {
    source: Source,
    stall: Option<Pin<Box<Sleep>>>,
    last_piece: Instant,
}

enum Source {
    Connection { incoming: Option<Incoming>, request: Arc<InFlight>, limit: Duration },
    Bytes(Option<Bytes>),
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, request: Arc<InFlight>, limit: Duration) -> Self {
        request.hold_body(true);
        let source = Source::Connection { incoming: Some(incoming), request, limit };
        Self { source, stall: None, last_piece: Instant::now() }
    }

    /// A body without a connection: for tests, and for requests that the process makes to itself.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let source = Source::Bytes((!bytes.is_empty()).then_some(bytes));
        Self { source, stall: None, last_piece: Instant::now() }
    }

    /// The next piece of data; trailers of HTTP are skipped.
    pub async fn next(&mut self) -> Option<Result<Bytes, RequestBodyError>> {
        std::future::poll_fn(|cx| self.poll_data(cx)).await
    }

    /// `next` for hand-written streams.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, RequestBodyError>>> {
        loop {
            return match Pin::new(&mut *self).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => continue,
                },
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    /// Not one more byte will come, and nothing was or will be asked of the client for that.
    fn watch_stall(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<RequestBodyError> {
        let deadline = self.last_piece + limit;
        let sleep = self.stall.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(RequestBodyError::Stalled(limit));
            }
            // Bytes came since it was set; the timer is moved only here, not with each piece.
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let (polled, limit) = match &mut this.source {
            Source::Bytes(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Connection { incoming: None, .. } => return Poll::Ready(None),
            Source::Connection { incoming: Some(incoming), request, limit } => {
                request.body_polled();
                let polled = Pin::new(incoming).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &polled
                    && let Some(data) = frame.data_ref()
                {
                    request.received(data.len());
                }
                (polled, *limit)
            }
        };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.last_piece = Instant::now();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(RequestBodyError::Cut(error)))),
            Poll::Ready(None) => {
                if let Source::Connection { incoming, .. } = &mut this.source {
                    *incoming = None;
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                if this.stall.is_none() {
                    // The clock starts when the handler first waits, not when the head came.
                    this.last_piece = Instant::now();
                }
                this.watch_stall(cx, limit).map(|error| Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_none(),
            Source::Connection { incoming, .. } => incoming.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Connection { incoming, .. } => {
                incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
            }
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Source::Connection { incoming, request, .. } = &mut self.source else { return };
        if let Some(incoming) = incoming.take()
            && !incoming.is_end_stream()
        {
            request.leave_unread(incoming);
        }
        request.hold_body(false);
    }
}

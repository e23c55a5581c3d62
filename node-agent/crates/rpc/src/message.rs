//! Bodies on their way into HTTP/2 and out of it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use grid_types::ErrorCode;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, timeout_at};

use crate::{Body, RpcError, wire};

/// Longer deadlines are cut to this: no clock overflows.
pub(crate) const DEADLINE_MAX: Duration = Duration::from_secs(86_400);

/// What the two directions of one call know of each other.
pub(crate) struct Progress {
    began: Instant,
    /// When a piece of the request after the first was last taken, in milliseconds since `began`; 0 = never.
    moved: AtomicU64,
    /// A piece was taken.
    begun: AtomicBool,
    given_up: AtomicBool,
    waker: AtomicWaker,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            moved: AtomicU64::new(0),
            begun: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// A piece was taken. The first one does not count: a message of one piece has its deadline from the beginning.
    pub(crate) fn note(&self) {
        if self.begun.swap(true, Ordering::Relaxed) {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.moved.store(now.max(1), Ordering::Relaxed);
        }
    }

    /// When the request last moved, if ever.
    fn last(&self) -> Option<Instant> {
        match self.moved.load(Ordering::Relaxed) {
            0 => None,
            moved => Some(self.began + Duration::from_millis(moved)),
        }
    }

    /// Waits for the beginning of an answer until `deadline` after `started`, or after the request last moved.
    pub(crate) async fn wait<T>(
        &self,
        started: Instant,
        deadline: Duration,
        answer: impl Future<Output = T>,
    ) -> Result<T, RpcError> {
        let mut answer = pin!(answer);
        let mut until = started + deadline;
        loop {
            if let Ok(answered) = timeout_at(until, answer.as_mut()).await {
                return Ok(answered);
            }
            match self.last().map(|last| last + deadline) {
                Some(later) if later > until => until = later,
                _ => {
                    self.give_up();
                    return Err(RpcError::unknown(format!("no answer within {deadline:?}")));
                }
            }
        }
    }

    /// The caller went away: a request that is still being sent breaks off.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        self.waker.wake();
    }
}

/// A body that HTTP/2 sends, piece by piece as the peer takes them, and the trailers that say how it ended.
pub(crate) struct Outgoing {
    body: Body,
    progress: Option<Arc<Progress>>,
    ended: bool,
}

impl Outgoing {
    pub(crate) fn new(body: Body, progress: Option<Arc<Progress>>) -> Self {
        Self { body, progress, ended: false }
    }

    /// The body again, where nothing of it was sent.
    pub(crate) fn into_body(self) -> Body {
        self.body
    }
}

/// A caller gave up.
#[derive(Debug, thiserror::Error)]
#[error("the caller gave up")]
pub(crate) struct GaveUp;

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = GaveUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GaveUp>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(progress) = &self.progress {
            progress.waker.register(cx.waker());
            if progress.given_up.load(Ordering::SeqCst) {
                return Poll::Ready(Some(Err(GaveUp)));
            }
        }
        loop {
            let trailers = match ready!(self.body.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => {
                    if let Some(progress) = &self.progress {
                        progress.note();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => wire::broken(&error),
                None => wire::whole(),
            };
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// A body that came by HTTP/2. Ends cleanly only where its sender said so.
pub(crate) struct Arriving {
    body: Incoming,
    ended: bool,
    /// Without a piece for so long, while somebody waits for one, it has failed.
    stall: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    armed: bool,
    /// Bytes that may still come.
    left: u64,
    /// Of the call whose answer this is.
    progress: Option<Arc<Progress>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Arriving {
    pub(crate) fn new(body: Incoming, stall: Duration, bytes_max: u64) -> Self {
        let (timer, progress, _permit) = (None, None, None);
        Self { body, ended: false, stall, timer, armed: false, left: bytes_max, progress, _permit }
    }

    /// The answer of a call: dropped, it gives the call up.
    pub(crate) fn answering(mut self, progress: Arc<Progress>, permit: OwnedSemaphorePermit) -> Self {
        self.progress = Some(progress);
        self._permit = Some(permit);
        self
    }

    fn fail(&mut self, error: RpcError) -> Poll<Option<Result<Bytes, RpcError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }

    /// Ready when it stood still for too long.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut until = Instant::now() + self.stall;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if !self.armed {
            timer.as_mut().reset(until);
            self.armed = true;
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            // The request may be what moves.
            match self.progress.as_ref().and_then(|progress| progress.last()).map(|last| last + self.stall) {
                Some(later) if later > Instant::now() => {
                    until = later;
                    timer.as_mut().reset(until);
                }
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl Stream for Arriving {
    type Item = Result<Bytes, RpcError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.poll_stall(cx));
                    let stall = self.stall;
                    return self.fail(RpcError::unknown(format!("a message stood still for {stall:?}")));
                }
            };
            self.armed = false;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) if bytes.is_empty() => {}
                Some(Ok(Ok(bytes))) => {
                    let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
                        let detail = "a request larger than those who are not members may send";
                        return self.fail(RpcError::new(ErrorCode::TooLarge, detail));
                    };
                    self.left = left;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Some(Ok(Err(frame))) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    return match wire::end_of(&trailers) {
                        Ok(()) => {
                            self.ended = true;
                            Poll::Ready(None)
                        }
                        Err(error) => self.fail(error),
                    };
                }
                Some(Err(error)) => {
                    return self.fail(RpcError::unknown(format!("a message broke off: {}", causes(&error))));
                }
                None => return self.fail(RpcError::unknown("a message broke off before its end")),
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.give_up();
        }
    }
}

/// An error and what caused it, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

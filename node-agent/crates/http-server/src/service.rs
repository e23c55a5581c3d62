//! One request on its way: given an id, handed to the handler, its panics caught, its end reported.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, EXPECT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::activity::Activity;
use crate::{
    BoxError, Handler, HttpConfig, Peer, RequestBody, RequestId, RequestLabels, RequestRecord, ResponseBody,
};

/// An unread request body up to here is read and dropped, so that the connection can be kept.
const UNREAD_BODY_BYTES_MAX: u64 = 64 << 10;
/// How long that may take.
const UNREAD_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Draws request ids: a keyed hash of a counter, unique within the process and not to be guessed from outside.
pub(crate) struct RequestIds {
    key: RandomState,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { key: RandomState::new(), next: AtomicU64::new(0) }
    }

    pub(crate) fn draw(&self) -> RequestId {
        RequestId(self.key.hash_one(self.next.fetch_add(1, Relaxed)))
    }
}

/// What all connections of a listener share.
pub(crate) struct Shared<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) config: HttpConfig,
    pub(crate) ids: RequestIds,
}

/// One request from its head to the end of its answer.
pub(crate) struct InFlight {
    received: AtomicU64,
    body_polled: AtomicBool,
    body_held: AtomicBool,
    unread: Mutex<Option<Incoming>>,
}

impl InFlight {
    pub(crate) fn body_polled(&self) {
        self.body_polled.store(true, Relaxed);
    }

    /// Somebody has the body: as long as that is so, the stream may stand within it.
    pub(crate) fn hold_body(&self, held: bool) {
        self.body_held.store(held, Relaxed);
    }

    pub(crate) fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn leave_unread(&self, incoming: Incoming) {
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(incoming);
    }

    fn take_unread(&self) -> Option<Incoming> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reports its request when it is dropped, whatever ended it.
struct Report {
    activity: Arc<Activity>,
    config: HttpConfig,
    request: Arc<InFlight>,
    peer: Peer,
    started: Instant,
    method: Method,
    path: String,
    user_agent: Option<String>,
    labels: RequestLabels,
    status: Option<StatusCode>,
    sent: u64,
    first_byte: Option<Duration>,
    complete: bool,
    server_turn: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.request.take_unread().is_some() || self.request.body_held.load(Relaxed) {
            self.activity.taint();
        }
        self.activity.request_ends(self.server_turn);
        let Some(observer) = &self.config.observer.0 else { return };
        observer.request_finished(&RequestRecord {
            request_id: self.peer.request_id,
            peer: self.peer.address,
            tls: self.peer.tls,
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            user_agent: self.user_agent.take(),
            labels: self.labels,
            status: self.status,
            bytes_in: self.request.received.load(Relaxed),
            bytes_out: self.sent,
            duration: self.started.elapsed(),
            time_to_first_byte: self.first_byte,
            complete: self.complete,
        });
    }
}

/// Serves the requests of one connection.
pub(crate) struct ConnectionService<H> {
    pub(crate) shared: Arc<Shared<H>>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) tls: bool,
}

impl<H> Clone for ConnectionService<H> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            activity: self.activity.clone(),
            address: self.address,
            tls: self.tls,
        }
    }
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for ConnectionService<H> {
    type Response = Response<ReportedBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let report = self.begin(&request);
        let shared = self.shared.clone();
        Box::pin(async move { Ok(answer(&shared, request, report).await) })
    }
}

impl<H: Handler> ConnectionService<H> {
    fn begin(&self, request: &Request<Incoming>) -> Report {
        self.activity.request_begins();
        let observed = self.shared.config.observer.0.is_some();
        let user_agent = |headers: &HeaderMap| {
            headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Report {
            activity: self.activity.clone(),
            config: self.shared.config.clone(),
            request: Arc::new(InFlight {
                received: AtomicU64::new(0),
                body_polled: AtomicBool::new(false),
                body_held: AtomicBool::new(false),
                unread: Mutex::new(None),
            }),
            peer: Peer { address: self.address, tls: self.tls, request_id: self.shared.ids.draw() },
            started: Instant::now(),
            method: request.method().clone(),
            path: if observed { request.uri().path().to_owned() } else { String::new() },
            user_agent: observed.then(|| user_agent(request.headers())).flatten(),
            labels: RequestLabels::default(),
            status: None,
            sent: 0,
            first_byte: None,
            complete: false,
            server_turn: true,
        }
    }
}

async fn answer<H: Handler>(
    shared: &Shared<H>,
    request: Request<Incoming>,
    mut report: Report,
) -> Response<ReportedBody> {
    let http1 = request.version() < Version::HTTP_2;
    let expects = request.headers().contains_key(EXPECT);
    let peer = report.peer;
    let in_flight = report.request.clone();
    let request = request
        .map(|incoming| RequestBody::new(incoming, in_flight.clone(), shared.config.body_stall_timeout));
    let handled = AssertUnwindSafe(shared.handler.handle(request, peer)).catch_unwind().await;
    let mut close = handled.is_err();
    let mut response = handled.unwrap_or_else(|panic| {
        tracing::error!(request_id = %peer.request_id, panic = panic_words(&*panic), "a request panicked");
        let mut response = Response::new(crate::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    if let Some(unread) = in_flight.take_unread() {
        let unasked = expects && !in_flight.body_polled.load(Relaxed);
        if unasked || !drain(unread).await {
            report.activity.taint();
            close = true;
        }
    }
    if close && http1 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    report.status = Some(response.status());
    report.labels = response.extensions().get::<RequestLabels>().copied().unwrap_or_default();
    if response.body().is_end_stream() || report.method == Method::HEAD {
        report.first_byte = Some(report.started.elapsed());
        report.complete = true;
    }
    response.map(|body| ReportedBody { body, report })
}

/// Reads an unread body to its end, if that is near.
async fn drain(mut unread: Incoming) -> bool {
    if unread.size_hint().lower() > UNREAD_BODY_BYTES_MAX {
        return false;
    }
    let to_end = async {
        let mut left = UNREAD_BODY_BYTES_MAX;
        while let Some(frame) = unread.frame().await {
            let Ok(frame) = frame else { return false };
            let count = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(count) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(UNREAD_BODY_TIMEOUT, to_end).await.unwrap_or(false)
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words")
}

/// The body of an answer, counted; reports its request when hyper lets it go.
pub(crate) struct ReportedBody {
    body: ResponseBody,
    report: Report,
}

impl Body for ReportedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx)))
            .unwrap_or_else(|panic| {
                let words = panic_words(&*panic).to_owned();
                tracing::error!(request_id = %this.report.peer.request_id, panic = words, "an answer panicked");
                Poll::Ready(Some(Err(words.into())))
            });
        let report = &mut this.report;
        if polled.is_pending() != report.server_turn {
            report.server_turn = polled.is_pending();
            report.activity.turn(report.server_turn);
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                report.first_byte.get_or_insert_with(|| report.started.elapsed());
                report.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                report.complete = this.body.is_end_stream();
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(request_id = %report.peer.request_id, %error, "an answer was cut");
            }
            Poll::Ready(None) => {
                report.first_byte.get_or_insert_with(|| report.started.elapsed());
                report.complete = true;
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

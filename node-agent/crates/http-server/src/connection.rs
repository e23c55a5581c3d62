//! One connection: parked, serving, closing.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::activity::{Activity, Verdict};
use crate::service::{ConnectionService, Shared};
use crate::stream::{Stream, Transport};
use crate::{Handler, HttpConfig};

/// How long a closing connection goes on reading what the client still sends. A socket closed with unread bytes is
/// reset, and the reset can overtake the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How much it reads at most.
const LINGER_BYTES_MAX: u64 = 64 << 20;
/// The buffer for that.
const LINGER_BUFFER_BYTES: usize = 16 << 10;
/// What an HTTP/2 peer may send of one request body before it is read.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// The same for all requests of a connection.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 2 << 20;
/// Larger frames save work on large bodies.
const HTTP2_FRAME_BYTES: u32 = 64 << 10;
/// A silent HTTP/2 peer is asked whether it lives.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);

const HEAD_TIMEOUT_ANSWER: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Orders from the listener.
#[derive(Clone)]
pub(crate) struct Orders {
    /// End after the request in flight.
    pub(crate) drain: CancellationToken,
    /// End now.
    pub(crate) cut: CancellationToken,
}

/// What became of a connection that was served.
enum Outcome {
    /// No request for a while; the stream stands between two requests.
    Idle(Stream),
    /// The last answer is written, the write side is shut.
    Closing(Stream),
    /// Nothing more to do.
    Gone,
}

type Http1Connection<H> = http1::Connection<TokioIo<Stream>, ConnectionService<H>>;

/// Serves one connection to its end.
pub(crate) async fn serve<H: Handler>(
    transport: Transport,
    address: Option<SocketAddr>,
    shared: Arc<Shared<H>>,
    orders: Orders,
) {
    let (tls, http2) = match &transport {
        Transport::Tls(stream) => (true, stream.get_ref().1.alpn_protocol() == Some(b"h2")),
        Transport::Tcp(_) | Transport::Unix(_) => (false, false),
    };
    let activity = Arc::new(Activity::new());
    let mut stream = Stream::new(transport, activity.clone());
    let service = ConnectionService { shared: shared.clone(), activity: activity.clone(), address, tls };
    if http2 {
        return serve_http2(stream, service, &activity, &shared.config, &orders).await;
    }
    // A TLS session may hold a whole request already that came with the end of the handshake.
    let mut parked = !tls;
    loop {
        if parked && !wait_for_request(&stream, &shared.config, &orders).await {
            return;
        }
        match serve_http1(stream, service.clone(), &activity, &shared.config, &orders).await {
            Outcome::Idle(idle) => {
                stream = idle;
                parked = true;
            }
            Outcome::Closing(closing) => return linger(closing, &orders).await,
            Outcome::Gone => return,
        }
    }
}

/// Waits, without any buffer, for the first byte of a request. False: close.
async fn wait_for_request(stream: &Stream, config: &HttpConfig, orders: &Orders) -> bool {
    tokio::select! {
        biased;
        () = orders.drain.cancelled() => false,
        () = orders.cut.cancelled() => false,
        readable = timeout(config.idle_timeout, stream.readable()) => matches!(readable, Ok(Ok(()))),
    }
}

fn http1_builder(config: &HttpConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_headers(config.headers_max)
        .max_header_size(config.header_bytes_max)
        .max_buf_size(config.body_buffer_bytes.max(config.header_bytes_max))
        .writev(true);
    builder
}

async fn serve_http1<H: Handler>(
    stream: Stream,
    service: ConnectionService<H>,
    activity: &Activity,
    config: &HttpConfig,
    orders: &Orders,
) -> Outcome {
    activity.set_up();
    let mut connection = http1_builder(config).serve_connection(TokioIo::new(stream), service);
    let mut timer = pin!(sleep_until(Instant::now() + config.park_after.min(config.header_timeout)));
    let mut draining = false;
    loop {
        let served = std::future::poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if activity.idle_with_large_buffers() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            biased;
            served = served => {
                let Some(result) = served else { return park(connection) };
                let broken = result.is_err();
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                if activity.at_eof() || !(broken || activity.tainted()) {
                    return Outcome::Gone;
                }
                return Outcome::Closing(connection.into_parts().io.into_inner());
            }
            () = orders.cut.cancelled() => return Outcome::Gone,
            () = orders.drain.cancelled(), if !draining => {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = &mut timer => match activity.verdict(config, true) {
                Verdict::LookAgain(at) => timer.as_mut().reset(at),
                Verdict::Cut => return Outcome::Gone,
                Verdict::Park => return park(connection),
                Verdict::HeadTimeout => {
                    let mut stream = connection.into_parts().io.into_inner();
                    let told = async {
                        stream.write_all(HEAD_TIMEOUT_ANSWER).await?;
                        stream.shutdown().await
                    };
                    let told = timeout(LINGER_TIMEOUT, told).await;
                    return if matches!(told, Ok(Ok(()))) { Outcome::Closing(stream) } else { Outcome::Gone };
                }
            },
        }
    }
}

/// Takes the stream back from hyper, between two requests.
fn park<H: Handler>(connection: Http1Connection<H>) -> Outcome {
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    stream.rewind(&parts.read_buf);
    Outcome::Idle(stream)
}

async fn serve_http2<H: Handler>(
    stream: Stream,
    service: ConnectionService<H>,
    activity: &Activity,
    config: &HttpConfig,
    orders: &Orders,
) {
    let header_bytes_max = u32::try_from(config.header_bytes_max).unwrap_or(u32::MAX);
    let mut connection = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.http2_streams_max)
            .max_header_list_size(header_bytes_max)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
            .max_frame_size(HTTP2_FRAME_BYTES)
            .max_send_buf_size(config.body_buffer_bytes)
            .keep_alive_interval(HTTP2_PING_EVERY)
            .keep_alive_timeout(HTTP2_PING_EVERY)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut timer = pin!(sleep_until(Instant::now() + config.header_timeout));
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            served = &mut connection => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                return;
            }
            () = orders.cut.cancelled() => return,
            () = orders.drain.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut timer => match activity.verdict(config, false) {
                Verdict::LookAgain(at) => timer.as_mut().reset(at),
                Verdict::Cut | Verdict::Park | Verdict::HeadTimeout => {
                    // Pings of the peer count as life on HTTP/2, so an idle connection is closed in good order.
                    if draining {
                        return;
                    }
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                    timer.as_mut().reset(Instant::now() + LINGER_TIMEOUT);
                }
            },
        }
    }
}

/// Reads and drops what still comes, for a moment.
async fn linger(mut stream: Stream, orders: &Orders) {
    let read = async {
        let mut buffer = vec![0; LINGER_BUFFER_BYTES];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            left = left.saturating_sub(count as u64);
            if left == 0 {
                break;
            }
        }
    };
    tokio::select! {
        biased;
        () = orders.cut.cancelled() => {}
        _ = timeout(LINGER_TIMEOUT, read) => {}
    }
}

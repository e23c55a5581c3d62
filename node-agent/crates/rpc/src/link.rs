//! One connection to a peer, from the side that opened it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use http::{Request, StatusCode, Uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::message::{Arriving, Outgoing, Progress, causes};
use crate::stream::{Cut, Cuttable};
use crate::tls::{Proved, cipher, proved};
use crate::{Body, Lane, Method, RpcConfig, RpcError, collect, wire};

/// What a server says after the handshake, in one byte, before HTTP/2 begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Greeting {
    /// Requests are taken.
    Welcome = 0,
    /// No more connections of this kind; the connection closes.
    Full = 1,
}

/// Calls go through it as long as the connection stands. Clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    sender: SendRequest<Outgoing>,
    /// One for each stream: who gets none waits here and not in a queue without end.
    calls: Arc<Semaphore>,
    cut: Cut,
    pub(crate) peer: Proved,
}

/// Why a request got no answer.
pub(crate) enum Failed {
    /// The connection was closed already: the request, untouched.
    Unsent(Body),
    Error(RpcError),
}

/// Where and how to connect.
pub(crate) struct Dial<'a> {
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) address: SocketAddr,
    pub(crate) lane: Lane,
    pub(crate) config: &'a RpcConfig,
}

impl Dial<'_> {
    /// Opens a connection that the server has accepted. `ended` is told, once, whether it ended by silence.
    pub(crate) async fn open(self, ended: impl FnOnce(bool) + Send + 'static) -> Result<Link, RpcError> {
        let address = self.address;
        let failed = |what: &str| RpcError::not_sent(format!("{address}: {what}"));
        let tcp = timeout(self.config.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| failed("no connection in time"))?
            .map_err(|error| failed(&error.to_string()))?;
        tcp.set_nodelay(true).map_err(|error| failed(&error.to_string()))?;
        let (tls, peer) = timeout(self.config.handshake_timeout, self.handshake(tcp))
            .await
            .map_err(|_| failed("no TLS handshake in time"))?
            .map_err(|error| failed(&error))?;
        let (cut, config) = (Cut::default(), self.config);
        let ping_timeout =
            if self.lane == Lane::Control { config.ping_timeout } else { config.bulk_ping_timeout };
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(config.stream_window_bytes)
            .initial_connection_window_size(config.connection_window_bytes())
            .initial_max_send_streams(config.stranger_streams_max as usize)
            .max_frame_size(config.frame_bytes_max)
            .max_header_list_size(config.header_bytes_max)
            .max_send_buf_size(config.send_buffer_bytes)
            // Calls that are given up are daily business (hedged reads): they must not add up to the end of a connection.
            .max_concurrent_reset_streams(config.streams_max as usize)
            .max_local_error_reset_streams(None)
            .keep_alive_while_idle(true)
            .keep_alive_interval(config.ping_after)
            .keep_alive_timeout(ping_timeout)
            .handshake(TokioIo::new(Cuttable::new(tls, cut.clone())))
            .await
            .map_err(|error| failed(&causes(&error)))?;
        tokio::spawn(async move {
            let silent = match connection.await {
                Ok(()) => false,
                Err(error) => {
                    tracing::debug!(%address, error = causes(&error), "a connection to a peer broke");
                    error.is_timeout()
                }
            };
            ended(silent);
        });
        Ok(Link { sender, calls: Arc::new(Semaphore::new(config.streams_max as usize)), cut, peer })
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, Proved), String> {
        // Raw keys have no names; the field must be filled and is not sent.
        let name = ServerName::IpAddress(self.address.ip().into());
        let mut tls = TlsConnector::from(self.tls.clone())
            .connect(name, tcp)
            .await
            .map_err(|error| format!("TLS: {}", causes(&error)))?;
        let peer = proved(tls.get_ref().1).map_err(|error| format!("TLS: {error}"))?;
        match tls.read_u8().await {
            Ok(byte) if byte == Greeting::Welcome as u8 => {}
            Ok(byte) if byte == Greeting::Full as u8 => {
                return Err("the node takes no more connections now".to_owned());
            }
            Ok(byte) => return Err(format!("a greeting of a later release: {byte}")),
            Err(error) => return Err(format!("the node closed the connection: {error}")),
        }
        tracing::debug!(address = %self.address, node = %peer.node, cipher = ?cipher(tls.get_ref().1), "connected");
        Ok((tls, peer))
    }
}

impl Link {
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.cut.is_cut()
    }

    /// Ends the connection and all that it carries.
    pub(crate) fn cut(&self) {
        self.cut.now();
    }

    /// Sends a request; returns when the answer begins. Dropping it gives the call up.
    pub(crate) async fn send(
        &self,
        method: Method,
        body: Body,
        started: Instant,
        deadline: Duration,
    ) -> Result<Body, Failed> {
        let error = |error: RpcError| Failed::Error(error);
        let uri = Uri::builder().scheme("https").authority("shoal").path_and_query(method.path).build();
        let uri = uri.map_err(|_| error(RpcError::not_sent(format!("{}: not a path", method.path))))?;
        let permit = timeout_at(started + deadline, self.calls.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let detail = format!("too many calls to node {} are waiting", self.peer.node);
            return Err(error(RpcError::not_sent(detail)));
        };
        let progress = Progress::new();
        let mut request = Request::new(Outgoing::new(body, Some(progress.clone())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri;
        let mut sender = self.sender.clone();
        let answer = progress.wait(started, deadline, sender.try_send_request(request)).await;
        let answer = match answer.map_err(error)? {
            Ok(answer) => answer,
            Err(mut failed) => {
                return Err(match failed.take_message() {
                    Some(request) => Failed::Unsent(request.into_body().into_body()),
                    None => error(RpcError::unknown(format!(
                        "node {} did not answer: {}",
                        self.peer.node,
                        causes(failed.error())
                    ))),
                });
            }
        };
        let (head, body) = answer.into_parts();
        let body = Arriving::new(body, deadline, u64::MAX).answering(progress, permit).boxed();
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        let told = collect(body, wire::ERROR_BYTES_MAX).await;
        Err(error(match told {
            Ok(bytes) => wire::decode_error(&bytes),
            Err(failed) => RpcError::unknown(failed.detail),
        }))
    }
}

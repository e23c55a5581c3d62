//! The listener that other nodes call.
//!
//! Invariants: membership is asked for each request; who is not a member has few connections, short ones, small
//! requests and open services alone; a handler that began runs to its end, whether or not its caller stays.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use grid_types::NodeId;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::server::{Accepted, Acceptor};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::Greeting;
use crate::message::causes;
use crate::runtimes::Runtimes;
use crate::stream::{Cut, Cuttable};
use crate::tls::{Proved, cipher, proved};
use crate::visit::Visit;
use crate::{Lane, NodeKey, RpcConfig, Services, tls};

/// After a failed accept (no descriptors left, mostly) the loop waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Window of a stranger's stream; its connection's is that of all its streams.
const STRANGER_WINDOW_BYTES: u32 = 64 << 10;

/// Who belongs to the grid. Asked for each request: must be quick.
pub trait Trust: Send + Sync + 'static {
    /// Stands in the member list now.
    fn is_member(&self, node: NodeId) -> bool;
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be listened on.
    #[error("cannot listen for nodes on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The key pair does not serve for TLS.
    #[error("the node's key cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A listener at work. Dropping it stops accepting and cuts its connections.
pub struct RpcServer {
    address: SocketAddr,
    door: Arc<Door>,
}

pub(crate) struct Door {
    pub(crate) config: RpcConfig,
    pub(crate) trust: Arc<dyn Trust>,
    pub(crate) services: Services,
    tls: Arc<rustls::ServerConfig>,
    runtimes: Runtimes,
    guests: Mutex<Guests>,
    drain: CancellationToken,
    connections: TaskTracker,
    pub(crate) handlers: TaskTracker,
}

/// Connections, before and after their handshake.
#[derive(Default)]
struct Guests {
    next: u64,
    handshakes: usize,
    handshakes_of: BTreeMap<IpAddr, usize>,
    proved: BTreeMap<u64, Guest>,
}

struct Guest {
    node: NodeId,
    address: IpAddr,
    /// When it came.
    member: bool,
    cut: Cut,
}

impl RpcServer {
    /// Listens (port 0 = any) and serves until `shutdown`.
    pub async fn bind(
        listen: SocketAddr,
        key: &NodeKey,
        trust: Arc<dyn Trust>,
        services: Services,
        config: RpcConfig,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::Listen { address: listen, source };
        let tls = tls::server_config(key, tls::provider(codec::cpu_has_aes()))?;
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let door = Arc::new(Door {
            runtimes: Runtimes::new(&config),
            config,
            trust,
            services,
            tls: Arc::new(tls),
            guests: Mutex::default(),
            drain: CancellationToken::new(),
            connections: TaskTracker::new(),
            handlers: TaskTracker::new(),
        });
        door.connections.spawn(accept(listener, door.clone()));
        Ok(Self { address, door })
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that proved a key, now.
    pub fn connections(&self) -> usize {
        self.door.guests.lock().proved.len()
    }

    /// Cuts the connections of a node that was removed.
    pub fn revoke(&self, node: NodeId) {
        self.door.cut(|guest| guest.node == node);
    }

    /// Cuts the connections of all that came as members and are none any more. Who came as a stranger stays within
    /// the limits of strangers.
    pub fn close_strangers(&self) {
        let trust = self.door.trust.clone();
        self.door.cut(|guest| guest.member && !trust.is_member(guest.node));
    }

    /// Stops accepting, waits for requests in flight up to `drain_timeout`, then cuts; handlers that still run then go
    /// on without a caller. Runs to completion; dropped, it cuts at once.
    pub async fn shutdown(self) {
        self.door.drain.cancel();
        self.door.connections.close();
        self.door.handlers.close();
        let drained = async {
            self.door.connections.wait().await;
            self.door.handlers.wait().await;
        };
        if timeout(self.door.config.drain_timeout, drained).await.is_err() {
            tracing::warn!(
                connections = self.connections(),
                "calls of other nodes outlived the drain time and are cut"
            );
            self.door.cut(|_| true);
            self.door.connections.wait().await;
        }
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.door.drain.cancel();
        self.door.cut(|_| true);
    }
}

impl Door {
    fn cut(&self, which: impl Fn(&Guest) -> bool) {
        // Collected first: whoever is woken may want the lock.
        let cuts: Vec<Cut> = {
            let guests = self.guests.lock();
            guests.proved.values().filter(|guest| which(guest)).map(|guest| guest.cut.clone()).collect()
        };
        for cut in cuts {
            cut.now();
        }
    }

    /// Room for one more handshake with this address?
    fn begin_handshake(self: &Arc<Self>, address: IpAddr) -> Option<Handshake> {
        let mut guests = self.guests.lock();
        let all = guests.handshakes + guests.proved.len();
        let of_address = guests.handshakes_of.get(&address).copied().unwrap_or(0);
        if all >= self.config.connections_max
            || guests.handshakes >= self.config.handshakes_max
            || of_address >= self.config.handshakes_per_address_max
        {
            return None;
        }
        guests.handshakes += 1;
        guests.handshakes_of.insert(address, of_address + 1);
        Some(Handshake { door: self.clone(), address })
    }

    /// Room for one more connection of this node?
    fn admit(self: &Arc<Self>, node: NodeId, address: IpAddr) -> Option<Admitted> {
        let member = self.trust.is_member(node);
        let mut guests = self.guests.lock();
        let full = if member {
            let own = guests.proved.values().filter(|guest| guest.node == node).count();
            own >= self.config.connections_per_member_max
        } else {
            let strangers = || guests.proved.values().filter(|guest| !guest.member);
            strangers().count() >= self.config.strangers_max
                || strangers().filter(|guest| guest.address == address).count()
                    >= self.config.strangers_per_address_max
        };
        if full {
            return None;
        }
        let number = guests.next;
        guests.next += 1;
        let cut = Cut::default();
        guests.proved.insert(number, Guest { node, address, member, cut: cut.clone() });
        Some(Admitted { door: self.clone(), number, member, cut })
    }
}

/// A handshake that counts; no longer when dropped.
struct Handshake {
    door: Arc<Door>,
    address: IpAddr,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut guests = self.door.guests.lock();
        guests.handshakes -= 1;
        if let Some(count) = guests.handshakes_of.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.handshakes_of.remove(&self.address);
            }
        }
    }
}

/// A proved connection that counts; no longer when dropped.
struct Admitted {
    door: Arc<Door>,
    number: u64,
    member: bool,
    cut: Cut,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.door.guests.lock().proved.remove(&self.number);
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let next = async {
        loop {
            match listener.accept().await {
                Ok((tcp, address)) => {
                    if let Some(handshake) = door.begin_handshake(address.ip()) {
                        door.connections.spawn(greet(tcp, address, handshake, door.clone()));
                    } else {
                        tracing::debug!(%address, "too many connections: one was closed");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = door.drain.cancelled() => {}
        () = next => {}
    }
}

/// The first words say which runtime the connection is for; the handshake and all else happen there.
async fn greet(tcp: TcpStream, address: SocketAddr, handshake: Handshake, door: Arc<Door>) {
    let until = Instant::now() + door.config.handshake_timeout;
    let Some((lane, tcp, hello)) = in_time(&door, address, until, hear(tcp)).await else { return };
    let runtime = door.runtimes.of(lane).clone();
    door.clone().connections.spawn_on(enter(tcp, hello, address, until, handshake, door), &runtime);
}

/// What a step of the handshake gives by its deadline; `None` where it failed, or the server stops.
async fn in_time<T>(
    door: &Door,
    address: SocketAddr,
    until: Instant,
    step: impl Future<Output = Result<T, String>>,
) -> Option<T> {
    let done = tokio::select! {
        biased;
        () = door.drain.cancelled() => return None,
        done = timeout_at(until, step) => done,
    };
    match done {
        Ok(Ok(done)) => Some(done),
        Ok(Err(reason)) => {
            tracing::debug!(%address, reason, "a node was not let in");
            None
        }
        Err(_) => {
            tracing::debug!(%address, "a TLS handshake took too long");
            None
        }
    }
}

async fn hear(tcp: TcpStream) -> Result<(Lane, std::net::TcpStream, Accepted), String> {
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(|error| causes(&error))?;
    let (lane, tcp) = (tls::lane(&hello.client_hello()), hello.io.into_std());
    Ok((lane, tcp.map_err(|error| error.to_string())?, hello.accepted))
}

/// The rest of the handshake, and what follows from who it is.
async fn enter(
    tcp: std::net::TcpStream,
    hello: Accepted,
    address: SocketAddr,
    until: Instant,
    handshake: Handshake,
    door: Arc<Door>,
) {
    let shaken = in_time(&door, address, until, shake(tcp, hello, address.ip(), &door)).await;
    let Some((stream, peer, admitted)) = shaken else { return };
    drop(handshake);
    tracing::debug!(%address, node = %peer.node, member = admitted.member, cipher = ?cipher(stream.get_ref().1), "a node came");
    serve(stream, address, peer, admitted).await;
}

async fn shake(
    tcp: std::net::TcpStream,
    hello: Accepted,
    address: IpAddr,
    door: &Arc<Door>,
) -> Result<(TlsStream<TcpStream>, Proved, Admitted), String> {
    let tcp = TcpStream::from_std(tcp).map_err(|error| error.to_string())?;
    let shaking = StartHandshake::from_parts(hello, tcp).into_stream(door.tls.clone());
    let mut stream = shaking.await.map_err(|error| causes(&error))?;
    let peer = proved(stream.get_ref().1).map_err(|error| error.to_string())?;
    let admitted = door.admit(peer.node, address);
    let greeting = if admitted.is_some() { Greeting::Welcome } else { Greeting::Full };
    stream.write_u8(greeting as u8).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    let Some(admitted) = admitted else {
        let _ = stream.shutdown().await;
        return Err(format!("node {} has too many connections, or there are too many strangers", peer.node));
    };
    Ok((stream, peer, admitted))
}

async fn serve(stream: TlsStream<TcpStream>, address: SocketAddr, peer: Proved, admitted: Admitted) {
    let (door, config) = (admitted.door.clone(), admitted.door.config.clone());
    let node = peer.node;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_frame_size(config.frame_bytes_max)
        .max_header_list_size(config.header_bytes_max)
        .max_send_buf_size(config.send_buffer_bytes)
        .keep_alive_interval(config.ping_after)
        .keep_alive_timeout(config.bulk_ping_timeout);
    let streams = if admitted.member {
        builder
            .initial_stream_window_size(config.stream_window_bytes)
            .initial_connection_window_size(config.connection_window_bytes())
            // Calls that are given up are daily business (hedged reads).
            .max_pending_accept_reset_streams(config.streams_max as usize)
            .max_local_error_reset_streams(None);
        config.streams_max
    } else {
        builder
            .initial_stream_window_size(STRANGER_WINDOW_BYTES)
            .initial_connection_window_size(STRANGER_WINDOW_BYTES * config.stranger_streams_max.max(1));
        config.stranger_streams_max
    };
    builder.max_concurrent_streams(streams);
    let visit = Arc::new(Visit::new(door.clone(), peer, address, streams));
    let service = service_fn(move |request| {
        let visit = visit.clone();
        async move { Ok::<_, Infallible>(visit.answer(request).await) }
    });
    let io = TokioIo::new(Cuttable::new(stream, admitted.cut.clone()));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut lifetime = pin!(tokio::time::sleep(config.stranger_lifetime));
    let (mut draining, mut aged) = (false, admitted.member);
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = door.drain.cancelled(), if !draining => {
                connection.as_mut().graceful_shutdown();
                draining = true;
            }
            () = lifetime.as_mut(), if !aged => {
                // Who became a member meanwhile comes back and gets the limits of members.
                if !door.trust.is_member(node) {
                    break Ok(());
                }
                connection.as_mut().graceful_shutdown();
                aged = true;
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %node, error = causes(&error), "the connection of a node broke");
    }
}
